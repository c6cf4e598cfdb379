// Command calico is what enforces NetworkPolicies in the local cluster:
// Calico's network plugin, which joins pods to the node, and its agent Felix,
// which turns policies into rules of the kernel. The name it is called by
// chooses. A module of its own: it needs older libraries than Kubernetes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/projectcalico/calico/cni-plugin/pkg/plugin"
	"github.com/projectcalico/calico/felix/daemon"
)

// version is the release whose sources go.mod names by their commit: Calico
// tags no Go module.
const version = "v3.28.5"

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "calico":
		plugin.Main(version)
	case "felix":
		if len(os.Args) != 2 {
			fmt.Fprintln(os.Stderr, "usage: felix CONFIG")
			os.Exit(2)
		}
		daemon.Run(os.Args[1], version, "", "")
	default:
		fmt.Fprintf(os.Stderr, "call it calico or felix, not %s\n", name)
		os.Exit(2)
	}
}
