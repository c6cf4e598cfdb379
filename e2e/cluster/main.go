// Command cluster holds every program of a one-node Kubernetes in one binary.
//
// The program is chosen by the name it is called by (a symbolic link named
// kube-apiserver, say) or, called by its own name, by the first argument. One
// binary shares the code of all of them: 130 MB instead of 600, and one link.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	_ "k8s.io/client-go/plugin/pkg/client/auth"  // kubectl's credential plugins
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// programs maps a name to what runs under it; each gets its own arguments.
var programs = map[string]func(args []string) int{
	"etcd":                    func(args []string) int { etcdmain.Main(args); return 0 },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(manager.NewControllerManagerCommand),
	"kube-proxy":              command(proxy.NewProxyCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl":                 runKubectl,
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

func main() {
	name, args, err := choose(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	// Every program reads the global arguments itself somewhere (etcd its name
	// in usage texts, kubectl its plugins), so they must look like its own.
	os.Args = args
	os.Exit(programs[name](args))
}

// choose answers which program the arguments name, and that program's own
// arguments, its name first.
func choose(args []string) (string, []string, error) {
	if len(args) > 0 {
		if name := filepath.Base(args[0]); programs[name] != nil {
			return name, args, nil
		}
	}
	if len(args) > 1 && programs[args[1]] != nil {
		return args[1], args[1:], nil
	}
	names := strings.Join(slices.Sorted(maps.Keys(programs)), ", ")
	return "", nil, fmt.Errorf("name a program as the first argument: %s", names)
}

func command(build func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		root := build()
		root.SetArgs(args[1:])
		return cli.Run(root)
	}
}

// runKubectl prints errors as kubectl itself does, without a usage text.
func runKubectl(args []string) int {
	root := kubectl.NewDefaultKubectlCommand()
	root.SetArgs(args[1:])
	if err := cli.RunNoErrOutput(root); err != nil {
		util.CheckErr(err)
	}
	return 0
}
