package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"masar.local/services/matching/allocation"
)

// solveCmd solves one minimum-cost flow and has its proof checked.
type solveCmd struct {
	File    string `arg:"" help:"DIMACS minimum-cost flow (.min) or OR-Library assignment, also gzipped; - is standard input."`
	Workers int    `help:"How many independent parts are solved at a time; by default one per processor."`
	Flow    bool   `help:"Print the flow too: DIMACS f lines of arcs that carry something."`
}

func (c solveCmd) Run(ctx context.Context) error { return c.solve(ctx, os.Stdout) }

func (c solveCmd) solve(ctx context.Context, out io.Writer) error {
	in, err := openInput(c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	begin := time.Now()
	n, err := readNetwork(in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	read := time.Since(begin)
	fmt.Fprintf(out, "network   %d nodes, %d arcs, read in %s\n", len(n.Supply), len(n.From), rounded(read))

	bar := newProgress(int64(len(n.From)), "solve")
	begin = time.Now()
	plan, err := allocation.Solve(ctx, n, allocation.Options{
		Workers: c.Workers, Progress: func(done, _ int64) { bar.Set(done) },
	})
	took := time.Since(begin)
	bar.Finish()
	var infeasible *allocation.Infeasible
	var unbounded *allocation.Unbounded
	switch {
	case errors.As(err, &infeasible):
		fmt.Fprintf(out, "infeasible: %v\n", err)
		fmt.Fprintf(out, "proof     %s\n", word(allocation.CheckInfeasible(n, infeasible)))
		fmt.Fprintf(out, "set       %s\n", list(infeasible.Nodes))
		return errFailed
	case errors.As(err, &unbounded):
		fmt.Fprintf(out, "unbounded: %v\n", err)
		for _, a := range unbounded.Arcs[:min(20, len(unbounded.Arcs))] {
			fmt.Fprintf(out, "  arc from node %d to node %d, cost %d\n", n.From[a]+1, n.To[a]+1, n.Cost[a])
		}
		return errFailed
	case err != nil:
		return fmt.Errorf("%s: %w", c.File, err)
	}
	fmt.Fprintf(out, "optimum   %s\n", n.TotalCost(plan))
	begin = time.Now()
	wrong := allocation.Verify(n, plan)
	fmt.Fprintf(out, "verifier  %s, in %s\n", word(wrong), rounded(time.Since(begin)))
	fmt.Fprintf(out, "time      %s\n", rounded(took))
	if peak := peakMemory(); peak > 0 {
		fmt.Fprintf(out, "memory    %d MB\n", peak>>20)
	}
	if c.Flow {
		for a, f := range plan.Flow {
			if f != 0 {
				fmt.Fprintf(out, "f %d %d %d\n", n.From[a]+1, n.To[a]+1, f)
			}
		}
	}
	if wrong != nil {
		return errFailed
	}
	return nil
}

// readNetwork reads either format, unpacked first when it is gzipped.
func readNetwork(r io.Reader) (*allocation.Network, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return allocation.Read(in)
	}
	packed, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	return allocation.Read(packed)
}

// word is the verifier's.
func word(wrong error) string {
	if wrong != nil {
		return "refused: " + wrong.Error()
	}
	return "verified"
}

// list names nodes as files number them, not too many.
func list(nodes []int32) string {
	text := ""
	for i, v := range nodes {
		if i == 20 {
			return fmt.Sprintf("nodes%s and %d more", text, len(nodes)-i)
		}
		text += fmt.Sprintf(" %d", v+1)
	}
	return "nodes" + text
}

func rounded(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// peakMemory is the most that this process has had resident, in bytes, or what Go
// has taken from the system where that is not told.
func peakMemory() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		var kilobytes uint64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}
