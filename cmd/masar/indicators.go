package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"masar.local/pkg/access"
	"masar.local/services/indicators"
)

// indicatorsCmd is what is asked of the definitions of indicators.
type indicatorsCmd struct {
	Check   indicatorsCheckCmd   `cmd:"" help:"Run the tests that definitions carry, by the engine and by the recount; exit 1 on any fault."`
	Docs    indicatorsDocsCmd    `cmd:"" help:"Print the document of all indicators, in French, as Markdown."`
	Preview indicatorsPreviewCmd `cmd:"" help:"Compare a definition with the one in force, on the history of a running platform; nothing is stored."`
}

// indicatorsCheckCmd checks definitions: those of this program, those of a
// directory, or one file.
type indicatorsCheckCmd struct {
	Path string `arg:"" optional:"" help:"A file of one definition, or a directory of them (default: those in this program)."`
	Lock bool   `help:"Write definitions.lock of the directory anew; refused while something is counted differently under the same version."`
}

func (c indicatorsCheckCmd) Run() error {
	checked, err := c.check()
	if err != nil {
		return err
	}
	for _, fault := range checked.Faults {
		fmt.Println(fault)
	}
	fmt.Printf("%d definitions, %d tests, %d expectations by the engine both ways and by the recount: ", len(checked.Definitions), checked.Tests, checked.Figures)
	if n := len(checked.Faults); n > 0 {
		fmt.Printf("%d faults\n", n)
		return errFailed
	}
	fmt.Println("all right")
	return nil
}

func (c indicatorsCheckCmd) check() (indicators.Checked, error) {
	if c.Path == "" {
		if c.Lock {
			return indicators.Checked{}, errors.New("--lock needs the directory of the definitions, such as services/indicators/definitions")
		}
		return indicators.CheckEmbedded(), nil
	}
	info, err := os.Stat(c.Path)
	if err != nil {
		return indicators.Checked{}, err
	}
	if info.IsDir() {
		if c.Lock {
			if err := writeLock(c.Path); err != nil {
				return indicators.Checked{}, err
			}
		}
		return indicators.CheckDefinitions(os.DirFS(c.Path), "."), nil
	}
	if c.Lock {
		return indicators.Checked{}, errors.New("--lock takes the directory of the definitions, not one file")
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return indicators.Checked{}, err
	}
	lock, err := readLock(filepath.Dir(c.Path))
	if err != nil {
		return indicators.Checked{}, err
	}
	return indicators.CheckDefinition(data, lock), nil
}

// readLock is the text of the directory's lock, nil when it has none.
func readLock(dir string) ([]byte, error) {
	lock, err := os.ReadFile(filepath.Join(dir, indicators.LockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

func writeLock(dir string) error {
	defs, err := indicators.LoadDefinitions(os.DirFS(dir), ".", indicators.Dimensions())
	if err != nil {
		return err
	}
	old, err := readLock(dir)
	if err != nil {
		return err
	}
	lock, err := indicators.Lock(defs, old)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, indicators.LockName), lock, 0o644)
}

// indicatorsDocsCmd prints docs/indicators.md.
type indicatorsDocsCmd struct{}

func (indicatorsDocsCmd) Run() error {
	defs, err := indicators.Embedded()
	if err != nil {
		return err
	}
	fmt.Print(indicators.Document(defs, indicators.Dimensions()))
	return nil
}

// indicatorsPreviewCmd shows old against new figures, as a table in French.
type indicatorsPreviewCmd struct {
	target
	File  string   `arg:"" type:"existingfile" help:"The definition, as in services/indicators/definitions."`
	Grain string   `default:"month" help:"Length of the periods: day, month, quarter, half_year, year, season or all."`
	By    []string `help:"Dimensions to cut by."`
	From  string   `help:"First day, YYYY-MM-DD." placeholder:"DAY"`
	To    string   `help:"Last day, YYYY-MM-DD." placeholder:"DAY"`
}

func (c indicatorsPreviewCmd) Run(ctx context.Context) error {
	definition, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	client, err := c.client(access.Admin)
	if err != nil {
		return err
	}
	ask := map[string]any{"definition": string(definition), "grain": c.Grain, "by": append([]string{}, c.By...)}
	for name, day := range map[string]string{"from": c.From, "to": c.To} {
		if day != "" {
			ask[name] = day
		}
	}
	var p indicators.Preview
	if err := client.Post(ctx, "/api/indicators/preview", ask, &p); err != nil {
		return err
	}
	printPreview(os.Stdout, p)
	return nil
}

func printPreview(w io.Writer, p indicators.Preview) {
	fmt.Fprintf(w, "%s, « %s » (%s)\n", p.Code, p.LabelFR, p.Unit)
	switch {
	case p.OldVersion == 0:
		fmt.Fprintf(w, "Nouvel indicateur, version %d : il n'y a rien à quoi le comparer.\n", p.NewVersion)
	case !p.Changed:
		fmt.Fprintf(w, "Version en vigueur : %d ; proposée : %d. Les deux comptent la même chose.\n", p.OldVersion, p.NewVersion)
	default:
		fmt.Fprintf(w, "Version en vigueur : %d ; proposée : %d. Elle compte autre chose.\n", p.OldVersion, p.NewVersion)
	}
	if p.RaiseVersion {
		fmt.Fprintf(w, "Avant de l'adopter : version: %d dans le fichier, puis « masar indicators check --lock ».\n", p.OldVersion+1)
	}
	switch n := len(p.TestFaults); {
	case p.Tests == 0:
		fmt.Fprintln(w, "Essais : aucun.")
	case n == 0:
		fmt.Fprintf(w, "Essais : %d, tous justes.\n", p.Tests)
	default:
		const shown = 4 // `masar indicators check FILE` says them all
		fmt.Fprintf(w, "Essais : %d, dont des chiffres ne sont pas ceux attendus (tous : « masar indicators check FICHIER ») :\n  %s\n", p.Tests, strings.Join(p.TestFaults[:min(n, shown)], "\n  "))
	}
	number := func(n *int) string {
		if n == nil {
			return "masqué"
		}
		return strconv.Itoa(*n)
	}
	fmt.Fprintf(w, "Faits : %s entrent, %s sortent, %s restent. Rien n'est enregistré.\n\n", number(p.Entering), number(p.Leaving), number(p.Kept))

	figure := func(x *float64, suppressed bool) string {
		switch {
		case x != nil:
			return strings.Replace(strconv.FormatFloat(math.Round(*x*1e4)/1e4, 'f', -1, 64), ".", ",", 1)
		case suppressed:
			return "masqué"
		}
		return "–"
	}
	period := func(label string) string {
		if label == string(indicators.All) {
			return "depuis le début"
		}
		return label
	}
	table := [][]string{slices.Concat([]string{"période"}, p.By, []string{"avant", "après", "écart", "faits entrés", "faits sortis"})}
	lines := func(rows []indicators.PreviewRow, total bool) {
		for _, r := range rows {
			line := []string{period(r.Period)}
			for _, name := range p.By {
				code := r.Dimensions[name]
				if total {
					code = "ensemble"
				}
				line = append(line, code)
			}
			difference := figure(r.Difference, r.Suppressed)
			if r.Difference != nil && *r.Difference > 0 {
				difference = "+" + difference
			}
			entering, leaving := number(r.Entering), number(r.Leaving)
			table = append(table, append(line, figure(r.Old, r.Suppressed), figure(r.New, r.Suppressed), difference, entering, leaving))
		}
	}
	lines(p.Rows, false)
	lines(p.Totals, true)
	printTable(w, table, 1+len(p.By))
}

// printTable writes columns of equal width; the first of them to the left, the
// others, which are numbers, to the right.
func printTable(w io.Writer, table [][]string, left int) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, line := range table {
		var out strings.Builder
		for i, text := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if i < left {
				text, pad = pad, text
			}
			out.WriteString(pad + text)
			if i < len(line)-1 {
				out.WriteString("  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(out.String(), " "))
	}
}
