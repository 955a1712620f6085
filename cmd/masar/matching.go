package main

// matchingCmd is what is asked of matching from the command line.
type matchingCmd struct {
	Solve  solveCmd  `cmd:"" help:"Solve a minimum-cost flow or assignment from a file, and check the proof of its optimum."`
	Replay replayCmd `cmd:"" help:"Make an old shortlist or campaign again; exit 1 unless it is the same, byte by byte."`
}
