package tests

import (
	"os/exec"
	"strings"
	"testing"
)

// services are the five, each a module that must stand alone.
var services = []string{"candidates", "employers", "indicators", "matching", "notifications"}

// TestServicesAreIndependent proves that a service imports pkg and proto, never
// another service nor the one binary that knows them all.
func TestServicesAreIndependent(t *testing.T) {
	for _, service := range services {
		out, err := exec.Command("go", "list", "-deps", "-test", "masar.local/services/"+service+"/...").CombinedOutput()
		if err != nil {
			t.Fatalf("go list %s: %v\n%s", service, err, out)
		}
		seen := 0
		for line := range strings.Lines(string(out)) {
			path, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			path = strings.TrimSuffix(path, ".test")
			if !strings.HasPrefix(path, "masar.local/") {
				continue
			}
			seen++
			own := path == "masar.local/services/"+service || strings.HasPrefix(path, "masar.local/services/"+service+"/") ||
				strings.HasPrefix(path, "masar.local/services/"+service+"_test")
			if !own && !strings.HasPrefix(path, "masar.local/pkg/") && !strings.HasPrefix(path, "masar.local/proto/") {
				t.Errorf("service %s depends on %s; a service may import pkg and proto only", service, path)
			}
		}
		if seen < 3 {
			t.Errorf("service %s: only %d packages of Masar found; the check sees nothing", service, seen)
		}
	}
}

// TestPackagesKnowNoService proves that pkg and proto import no service.
func TestPackagesKnowNoService(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "masar.local/pkg/...", "masar.local/proto/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if path := strings.TrimSpace(line); strings.HasPrefix(path, "masar.local/services/") || strings.HasPrefix(path, "masar.local/cmd/") {
			t.Errorf("pkg depends on %s", path)
		}
	}
}
