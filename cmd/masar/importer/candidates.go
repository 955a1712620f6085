package importer

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/xuri/excelize/v2"

	"masar.local/pkg/reference"
)

// Format is how a list is stored.
type Format string

// Formats of lists.
const (
	CSV  Format = "csv"  // comma, semicolon or tab separated
	XLSX Format = "xlsx" // Excel workbook
)

// Options says how to read a list.
type Options struct {
	Format Format // for OpenCandidates, "" means by the file's name
	Sheet  string // of a workbook; "" means the first
	// Occupations are known by name; nil means those that are part of the program.
	Occupations *reference.Occupations
}

// List is a candidate list whose header has been read and understood.
type List struct {
	Columns []Column // every column with a header, in the file's order
	Header  int      // line of the header

	table    table
	kinds    []*column // by place; nil where nothing is read
	places   []Column  // by place; without a name where there is no header
	strict   bool      // a cell beyond the header means that the row is shifted
	labels   func() map[string]string
	headless map[int]bool // columns with values but without a header
	file     io.Closer
}

// CandidateRow is one row of a list.
type CandidateRow struct {
	Line      int // in the file, from 1
	Candidate Candidate
	Problems  []Problem

	list  *List
	cells []string
}

// Place finds what fed a field of the record, by its path there ("birth_date",
// "occupations[0].rome"): the column and what is written in it, so that what a
// service refuses later can be shown where the reader of the list will look. ok
// is false when no column of the list feeds the field.
func (r CandidateRow) Place(path string) (column Column, value string, ok bool) {
	if r.list == nil {
		return Column{}, "", false
	}
	field, _, _ := strings.Cut(path, ".")
	field, _, _ = strings.Cut(field, "[")
	for i, c := range r.list.places {
		kind, _, _ := strings.Cut(c.Field, ".")
		if strings.HasSuffix(path, "experience_months") {
			kind, _, _ = strings.Cut(kind, "_")
			field = "experience"
		}
		if c.Field == "" || kind != field {
			continue
		}
		if i < len(r.cells) && tidy(r.cells[i]) != "" {
			return c, clip(r.cells[i]), true
		}
		if !ok {
			column, ok = c, true
		}
	}
	return column, "", ok
}

// Refused says whether the row cannot be used.
func (r CandidateRow) Refused() bool {
	for _, p := range r.Problems {
		if !p.Warning {
			return true
		}
	}
	return false
}

// table is a file of rows.
type table interface {
	// next reads the next row that is not empty: its line and its cells, or its
	// problem. io.EOF ends; any other error means that the file cannot be read on.
	next() (line int, cells []string, problem *Problem, err error)
	// serial reads a date that is stored as a number, where the format does that.
	serial(value string) (date string, ok bool)
	notices() []string
	close() error
}

// headerWithin is how many rows may come before the header: titles, a logo's
// empty space.
const headerWithin = 20

// OpenCandidates opens a list by its path. Close it after reading.
func OpenCandidates(path string, o Options) (*List, error) {
	if o.Format == "" {
		switch ext := strings.ToLower(filepath.Ext(path)); ext {
		case ".csv", ".tsv", ".txt":
			o.Format = CSV
		case ".xlsx", ".xlsm":
			o.Format = XLSX
		default:
			return nil, fmt.Errorf("une liste est un fichier .csv ou .xlsx, et non %[1]q | القائمة ملف .csv أو .xlsx وليست %[1]q", ext)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l, err := Candidates(f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.file = f
	return l, nil
}

// Candidates reads a list's header. It is an error, before any row, if the
// columns without which nobody can be identified are not there
// (*MissingColumnsError) or if two columns mean the same.
func Candidates(r io.Reader, o Options) (*List, error) {
	if o.Occupations == nil {
		o.Occupations = reference.EmbeddedOccupations()
	}
	l := &List{headless: map[int]bool{}, labels: sync.OnceValue(func() map[string]string { return labelsOf(o.Occupations) })}
	var err error
	switch o.Format {
	case CSV:
		l.table, err = openCSV(r)
		l.strict = true
	case XLSX:
		l.table, err = openXLSX(r, o.Sheet)
	default:
		err = fmt.Errorf("format inconnu %[1]q : csv ou xlsx | صيغة غير معروفة %[1]q: csv أو xlsx", o.Format)
	}
	if err != nil {
		return nil, err
	}
	if err := l.header(); err != nil {
		return nil, errors.Join(err, l.table.close())
	}
	return l, nil
}

// Close frees the file.
func (l *List) Close() error {
	err := l.table.close()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}

// Unknown lists the columns that are not read.
func (l *List) Unknown() []Column {
	var unknown []Column
	for _, c := range l.Columns {
		if c.Field == "" {
			unknown = append(unknown, c)
		}
	}
	return unknown
}

// Notices tells what was assumed about the file as a whole. It is complete when
// the rows have been read.
func (l *List) Notices() []string {
	told := l.table.notices()
	for i := range l.kinds {
		if l.headless[i] {
			told = append(told, fmt.Sprintf("la colonne %[1]s a des valeurs mais pas d'en-tête : elle n'est pas lue | العمود %[1]s فيه قيم دون عنوان: لم يُقرأ", letter(i)))
		}
	}
	return told
}

// MissingColumnsError says which columns a list lacks.
type MissingColumnsError struct {
	Line    int // of what was taken for the header; 0 when nothing looked like one
	Missing []Missing
	Found   []Column
}

// Missing is one thing that a list does not say, with the headers that would.
type Missing struct {
	FR, AR  string
	Headers []string
}

func (e *MissingColumnsError) Error() string {
	fr, ar := fmt.Sprintf("pas d'en-tête dans les %d premières lignes ; il faut", headerWithin), fmt.Sprintf("لا سطر عناوين في الأسطر الـ%d الأولى؛ يلزم", headerWithin)
	if e.Line > 0 {
		fr, ar = fmt.Sprintf("ligne %d, l'en-tête : il manque", e.Line), fmt.Sprintf("السطر %d، سطر العناوين: ينقص", e.Line)
	}
	for i, m := range e.Missing {
		if i > 0 {
			fr, ar = fr+" ;", ar+"؛"
		}
		fr += " " + m.FR + " (" + strings.Join(m.Headers, " ou ") + ")"
		ar += " " + m.AR + " (" + strings.Join(m.Headers, " أو ") + ")"
	}
	if len(e.Found) == 0 {
		return fr + " | " + ar
	}
	there := ""
	for _, c := range e.Found {
		there += fmt.Sprintf(" %s %q", c.Letter, clip(c.Name))
	}
	return fr + ". Colonnes présentes :" + there + " | " + ar + ". الأعمدة الموجودة:" + there
}

// needed lists the needs that the kinds do not meet, with what would.
func needed(have []*column) []Missing {
	met := map[need]bool{}
	for _, k := range have {
		if k != nil {
			met[k.need] = true
		}
	}
	var missing []Missing
	for _, n := range needs {
		if met[n] {
			continue
		}
		var names []string
		for _, c := range columns {
			if c.need == n {
				names = append(names, `"`+c.names[0]+`"`)
			}
		}
		missing = append(missing, Missing{n.fr, n.ar, names})
	}
	return missing
}

// header finds the header: the first row in which at least two columns are
// understood.
func (l *List) header() error {
	for range headerWithin {
		line, cells, problem, err := l.table.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if problem != nil {
			return errors.New(problem.String())
		}
		known := 0
		kinds := make([]*column, len(cells))
		for i, text := range cells {
			if kinds[i] = kindOf(text); kinds[i] != nil {
				known++
			}
		}
		if known < 2 {
			continue
		}
		l.Header, l.kinds = line, kinds
		for i, text := range cells {
			c := Column{Letter: letter(i), Name: tidy(text)}
			if kinds[i] != nil {
				c.Field = kinds[i].field
			}
			l.places = append(l.places, c)
			if c.Name != "" {
				l.Columns = append(l.Columns, c)
			}
		}
		if missing := needed(kinds); len(missing) > 0 {
			return &MissingColumnsError{Line: line, Missing: missing, Found: l.Columns}
		}
		return l.twice()
	}
	return &MissingColumnsError{Missing: needed(nil)}
}

// twice refuses two columns that give the same field.
func (l *List) twice() error {
	first := map[string]Column{}
	for _, c := range l.Columns {
		if c.Field == "" || kindOf(c.Name).many {
			continue
		}
		if other, seen := first[c.Field]; seen {
			return fmt.Errorf("ligne %[1]d, l'en-tête : les colonnes %[2]s (%[3]q) et %[4]s (%[5]q) disent la même chose : gardez-en une | السطر %[1]d، سطر العناوين: العمودان %[2]s (%[3]q) و%[4]s (%[5]q) لهما المعنى نفسه: أبقوا أحدهما",
				l.Header, other.Letter, other.Name, c.Letter, c.Name)
		}
		first[c.Field] = c
	}
	return nil
}

var kindNames = sync.OnceValue(func() map[string]*column {
	names := map[string]*column{}
	for i := range columns {
		for _, name := range columns[i].names {
			names[reference.Fold(name)] = &columns[i]
		}
	}
	return names
})

// kindOf understands a header, nil when it does not. What stands in brackets at
// the end may be part of the name ("Nom (arabe)"), or a hint that is left out
// ("Nom (en majuscules)"), unless it says that somebody else is meant.
func kindOf(header string) *column {
	for header = tidy(header); header != ""; {
		if kind, ok := kindNames()[reference.Fold(header)]; ok {
			return kind
		}
		single := strings.TrimRight(digits(header), " 0123456789")
		if kind, ok := kindNames()[reference.Fold(single)]; ok && kind.many {
			return kind
		}
		open := max(strings.LastIndexAny(header, "([{"), 0)
		for word := range strings.FieldsSeq(reference.Fold(header[open:])) {
			if others[word] {
				return nil
			}
		}
		header = header[:open]
	}
	return nil
}

// letter is what spreadsheets call the column at a place from 0.
func letter(place int) string {
	name, err := excelize.ColumnNumberToName(place + 1)
	if err != nil { // beyond what a spreadsheet can hold
		return fmt.Sprint(place + 1)
	}
	return name
}

// Rows reads the rows after the header, once. An error ends; what is wrong with
// a row is in the row.
func (l *List) Rows() iter.Seq2[CandidateRow, error] {
	return func(yield func(CandidateRow, error) bool) {
		for {
			line, cells, problem, err := l.table.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(CandidateRow{Line: line}, err)
				return
			}
			row := CandidateRow{Line: line}
			if problem != nil {
				row.Problems = []Problem{*problem}
			} else {
				row = l.row(line, cells)
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// row reads the cells of one row.
func (l *List) row(line int, cells []string) CandidateRow {
	row := CandidateRow{Line: line, list: l, cells: cells}
	b := &builder{list: l}
	report := func(c *cell, f *fault) {
		if f != nil {
			row.Problems = append(row.Problems, Problem{
				Line: line, Column: c.column.Name, Letter: c.column.Letter, Value: clip(c.raw),
				Code: f.code, Reason: f.reason, Warning: f.warning,
			})
		}
	}
	met, wrongNeed := map[need]bool{}, map[need]bool{}
	for i, raw := range cells {
		text := tidy(raw)
		if text == "" {
			continue
		}
		if i >= len(l.kinds) {
			c := &cell{column: Column{Letter: letter(i)}, raw: raw}
			f := wrong("cells", "la ligne a %[1]d cellules et l'en-tête %[2]d : un séparateur de trop, ou un séparateur dans un texte sans guillemets | في السطر %[1]d خانات وفي سطر العناوين %[2]d: فاصل زائد، أو فاصل داخل نص دون علامتي تنصيص", len(cells), len(l.kinds))
			f.warning = !l.strict
			if f.warning {
				f.reason = "la cellule est au-delà de la dernière colonne de l'en-tête : elle n'est pas lue | الخانة بعد آخر عمود في سطر العناوين: لم تُقرأ"
			}
			report(c, f)
			break
		}
		kind := l.kinds[i]
		if kind == nil {
			if l.places[i].Name == "" {
				l.headless[i] = true
			}
			continue
		}
		c := &cell{column: l.places[i], raw: raw, text: text}
		if strings.HasPrefix(text, "#") && (strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?") || text == "#N/A") {
			report(c, wrong("formula", "la cellule contient une erreur du tableur | في الخانة خطأ من برنامج الجداول"))
			wrongNeed[kind.need] = true
			continue
		}
		f := kind.read(b, c)
		report(c, f)
		if f == nil || f.warning {
			met[kind.need] = true
		} else {
			wrongNeed[kind.need] = true
		}
	}
	if f := b.finish(); f != nil {
		report(b.experience, f)
	}
	for i, kind := range l.kinds {
		if kind != nil && kind.need != (need{}) && !met[kind.need] && !wrongNeed[kind.need] {
			report(&cell{column: l.places[i]}, wrong("required", "il manque : %s | ينقص: %s", kind.need.fr, kind.need.ar))
			wrongNeed[kind.need] = true // said once
		}
	}
	row.Candidate = b.Candidate
	return row
}
