// Command masar is the one binary of the platform: it runs everything on one
// machine (`masar up`) and talks to a running platform (every other command).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"masar.local/pkg/runtime"
)

// cli is the command line; each field is one command, in a file of its name.
type cli struct {
	Up         upCmd         `cmd:"" help:"Run the whole platform on this machine."`
	Token      tokenCmd      `cmd:"" help:"Print an access token of the local identity."`
	Import     importCmd     `cmd:"" help:"Import offers or candidates from a file."`
	Publish    publishCmd    `cmd:"" help:"Publish the lines of a file to a Kafka topic."`
	Tail       tailCmd       `cmd:"" help:"Print the messages of a Kafka topic as they come."`
	Verify     verifyCmd     `cmd:"" help:"Recount every indicator and compare; exit 1 on any difference."`
	Review     reviewCmd     `cmd:"" help:"Freeze the figures of a period for a steering committee; show what was frozen, and what has changed since."`
	Shortage   shortageCmd   `cmd:"" help:"Shortage occupations: import official series, show classes, write the quarterly bulletin."`
	Matching   matchingCmd   `cmd:"" help:"Solve an allocation from a file; make an old shortlist or campaign again."`
	Indicators indicatorsCmd `cmd:"" help:"Check the definitions of indicators; print their document; see what a change of one would change."`
	Republish  republishCmd  `cmd:"" help:"Publish the events of the services' journals again."`
	Demo       demoCmd       `cmd:"" help:"Load a synthetic cohort with months of history."`
	Dashboards dashboardsCmd `cmd:"" help:"Bring the boards and alerts into a Grafana; show where it differs."`
	Backup     backupCmd     `cmd:"" help:"Write what the platform holds at this moment into one file, while it runs."`
	Restore    restoreCmd    `cmd:"" help:"Read a backup into an empty place, where nothing runs."`
	Doctor     doctorCmd     `cmd:"" help:"Check this machine and the running platform."`
	OpenAPI    openAPICmd    `cmd:"" name:"openapi" help:"Print what the services offer over HTTP, as OpenAPI 3.1."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

func main() {
	// Installed before anything starts, so that no signal is missed.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	parser, err := kong.New(&cli{},
		kong.Name("masar"),
		kong.Description("Masar follows people along mobility pathways between Tunisia and France."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fatal(err)
	}
	cmd, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := cmd.Run(); err != nil {
		fatal(err)
	}
}

// errFailed ends the program with status 1 when the command has already said why.
var errFailed = errors.New("failed")

func fatal(err error) {
	if !errors.Is(err, errFailed) {
		fmt.Fprintln(os.Stderr, "masar:", err)
	}
	os.Exit(1)
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("masar", version())
	return nil
}

func version() string { return runtime.Version() }
