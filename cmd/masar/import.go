package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"masar.local/cmd/masar/importer"
	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

type importCmd struct {
	Offers     importOffersCmd     `cmd:"" help:"France Travail offers: JSON Lines, a JSON array, or an API answer with resultats."`
	Candidates importCandidatesCmd `cmd:"" help:"A list of candidates: CSV or XLSX, headers in French, Arabic or English."`
	Rome       importRomeCmd       `cmd:"" help:"The official CSV files of ROME: every occupation with its mobility links and competences."`
}

// importRomeCmd replaces the list of occupations that is part of the program,
// which holds only those of the schemes.
type importRomeCmd struct {
	Data string `default:"data" env:"MASAR_DATA_DIR" help:"Data directory of the platform." placeholder:"DIR"`
	Dir  string `arg:"" help:"Folder of the files unix_*_utf8.csv." type:"existingdir" placeholder:"DIR"`
}

func (c importRomeCmd) Run() error {
	occupations, err := reference.ImportROME(c.Dir)
	if err != nil {
		return err
	}
	if err := occupations.Save(c.Data); err != nil {
		return err
	}
	fmt.Printf("ROME %s: %d occupations and %d competences kept in %s; they hold from the next start of the platform\n",
		occupations.Version, len(occupations.Jobs), len(occupations.Items), c.Data)
	return nil
}

type importOffersCmd struct {
	target
	File   string `arg:"" help:"File, or - for standard input." placeholder:"FILE.jsonl|FILE.json"`
	DryRun bool   `help:"Check everything, write nothing."`
}

func (c importOffersCmd) Run(ctx context.Context) error {
	client, err := c.client(access.Admin)
	if err != nil {
		return err
	}
	in, size, err := measured(c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	im := newImport(client, "/api/employers/imports", c.DryRun, size)
	for row, err := range importer.Offers(in) {
		var refused *importer.RowError
		switch {
		case errors.As(err, &refused):
			im.refuse(problem{line: refused.Row.Line, code: "malformed", reason: refused.Reason})
		case err != nil:
			im.finish()
			return fmt.Errorf("%s : %w\nles lignes d'avant sont prises ; réparez le fichier et importez-le de nouveau : ce qui est pris reste tel quel | الأسطر السابقة مُدرجة؛ أصلحوا الملف وأعيدوا توريده: ما أُدرج يبقى كما هو", c.File, err)
		default:
			if err := im.add(ctx, item{line: row.Line, body: row.Raw, place: func(path string) (string, string) { return path, valueAt(row.Raw, path) }}); err != nil {
				return err
			}
		}
		im.at(in.Count())
	}
	return im.end(ctx)
}

type importCandidatesCmd struct {
	target
	File   string `arg:"" help:"File." placeholder:"FILE.csv|FILE.xlsx"`
	Sheet  string `help:"Sheet of the workbook (default: the first)."`
	DryRun bool   `help:"Check everything, write nothing."`
}

func (c importCandidatesCmd) Run(ctx context.Context) error {
	client, err := c.client(access.Admin)
	if err != nil {
		return err
	}
	list, err := importer.OpenCandidates(c.File, importer.Options{Sheet: c.Sheet})
	if err != nil {
		return fmt.Errorf("%s : %w", c.File, err)
	}
	defer list.Close()
	for _, column := range list.Unknown() {
		fmt.Fprintf(os.Stderr, "colonne %[1]s %[2]q : non comprise, non lue | العمود %[1]s %[2]q: غير مفهوم ولم يُقرأ\n", column.Letter, column.Name)
	}
	im := newImport(client, "/api/candidates/imports", c.DryRun, -1)
	for row, err := range list.Rows() {
		if err != nil {
			im.finish()
			return fmt.Errorf("%s : %w", c.File, err)
		}
		for _, p := range row.Problems {
			im.note(problem{line: p.Line, column: columnName(importer.Column{Letter: p.Letter, Name: p.Column}), value: p.Value, code: p.Code, reason: p.Reason, warning: p.Warning})
		}
		if row.Refused() {
			im.refused++
			im.step()
			continue
		}
		body, err := json.Marshal(row.Candidate)
		if err != nil {
			return err
		}
		if err := im.add(ctx, item{line: row.Line, body: body, place: func(path string) (string, string) {
			column, value, ok := row.Place(path)
			if !ok {
				return path, valueAt(body, path)
			}
			return columnName(column), value
		}}); err != nil {
			return err
		}
	}
	if err := im.end(ctx); err != nil {
		return err
	}
	for _, notice := range list.Notices() {
		fmt.Fprintln(os.Stderr, notice)
	}
	return nil
}

// item is one row on its way to a service.
type item struct {
	line int
	body json.RawMessage
	// place is the file's column for a field of the record, and what stands there.
	place func(path string) (column, value string)
}

// columnName is a column as the reader of a spreadsheet finds it.
func columnName(c importer.Column) string {
	if c.Letter == "" {
		return c.Name
	}
	return fmt.Sprintf("%s %q", c.Letter, c.Name)
}

// problem is one thing wrong, or noteworthy, about a row.
type problem struct {
	line                        int
	column, value, code, reason string
	warning                     bool
}

// importing sends rows in batches and reports every row that was refused.
type importing struct {
	client *api.Client
	path   string
	bar    *progress

	batch []item
	bytes int

	created, updated, unchanged, refused int
}

// A batch is bounded in rows and bytes: services take 500 rows and 16 MiB (8 for
// candidates).
const (
	batchRows  = 250
	batchBytes = 4 << 20
)

func newImport(client *api.Client, path string, dryRun bool, size int64) *importing {
	if dryRun {
		path += "?dry_run=true"
	}
	return &importing{client: client, path: path, bar: newProgress(size, "lignes")}
}

func (im *importing) at(bytes int64) { im.bar.Set(bytes) }

func (im *importing) step() { im.bar.Count(im.created + im.updated + im.unchanged + im.refused) }

func (im *importing) note(p problem) {
	kind := "refusée | مرفوض"
	if p.warning {
		kind = "remarque | ملاحظة"
	}
	im.bar.Clear()
	fmt.Fprintf(os.Stderr, "%s — ligne %d", kind, p.line)
	if p.column != "" {
		fmt.Fprintf(os.Stderr, ", colonne %s", p.column)
	}
	if p.value != "" {
		fmt.Fprintf(os.Stderr, ", valeur %q", clip(p.value))
	}
	fmt.Fprintf(os.Stderr, " : %s [%s]\n", p.reason, p.code)
}

func (im *importing) refuse(p problem) {
	im.note(p)
	im.refused++
	im.step()
}

func (im *importing) add(ctx context.Context, i item) error {
	if len(im.batch) > 0 && (len(im.batch) == batchRows || im.bytes+len(i.body) > batchBytes) {
		if err := im.flush(ctx); err != nil {
			return err
		}
	}
	im.batch = append(im.batch, i)
	im.bytes += len(i.body)
	return nil
}

// rowAnswer is what a service says of one row.
type rowAnswer struct {
	Index   int         `json:"index"`
	Outcome string      `json:"outcome"`
	Fields  []api.Field `json:"fields"`
}

func (im *importing) flush(ctx context.Context) error {
	request := struct {
		Rows []json.RawMessage `json:"rows"`
	}{}
	for _, i := range im.batch {
		request.Rows = append(request.Rows, i.body)
	}
	var answer struct {
		Rows []rowAnswer `json:"rows"`
	}
	if err := im.client.Post(ctx, im.path, request, &answer); err != nil {
		im.finish()
		return fmt.Errorf("pas de réponse pour les lignes à partir de la ligne %[1]d : importez le fichier de nouveau, ce qui est pris reste tel quel | لا جواب عن الأسطر بداية من السطر %[1]d: أعيدوا توريد الملف، ما أُدرج يبقى كما هو: %[2]w", im.batch[0].line, err)
	}
	if len(answer.Rows) != len(im.batch) {
		im.finish()
		return fmt.Errorf("à partir de la ligne %[1]d : %[2]d réponses pour %[3]d lignes | بداية من السطر %[1]d: %[2]d أجوبة عن %[3]d أسطر", im.batch[0].line, len(answer.Rows), len(im.batch))
	}
	for _, a := range answer.Rows {
		i := im.batch[a.Index]
		switch a.Outcome {
		case "created":
			im.created++
		case "updated":
			im.updated++
		case "unchanged":
			im.unchanged++
		default:
			im.refused++
			if len(a.Fields) == 0 {
				im.note(problem{line: i.line, code: a.Outcome, reason: importer.Reason("", "refused", "")})
			}
		}
		for _, f := range a.Fields {
			column, value := i.place(f.Path)
			im.note(problem{line: i.line, column: column, value: value, code: f.Code, reason: importer.Reason(f.Path, f.Code, f.Reason), warning: a.Outcome != "refused"})
		}
		im.step()
	}
	im.batch, im.bytes = im.batch[:0], 0
	return nil
}

func (im *importing) finish() { im.bar.Finish() }

// end sends what is left and says what became of the file. Refused rows make the
// command fail, so that a script notices.
func (im *importing) end(ctx context.Context) error {
	if len(im.batch) > 0 {
		if err := im.flush(ctx); err != nil {
			return err
		}
	}
	im.finish()
	fr, ar := "", ""
	if strings.Contains(im.path, "dry_run") {
		fr, ar = " (essai : rien n'est écrit)", " (تجربة: لم يُكتب شيء)"
	}
	fmt.Printf("lignes : %[1]d ; créées : %[2]d, mises à jour : %[3]d, inchangées : %[4]d, refusées : %[5]d%[6]s | الأسطر: %[1]d؛ جديدة: %[2]d، محيّنة: %[3]d، دون تغيير: %[4]d، مرفوضة: %[5]d%[7]s\n",
		im.created+im.updated+im.unchanged+im.refused, im.created, im.updated, im.unchanged, im.refused, fr, ar)
	if im.refused > 0 {
		return errFailed
	}
	return nil
}

// valueAt reads the value at a path such as "occupations[0].rome" for a report
// to the person who imports; "" when there is none.
func valueAt(body json.RawMessage, path string) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return ""
	}
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			n := -1
			if _, err := fmt.Sscanf(step, "%d", &n); err != nil || n < 0 || n >= len(at) {
				return ""
			}
			v = at[n]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
}

// clip keeps what a report quotes on one line.
func clip(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
