package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/indicators"
)

// reviewCmd freezes the figures of a period for a steering committee, and shows
// what was frozen. Tables are in French, for those who sit in the committee.
type reviewCmd struct {
	Freeze reviewFreezeCmd `cmd:"" help:"Freeze the figures of a period (month, quarter, half-year, year)."`
	List   reviewListCmd   `cmd:"" help:"List the reviews, the last first."`
	Show   reviewShowCmd   `cmd:"" help:"Show the frozen figures of a review."`
	Diff   reviewDiffCmd   `cmd:"" help:"Compare a review with the present figures, or with another review."`
}

// reviewTarget is what the commands have in common. A review of a large programme
// takes a while, so there is no time limit but ours.
type reviewTarget struct {
	target
	JSON bool `help:"Print JSON instead of a table."`
}

func (t reviewTarget) connect() (*api.Client, error) {
	return t.client(access.Manager, api.WithHTTP(&http.Client{}))
}

const reviewsPath = "/api/indicators/reviews"

type reviewFreezeCmd struct {
	reviewTarget
	Period string `arg:"" help:"2026-03, 2026-Q1, 2026-S1 or 2026; or the first day, with --grain."`
	Grain  string `help:"month, quarter, half_year or year, when the period is given by its first day."`
	Early  bool   `help:"Freeze a period that is not over yet."`
	Title  string `help:"Title, in plain text."`
	Note   string `help:"Note, in plain text."`
	Key    string `help:"Idempotency-Key: the same key again gives the review that it made (default: a new one)."`
}

func (c reviewFreezeCmd) Run(ctx context.Context) error {
	client, err := c.connect()
	if err != nil {
		return err
	}
	if c.Key == "" {
		c.Key = ulid.Make().String()
	}
	var r indicators.Review
	err = client.Post(ctx, reviewsPath, indicators.FreezeRequest{
		Period: c.Period, Grain: indicators.Grain(c.Grain), Early: c.Early, Title: c.Title, Note: c.Note,
	}, &r, api.WithKey(c.Key))
	if err != nil {
		return explained(err)
	}
	if c.JSON {
		return printJSON(os.Stdout, r)
	}
	printReview(os.Stdout, r)
	return nil
}

type reviewListCmd struct {
	reviewTarget
	Period string `help:"Only the reviews of this period, such as 2026-Q1."`
}

func (c reviewListCmd) Run(ctx context.Context) error {
	client, err := c.connect()
	if err != nil {
		return err
	}
	all := []indicators.Review{}
	for cursor := ""; ; {
		var page api.Page[indicators.Review]
		q := url.Values{"limit": {"200"}, "cursor": {cursor}, "period": {c.Period}}
		if err := client.Get(ctx, reviewsPath+"?"+q.Encode(), &page); err != nil {
			return explained(err)
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if c.JSON {
		return printJSON(os.Stdout, all)
	}
	t := newTable(os.Stdout, "Revue", "Figée le", "Par", "Faits", "Connus jusqu'au", "Titre", "SHA-256")
	for _, r := range all {
		title := r.Title
		if r.Altered {
			title = "ALTÉRÉE : ne plus s'y fier. " + title
		}
		t.line(r.Name, day(r.FrozenAt), r.Role+" "+r.Subject, strconv.Itoa(r.Facts), day(r.KnownTo), title, r.Hash[:min(16, len(r.Hash))])
	}
	return t.end()
}

type reviewShowCmd struct {
	reviewTarget
	Review string   `arg:"" help:"Id, name (2026-Q1-v2), or a period: its last review."`
	Code   []string `help:"Only this indicator (repeatable)." placeholder:"CODE"`
	Cuts   bool     `help:"Every declared cut, not only the totals."`
	CSV    bool     `name:"csv" help:"Print CSV, every figure on a line."`
}

func (c reviewShowCmd) Run(ctx context.Context) error {
	client, err := c.connect()
	if err != nil {
		return err
	}
	q := url.Values{"code": c.Code}
	path := reviewsPath + "/" + url.PathEscape(c.Review)
	if c.CSV {
		q.Set("format", "csv")
		return explained(client.Get(ctx, path+"?"+q.Encode(), os.Stdout, api.WithAccept("text/csv")))
	}
	var r indicators.FrozenReview
	if err := client.Get(ctx, path+"?"+q.Encode(), &r); err != nil {
		return explained(err)
	}
	if c.JSON {
		return printJSON(os.Stdout, r)
	}
	printReview(os.Stdout, r.Review)
	fmt.Println()
	t := newTable(os.Stdout, "Indicateur", "Coupe", "Valeur", "P90", "Unité", "Définition")
	for _, f := range r.Figures {
		for _, cell := range f.Cells {
			if len(cell.By) > 0 && !c.Cuts && len(c.Code) == 0 {
				continue
			}
			value, label := french(cell.Value), f.LabelFR
			if cell.Hidden && cell.Value == nil {
				value = "masqué"
			}
			if len(cell.By) > 0 {
				label = "  " + f.LabelFR
			}
			t.line(label, cut(cell.By, cell.Codes), value, french(cell.P90), unit(f.Unit), fmt.Sprintf("%s v%d", f.Code, f.Version))
		}
	}
	return t.end()
}

type reviewDiffCmd struct {
	reviewTarget
	Review  string   `arg:"" help:"Id, name (2026-Q1-v2), or a period: its last review."`
	Against string   `help:"Another review of the period (default: the present figures)." placeholder:"REVIEW"`
	Code    []string `help:"Only this indicator (repeatable)." placeholder:"CODE"`
	All     bool     `help:"Also figures that do not differ."`
	Cuts    bool     `help:"Every declared cut, not only the totals."`
}

func (c reviewDiffCmd) Run(ctx context.Context) error {
	client, err := c.connect()
	if err != nil {
		return err
	}
	q := url.Values{"code": c.Code, "all": {strconv.FormatBool(c.All)}}
	if c.Against != "" {
		q.Set("against", c.Against)
	}
	var d indicators.ReviewDifferences
	if err := client.Get(ctx, reviewsPath+"/"+url.PathEscape(c.Review)+"/differences?"+q.Encode(), &d); err != nil {
		return explained(err)
	}
	if c.JSON {
		return printJSON(os.Stdout, d)
	}
	return printDifferences(os.Stdout, d, c.Cuts || len(c.Code) > 0)
}

// printDifferences prints the totals, and with cuts every figure.
func printDifferences(out io.Writer, d indicators.ReviewDifferences, cuts bool) error {
	against, column := "aux chiffres actuels", "Actuel"
	if d.Against != nil {
		against, column = "à "+d.Against.Name, d.Against.Name
	}
	fmt.Fprintf(out, "Revue %s comparée %s : %d chiffres comparés, %d différents, %d masqués (trop peu de personnes).\n",
		d.Review.Name, against, d.Compared, d.Different, d.Hidden)
	if len(d.Indicators) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	t := newTable(out, "Indicateur", "Coupe", "Figé", column, "Écart", "Cause")
	left := 0
	for _, i := range d.Indicators {
		if i.DefinitionChanged {
			t.line(i.LabelFR, "", "", "", "", fmt.Sprintf("définition changée (v%d, puis v%d)", i.Version, i.AgainstVersion))
		}
		for _, cell := range i.Cells {
			if len(cell.By) > 0 && !cuts {
				left++
				continue
			}
			if cell.Hidden {
				t.line(i.LabelFR, cut(cell.By, cell.Codes), "masqué", "masqué", "", "")
				continue
			}
			difference := french(cell.Difference)
			if cell.Difference != nil && *cell.Difference > 0 {
				difference = "+" + difference
			}
			if cell.Difference != nil && *cell.Difference == 0 && len(cell.Because) > 0 {
				difference = "0 (détail : " + detail(cell) + ")"
			}
			var because []string
			for _, cause := range cell.Because {
				because = append(because, causesFR[cause])
			}
			t.line(i.LabelFR, cut(cell.By, cell.Codes), french(cell.Frozen.Value), french(cell.Against.Value), difference, strings.Join(because, "; "))
		}
	}
	if err := t.end(); err != nil || left == 0 {
		return err
	}
	_, err := fmt.Fprintf(out, "\nEt %d autres lignes par coupe : --cuts les montre.\n", left)
	return err
}

var causesFR = map[indicators.Cause]string{
	indicators.ByFacts:       "faits appris ou corrigés depuis",
	indicators.ByDefinition:  "définition changée",
	indicators.ByLateArrival: "faits arrivés en retard",
}

// detail says what differs of a figure whose value does not.
func detail(c indicators.CellDifference) string {
	for _, part := range []struct {
		name string
		a, b *int
	}{{"faits", c.Frozen.Count, c.Against.Count}, {"personnes", c.Frozen.People, c.Against.People}} {
		if part.a != nil && part.b != nil && *part.a != *part.b {
			return fmt.Sprintf("%s %d, puis %d", part.name, *part.a, *part.b)
		}
	}
	return "90e centile ou parts"
}

func printReview(out io.Writer, r indicators.Review) {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	line("Revue", r.Name)
	line("Titre", r.Title)
	line("Note", strings.ReplaceAll(r.Note, "\n", " / "))
	if r.Early {
		line("Attention", "figée avant la fin de la période")
	}
	line("Figée le", fmt.Sprintf("%s, par %s (%s)", day(r.FrozenAt), r.Role, r.Subject))
	line("Faits", fmt.Sprintf("%d, connus jusqu'au %s", r.Facts, day(r.KnownTo)))
	for _, s := range r.Sources {
		waits := "retard inconnu"
		if s.LagMessages != nil {
			waits = fmt.Sprintf("%d en attente", *s.LagMessages)
		}
		line("  "+s.Topic, fmt.Sprintf("%d faits, dernier %s, %s", s.Facts, day(s.LastRecorded), waits))
	}
	cells, hidden := 0, 0
	for _, i := range r.Indicators {
		cells, hidden = cells+i.Cells, hidden+i.Hidden
	}
	line("Chiffres", fmt.Sprintf("%d indicateurs, %d chiffres, %d masqués", len(r.Indicators), cells, hidden))
	line("SHA-256", r.Hash)
	line("Identifiant", r.ID)
	_ = t.Flush() // as fmt.Print, to the terminal
}

// table writes columns that line up.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer, columns ...string) table {
	t := table{tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)}
	t.line(columns...)
	return t
}

func (t table) line(fields ...string) { fmt.Fprintln(t.w, strings.Join(fields, "\t")) }

func (t table) end() error { return t.w.Flush() }

func cut(by, codes []string) string {
	if len(by) == 0 {
		return "total"
	}
	var parts []string
	for i := range by {
		parts = append(parts, cmp.Or(dimensionsFR()[by[i]], by[i])+" "+codes[i])
	}
	return strings.Join(parts, ", ")
}

// dimensionsFR are the dimensions' names by code.
var dimensionsFR = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, d := range indicators.Dimensions() {
		names[d.Code] = d.LabelFR
	}
	return names
})

// french writes a number as French readers do, with four decimals at most:
// 1 234,5. The exact figure is in JSON and CSV.
func french(v *float64) string {
	if v == nil {
		return "-"
	}
	text, fraction, _ := strings.Cut(strconv.FormatFloat(math.Round(*v*1e4)/1e4, 'f', -1, 64), ".")
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	if fraction != "" {
		text += "," + fraction
	}
	return sign + text
}

// day is an instant in the programme's time.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	tunis, err := time.LoadLocation(indicators.Zone)
	if err != nil {
		tunis = time.UTC
	}
	return t.In(tunis).Format("02/01/2006 15:04")
}

// explained adds what a service found wrong with what the user typed.
func explained(err error) error {
	var e *api.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err
	}
	var reasons []string
	for _, f := range e.Fields {
		reasons = append(reasons, f.Path+": "+f.Reason)
	}
	return errors.New(strings.Join(reasons, "; "))
}

// unitsFR are the units of the indicators for French readers.
var unitsFR = map[string]string{
	"people": "personnes", "days": "jours", "offers": "offres", "posts": "postes", "decisions": "décisions",
	"messages": "messages", "pathways": "parcours", "employers": "employeurs", "share": "part", "per person": "par personne", "campaigns": "campagnes", "contracts": "contrats",
}

func unit(code string) string { return cmp.Or(unitsFR[code], code) }

func printJSON(out io.Writer, v any) error {
	to := json.NewEncoder(out)
	to.SetEscapeHTML(false)
	to.SetIndent("", "  ")
	return to.Encode(v)
}
