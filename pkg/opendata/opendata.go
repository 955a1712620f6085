// Package opendata finds, for tests, the real open data beside the repository.
package opendata

import (
	"os"
	"path/filepath"
	"testing"
)

// Path is a file or folder of the open data, such as "rome". The test is skipped
// where it is absent.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
	}
	path := filepath.Join(append([]string{dir, "..", "shared", "data"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the open data is not beside the repository: %s", filepath.Join(elem...))
	}
	return path
}
