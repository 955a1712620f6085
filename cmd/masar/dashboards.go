package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
	"masar.local/dashboards"
)

// dashboardsCmd brings boards, data sources, alerts, contact points, teams and
// rights into a Grafana, and says where that differs.
type dashboardsCmd struct {
	Apply dashboardsApplyCmd `cmd:"" help:"Show what differs, then bring it into Grafana. What was changed there by hand is left alone."`
	Diff  dashboardsDiffCmd  `cmd:"" help:"Show what apply would do."`
	Check dashboardsCheckCmd `cmd:"" help:"Ask whether Grafana and its data sources answer and all is as it should be; exit 1 when not."`
}

// grafanaTarget is a Grafana, and what it needs to know of the platform.
type grafanaTarget struct {
	Grafana      string   `required:"" env:"MASAR_GRAFANA_URL" help:"Address of Grafana." placeholder:"URL"`
	GrafanaToken string   `env:"MASAR_GRAFANA_TOKEN" help:"Token of a service account with the role Admin. Better in the environment than here." placeholder:"TOKEN"`
	Prometheus   string   `required:"" env:"MASAR_PROMETHEUS_URL" help:"Address of the Prometheus that scrapes the platform, as Grafana reaches it." placeholder:"URL"`
	Figures      string   `required:"" env:"MASAR_URL" help:"Address of the platform, as Grafana reaches it." placeholder:"URL"`
	Public       string   `env:"MASAR_PUBLIC_URL" help:"Address of the platform as browsers reach it, for maps (default: that of --figures)." placeholder:"URL"`
	FiguresToken string   `required:"" env:"MASAR_FIGURES_TOKEN" help:"Token with which Grafana reads figures, such as that of a manager; its scope is what the boards show." placeholder:"TOKEN"`
	Traces       string   `env:"MASAR_TRACES_URL" help:"Address of Tempo, or after jaeger+ of Jaeger, as Grafana reaches it. Without it, nothing leads to traces." placeholder:"URL"`
	Runbooks     string   `env:"MASAR_RUNBOOKS_URL" help:"Address at which docs/runbook.md can be read, for the links of alerts." placeholder:"URL"`
	Operators    []string `env:"MASAR_OPERATORS_MAIL" help:"Where alerts about the platform go (repeatable). Without it, contact points and routes are left as they are." placeholder:"MAIL"`
	Managers     []string `env:"MASAR_MANAGERS_MAIL" help:"Where alerts about delays and milestones go (repeatable)." placeholder:"MAIL"`
}

func (t grafanaTarget) connect() (*dashboards.Provisioner, error) {
	return dashboards.Connect(dashboards.Settings{
		Grafana: t.Grafana, Token: t.GrafanaToken, Metrics: t.Prometheus, Figures: t.Figures, Public: t.Public, FiguresToken: t.FiguresToken,
		Traces: t.Traces, Runbooks: t.Runbooks, OperatorsMails: t.Operators, ManagersMails: t.Managers,
	})
}

type dashboardsDiffCmd struct{ grafanaTarget }

func (c dashboardsDiffCmd) Run() error {
	p, err := c.connect()
	if err != nil {
		return err
	}
	changes, err := p.Diff()
	if err != nil {
		return err
	}
	showChanges(changes)
	return nil
}

type dashboardsApplyCmd struct {
	grafanaTarget
	Yes   bool `short:"y" help:"Do not ask. Needed where nobody sits at the terminal."`
	Force bool `help:"Replace also what was changed or made by hand in Grafana."`
}

func (c dashboardsApplyCmd) Run() error {
	p, err := c.connect()
	if err != nil {
		return err
	}
	changes, err := p.Diff()
	if err != nil {
		return err
	}
	showChanges(changes)
	if len(changes) == 0 {
		return nil
	}
	if !c.Yes {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return errors.New("nobody can be asked whether to do this: give --yes")
		}
		fmt.Print("Do it? [y/N] ")
		var answer string
		if _, _ = fmt.Scanln(&answer); !strings.HasPrefix(strings.ToLower(answer), "y") {
			return errors.New("nothing was changed")
		}
	}
	done := 0
	left, err := p.Apply(c.Force, func(dashboards.Change) { done++ })
	if err != nil {
		return fmt.Errorf("after %d changes: %w; what is done is done, and apply can be run again", done, err)
	}
	fmt.Printf("%d changes made\n", done)
	if len(left) > 0 {
		fmt.Printf("%d left alone; --force replaces them\n", len(left))
	}
	return nil
}

type dashboardsCheckCmd struct{ grafanaTarget }

func (c dashboardsCheckCmd) Run() error {
	p, err := c.connect()
	if err != nil {
		return err
	}
	changes, err := p.Check()
	showChanges(changes)
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		return errFailed
	}
	return nil
}

// showChanges prints one line for each, and some of what differs below it.
func showChanges(changes []dashboards.Change) {
	const most = 5
	for _, c := range changes {
		mark := map[string]string{"create": "+", "update": "~", "delete": "-"}[c.Action]
		note := ""
		if c.Manual != "" {
			mark, note = "!", "  ("+c.Manual+": left alone without --force)"
		}
		fmt.Printf("%s %-19s %s  %s%s\n", mark, c.Kind, c.UID, c.Title, note)
		for i, d := range c.Details {
			if i == most {
				fmt.Printf("      and %d more\n", len(c.Details)-most)
				break
			}
			fmt.Printf("      %s\n", d)
		}
	}
	if len(changes) == 0 {
		fmt.Println("everything is as it should be")
		return
	}
	fmt.Printf("%d differences\n", len(changes))
}
