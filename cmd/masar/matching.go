package main

// matchingCmd is what is asked of matching from the command line.
type matchingCmd struct {
	Replay replayCmd `cmd:"" help:"Make an old shortlist or campaign again; exit 1 unless it is the same, byte by byte."`
}
