// Says how the tools of others see objects of ours: Argo CD by the health checks of config/argocd, in the interpreter that Argo CD has, and
// everything that asks kstatus, Flux among it, by its own library. Compares with what is written beside each recorded object.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// recorded is one object, and what is to be said of it.
type recorded struct {
	Name    string          `json:"name"`
	Argo    string          `json:"argo"`
	Kstatus string          `json:"kstatus"`
	Object  json.RawMessage `json:"object"`
}

func main() {
	if len(os.Args) != 3 {
		fail("usage: gitops ARGOCD-CM FOLDER-OF-RECORDED-OBJECTS")
	}
	scripts, err := scriptsOf(os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	files, err := filepath.Glob(filepath.Join(os.Args[2], "*.json"))
	if err != nil || len(files) == 0 {
		fail("no recorded objects in %s", os.Args[2])
	}
	unused := map[string]bool{}
	for key := range scripts {
		unused[key] = true
	}
	wrong, seen := 0, 0
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		wrong++
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail("%v", err)
		}
		var all []recorded
		if err := json.Unmarshal(text, &all); err != nil {
			fail("%s: %v", file, err)
		}
		for _, one := range all {
			seen++
			object := &unstructured.Unstructured{}
			// Whole numbers stay whole, as clients of Kubernetes read them.
			if err := object.UnmarshalJSON(one.Object); err != nil {
				fail("%s, %s: %v", file, one.Name, err)
			}
			which := object.GetKind() + ", " + one.Name
			delete(unused, keyOf(object))
			if told, message, err := health(scripts[keyOf(object)], object.Object); err != nil {
				say("%s: Argo CD: %v", which, err)
			} else if told != one.Argo {
				say("%s: Argo CD says %s, not %s: %s", which, told, one.Argo, message)
			} else if told != "Healthy" && message == "" {
				say("%s: Argo CD says %s, and not why", which, told)
			}
			if told, err := status.Compute(object); err != nil {
				say("%s: kstatus: %v", which, err)
			} else if told.Status.String() != one.Kstatus {
				say("%s: kstatus says %s, not %s: %s", which, told.Status, one.Kstatus, told.Message)
			}
		}
	}
	for key := range unused {
		say("%s: no object of this kind is recorded", key)
	}
	if wrong > 0 {
		fail("%d of %d objects are seen otherwise than they should be", wrong, seen)
	}
	fmt.Printf("%d objects are seen as they should be\n", seen)
}

const prefix = "resource.customizations.health."

// keyOf is where Argo CD looks for the script of an object.
func keyOf(object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	return prefix + kind.Group + "_" + kind.Kind
}

func scriptsOf(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for key := range config.Data {
		if !strings.HasPrefix(key, prefix) {
			delete(config.Data, key)
		}
	}
	return config.Data, nil
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
