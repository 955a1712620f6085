package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSolveFile(t *testing.T) {
	const minimum = "p min 3 3\nn 1 2\nn 3 -2\na 1 2 0 2 1\na 2 3 0 1 1\na 1 3 0 2 5\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(minimum))
	_ = w.Close()
	for name, c := range map[string]struct {
		file, says string
		fails      bool
	}{
		"dimacs":     {minimum, "optimum   7\nverifier  verified", false},
		"flow":       {minimum, "f 1 2 1\nf 2 3 1\nf 1 3 1\n", false},
		"gzip":       {packed.String(), "optimum   7\n", false},
		"or-library": {"2\n1 2\n3 9\n", "optimum   5\n", false},
		"infeasible": {"p min 2 1\nn 1 3\nn 2 -3\na 1 2 0 1 1\n", "proof     verified\nset       nodes 1\n", true},
		"unbounded":  {"p min 1 1\na 1 1 0 9223372036854775807 -1\n", "arc from node 1 to node 1, cost -1", true},
		"wrong":      {"p min 1 1\na 1 1 0 x 1\n", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := solveCmd{File: path, Flow: name == "flow"}.solve(t.Context(), &out)
			if (err != nil) != c.fails || !strings.Contains(out.String(), c.says) {
				t.Fatalf("%v\n%s", err, &out)
			}
			if name == "wrong" && (errors.Is(err, errFailed) || !strings.Contains(err.Error(), "line 2")) {
				t.Fatal(err)
			}
		})
	}
}
