package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/services/indicators"
	"masar.local/services/indicators/shortage"
)

// shortageCmd is about shortage occupations: the official series they are made of,
// their classes, and the quarterly bulletin.
type shortageCmd struct {
	Import   shortageImportCmd   `cmd:"" help:"Import official series: BMO, DARES, passages between nomenclatures, or a plain CSV of series; gzip or not."`
	Classes  shortageClassesCmd  `cmd:"" help:"Show the classes of a zone."`
	Bulletin shortageBulletinCmd `cmd:"" help:"Write the quarterly bulletin of a zone."`
}

const shortagePath = "/api/indicators/shortage"

type shortageImportCmd struct {
	target
	Files  []string `arg:"" help:"Files; - for standard input. Their first line says what they are." placeholder:"FILE"`
	Name   string   `help:"Name of the dataset, which a later file of the same name replaces (default: source and periods)."`
	DryRun bool     `help:"Check everything, write nothing."`
}

// maxShortageFile is what the service takes, before base64.
const maxShortageFile = 45 << 20

func (c shortageImportCmd) Run(ctx context.Context) error {
	client, err := c.client(access.Manager, api.WithHTTP(&http.Client{}))
	if err != nil {
		return err
	}
	if c.Name != "" && len(c.Files) > 1 {
		return errors.New("--name est pour un seul fichier | \u200e--name لملف واحد")
	}
	refused := false
	for _, name := range c.Files {
		in, err := openInput(name)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(in, maxShortageFile+1))
		in.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(data) > maxShortageFile {
			return fmt.Errorf("%s : plus de %d Mio ; compressez-le avec gzip | أكثر من %[2]d ميبيبايت؛ اضغطوه بـgzip", name, maxShortageFile>>20)
		}
		path := shortagePath + "/imports"
		if c.DryRun {
			path += "?dry_run=true"
		}
		var answer indicators.ShortageImported
		if err := client.Post(ctx, path, indicators.ShortageImport{Name: c.Name, File: data}, &answer); err != nil {
			return fmt.Errorf("%s : %w", name, explained(err))
		}
		printShortageImport(os.Stdout, os.Stderr, name, answer)
		refused = refused || answer.Outcome == indicators.ImportRefused
	}
	if refused {
		return errFailed
	}
	return nil
}

// printShortageImport says what became of a file, in French and Arabic: every
// wrong cell to the one, the outcome to the other.
func printShortageImport(out, problems io.Writer, name string, a indicators.ShortageImported) {
	for _, e := range a.Report.Errors {
		kind := "refusée | مرفوض"
		if e.Warning {
			kind = "remarque | ملاحظة"
		}
		fmt.Fprintf(problems, "%s — ligne %d", kind, e.Line)
		if e.Column != "" {
			fmt.Fprintf(problems, ", colonne %s", e.Column)
		}
		if e.Value != "" {
			fmt.Fprintf(problems, ", valeur %q", e.Value)
		}
		fmt.Fprintf(problems, " : %s | %s [%s]\n", e.ReasonFR, e.ReasonAR, e.Code)
	}
	if more := a.Report.Faults - len(a.Report.Errors); more > 0 {
		fmt.Fprintf(problems, "… et %d autres | … و%[1]d أخرى\n", more)
	}
	dry, sec := "", ""
	if a.DryRun {
		dry, sec = " (essai : rien n'est écrit)", " (تجربة: لم يُكتب شيء)"
	}
	d := a.Dataset
	switch a.Outcome {
	case indicators.ImportRefused:
		fmt.Fprintf(out, "%s : refusé, %d cellules fausses sur %d lignes ; rien n'est pris%s | مرفوض، %[2]d خانات خاطئة في %[3]d أسطر؛ لم يُؤخذ شيء%[5]s\n", name, a.Report.Faults, a.Report.Rows, dry, sec)
	case indicators.ImportUnchanged:
		fmt.Fprintf(out, "%s : inchangé, déjà là : %s version %d (en vigueur : %d)%s | دون تغيير، موجود: \u2068%[2]s\u2069 النسخة %[3]d (المعمول بها: %[4]d)%[6]s\n", name, d.Name, d.Version, a.InForce, dry, sec)
	case indicators.ImportReplaced:
		fmt.Fprintf(out, "%s : %s version %d, %d lignes, %d valeurs ; la version d'avant reste gardée%s | \u2068%[2]s\u2069 النسخة %[3]d، %[4]d أسطر، %[5]d قيم؛ النسخة السابقة محفوظة%[7]s\n", name, d.Name, d.Version, d.Rows, d.Values, dry, sec)
	default:
		fmt.Fprintf(out, "%s : %s version %d, %d lignes, %d valeurs%s | \u2068%[2]s\u2069 النسخة %[3]d، %[4]d أسطر، %[5]d قيم%[7]s\n", name, d.Name, d.Version, d.Rows, d.Values, dry, sec)
	}
}

type shortageClassesCmd struct {
	target
	Zone         string   `arg:"" help:"TN, TN-71, FR, FR-84 (région) or FR-D01 (département)."`
	Period       string   `help:"2025 or 2026-Q3 (default: the latest)."`
	Nomenclature string   `help:"ROME, FAP2009, FAP2021, ISCO08 or RTMC (default: all that there are)."`
	Occupation   []string `help:"Codes (default: all)."`
	Source       []string `help:"Keep to these sources; masar, our own offers, is taken only where it is named."`
	JSON         bool     `help:"Print JSON instead of a table."`
}

func (c shortageClassesCmd) Run(ctx context.Context) error {
	client, err := c.client(access.Manager)
	if err != nil {
		return err
	}
	q := url.Values{"zone": {c.Zone}, "occupation": c.Occupation, "source": c.Source}
	if c.Period != "" {
		q.Set("period", c.Period)
	}
	if c.Nomenclature != "" {
		q.Set("nomenclature", c.Nomenclature)
	}
	var answer indicators.Shortage
	if err := client.Get(ctx, shortagePath+"?"+q.Encode(), &answer); err != nil {
		return explained(err)
	}
	if c.JSON {
		return printJSON(os.Stdout, answer)
	}
	printShortage(os.Stdout, answer)
	return nil
}

func printShortage(out io.Writer, a indicators.Shortage) {
	if len(a.Tables) == 0 {
		fmt.Fprintf(out, "%s (%s) : aucune série pour cette question", a.LabelFR, a.Zone)
		for _, s := range a.Available {
			fmt.Fprintf(out, " ; il y a %s %s", s.Nomenclature, s.Period)
		}
		fmt.Fprintln(out)
	}
	number := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return strconv.FormatFloat(*v, 'f', 3, 64)
	}
	for _, t := range a.Tables {
		fmt.Fprintf(out, "%s (%s), %s %s, sources : %s, méthode %s\n", a.LabelFR, t.Zone, t.Nomenclature, t.Period, strings.Join(t.Sources, ", "), t.Method)
		for _, f := range t.Flags {
			fmt.Fprintf(out, "  %s : %s\n", f, f.Text("fr"))
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "classe\tavant\tindice\tc1\tc2\tc3\tcode\tmétier\tcampagne\tremarques")
		for _, r := range t.Rows {
			class, before, campaign := "-", "-", ""
			if r.Class != nil {
				class = strconv.Itoa(*r.Class)
			}
			if r.Before != nil && r.Before.Class != nil {
				before = strconv.Itoa(*r.Before.Class)
			}
			for _, s := range r.Scarcity {
				campaign += fmt.Sprintf("%s %d/%d +%d ", s.ROME, s.Filled, s.Posts, s.OneMoreCandidate)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", class, before, number(r.T),
				number(r.Components[shortage.C1]), number(r.Components[shortage.C2]), number(r.Components[shortage.C3]),
				r.Code, clip(r.Label), campaign, strings.Trim(fmt.Sprint(r.Flags), "[]"))
		}
		_ = w.Flush()
	}
}

type shortageBulletinCmd struct {
	target
	Zone    string `arg:"" help:"TN, TN-71, FR or FR-84."`
	Quarter string `arg:"" help:"2026-Q3."`
	Lang    string `default:"fr" enum:"fr,ar" help:"fr or ar."`
	Format  string `default:"html" enum:"html,csv,json" help:"html, csv or json."`
	Out     string `short:"o" help:"File to write (default: standard output)." placeholder:"FILE"`
}

func (c shortageBulletinCmd) Run(ctx context.Context) error {
	client, err := c.client(access.Manager)
	if err != nil {
		return err
	}
	q := url.Values{"zone": {c.Zone}, "quarter": {c.Quarter}, "lang": {c.Lang}, "format": {c.Format}}
	body, err := client.Stream(ctx, http.MethodGet, shortagePath+"/bulletin?"+q.Encode(), nil, api.WithAccept("*/*"))
	if err != nil {
		return explained(err)
	}
	defer body.Close()
	if c.Out == "" {
		_, err = io.Copy(os.Stdout, body)
		return err
	}
	page, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return os.WriteFile(c.Out, page, 0o644)
}
