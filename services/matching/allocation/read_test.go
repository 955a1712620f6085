package allocation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"masar.local/services/matching/allocation"
	"masar.local/services/matching/allocation/synthetic"

	"pgregory.net/rapid"

	"masar.local/pkg/opendata"
)

// benchmark finds the open benchmark instances beside the repository, and skips
// without them.
func benchmark(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(opendata.Path(t, "bench"), pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	return names
}

var published = regexp.MustCompile(`(?m)^s (-?\d+)$`)

func TestPublishedOptima(t *testing.T) {
	check := func(t *testing.T, name, want string) {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		n, err := allocation.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		_, plan := solve(t, n, allocation.Options{})
		if got := n.TotalCost(plan).String(); got != want {
			t.Fatalf("optimum %s, published %s", got, want)
		}
	}
	t.Run("dimacs", func(t *testing.T) {
		for _, name := range benchmark(t, "mcf/*.min") {
			t.Run(filepath.Base(name), func(t *testing.T) {
				solution, err := os.ReadFile(strings.TrimSuffix(name, ".min") + ".sol")
				if err != nil {
					t.Fatal(err)
				}
				check(t, name, string(published.FindSubmatch(solution)[1]))
			})
		}
	})
	t.Run("assignment", func(t *testing.T) {
		for file, want := range map[string]string{"custom_assign200.txt": "4204", "custom_assign300.txt": "15537"} {
			check(t, benchmark(t, "assign/"+file)[0], want)
		}
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNetwork(t)
		var file bytes.Buffer
		if err := synthetic.WriteDIMACS(&file, n); err != nil {
			t.Fatal(err)
		}
		got, err := allocation.Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Supply, n.Supply) || !slices.Equal(got.From, n.From) || !slices.Equal(got.To, n.To) ||
			!slices.Equal(got.Lower, n.Lower) || !slices.Equal(got.Upper, n.Upper) || !slices.Equal(got.Cost, n.Cost) {
			t.Fatalf("%+v became %+v", n, got)
		}
	})
}

func TestWrongFilesNameTheLine(t *testing.T) {
	for _, c := range []struct {
		file string
		line int
		says string
	}{
		{"", 0, "without a problem line"},
		{"c nothing\n", 1, "without a problem line"},
		{"p max 2 1\n", 1, "p min NODES ARCS"},
		{"p min 2\n", 1, "p min NODES ARCS"},
		{"p min two 1\n", 1, `"two" is not a whole number`},
		{"p min -2 1\n", 1, "-2 nodes"},
		{"p min 99999999999999999999 1\n", 1, "64 bits"},
		{"p min 2000000000 0\n", 1, "far more than it can name"},
		{"p min 2 1000000000\na 1 2 0 1 1\n", 2, "ends after 1 arcs"},
		{"p min 2 1\np min 2 1\n", 2, "second problem line"},
		{"n 1 4\n", 1, "before the problem line"},
		{"p min 2 1\nx 1 2\n", 2, `"x"`},
		{"p min 2 1\nnode 1 2\n", 2, `"node"`},
		{"p min 2 1\nn 3 1\n", 2, "node 3 of 2"},
		{"p min 2 1\nn 0 1\n", 2, "node 0 of 2"},
		{"p min 2 1\nn 1 1 1\n", 2, "3 numbers, not 2"},
		{"p min 2 1\nn 1 1\nn 2 -1\nn 1 1\na 1 2 0 1 1\nn 2 -1\n", 4, "already"},
		{"p min 2 1\nn 1 1\na 1 2 0 1 1\n", 3, "add up to 1"},
		{"p min 2 1\nc fine\na 1 2 0 1\n", 3, "4 numbers, not 5"},
		{"p min 2 1\na 1 2 0 1.5 1\n", 2, "1.5"},
		{"p min 2 1\na 1 2 2 1 1\n", 2, "below the lower bound"},
		{"p min 2 1\na 1 3 0 1 1\n", 2, "node 3 of 2"},
		{"p min 2 1\na 1 2 0 1 1\na 1 2 0 1 1\n", 3, "more arcs"},
		{"p min 2 1\na 1 2 0 1 4611686018427387904\n", 2, "too large"},
		{"\x1b\x00\n", 1, "not with c, p, n or a"},
		{"3\n1 2 3\n4 5 6\n7 8\n", 4, "after 8 costs"},
		{"2\n1 2 3 4 5\n", 2, "after 5 costs"},
		{"2\n1 2 3 x\n", 2, `"x"`},
		{"0\n", 1, "size 0"},
		{"1000000000\n1 2\n", 2, "after 2 costs"},
		{"4\n1 1 5\n2 9 5\n3 3 5\n4 4 5\n", 3, "task 9 of 4"},
		{"1000000\n1 1 5\n", 2, "need one each"},
	} {
		_, err := allocation.Read(strings.NewReader(c.file))
		var at *allocation.LineError
		if !errors.As(err, &at) || at.Line != c.line || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want line %d, %q", c.file, err, c.line, c.says)
		}
	}
}

func TestBothFormsOfAnAssignment(t *testing.T) {
	dense := "3\n1 9 9 9\n2 9 9\r\n\n 9 3\n"
	sparse := "3\n1 1 1\n2 2 2\n3 3 3\n1 2 9\n"
	for _, file := range []string{dense, sparse} {
		n, err := allocation.Read(strings.NewReader(file))
		if err != nil {
			t.Fatalf("%q: %v", file, err)
		}
		_, plan := solve(t, n, allocation.Options{})
		if n.TotalCost(plan).Cmp(big.NewInt(6)) != 0 {
			t.Fatalf("%q costs %s", file, n.TotalCost(plan))
		}
	}
}

// fuzzSolve solves what was read when it is small, and checks every answer.
func fuzzSolve(t *testing.T, n *allocation.Network, err error) {
	var at *allocation.LineError
	if err != nil {
		if !errors.As(err, &at) {
			t.Fatalf("error without a line: %v", err)
		}
		return
	}
	if len(n.Supply) > 50 || len(n.From) > 200 {
		return
	}
	if _, err := allocation.Solve(context.Background(), n, allocation.Options{}); errors.Is(err, allocation.ErrRange) {
		return
	}
	solve(t, n, allocation.Options{Workers: 1})
}

func FuzzReadDIMACS(f *testing.F) {
	f.Add("c a comment\np min 4 5\nn 1 4\nn 4 -4\na 1 2 0 4 2\na 1 3 0 2 2\na 2 3 0 2 1\na 2 4 0 3 3\na 3 4 0 5 1\n")
	f.Add("p min 2 2\na 1 2 0 9223372036854775807 -3\na 2 1 0 9223372036854775807 1\n")
	f.Add("p min 3 2\nn 1 5\nn 3 -5\na 1 2 0 3 1\na 2 3 0 9 1\n")
	f.Fuzz(func(t *testing.T, file string) {
		n, err := allocation.ReadDIMACS(strings.NewReader(file))
		fuzzSolve(t, n, err)
	})
}

func FuzzReadAssignment(f *testing.F) {
	f.Add("2\n1 2\n3 4\n")
	f.Add("3\n1 1 1\n2 2 2\n3 3 3\n1 2 9\n")
	f.Fuzz(func(t *testing.T, file string) {
		n, err := allocation.ReadAssignment(strings.NewReader(file))
		fuzzSolve(t, n, err)
	})
}

func ExampleSolve() {
	n := &allocation.Network{Supply: []int64{2, 0, -2}}
	n.AddArc(0, 1, 0, 2, 1)
	n.AddArc(1, 2, 0, 1, 1)
	n.AddArc(0, 2, 0, 2, 5)
	plan, err := allocation.Solve(context.Background(), n, allocation.Options{})
	fmt.Println(n.TotalCost(plan), plan.Flow, err, allocation.Verify(n, plan))
	// Output: 7 [1 1 1] <nil> <nil>
}
