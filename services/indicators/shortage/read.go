package shortage

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shopspring/decimal"
	"golang.org/x/text/encoding/charmap"

	"masar.local/pkg/reference"
)

// Kind is the form of a file.
type Kind string

// The forms that are read; a file's first line says which it is.
const (
	KindSeries     Kind = "series"      // our plain format
	KindBMO        Kind = "bmo"         // France Travail, Besoins en main-d'œuvre
	KindDARES      Kind = "dares"       // DARES, tensions.csv
	KindDARESYears Kind = "dares_years" // DARES, evol_tensions.csv
	KindPassage    Kind = "passage"     // from one nomenclature to another
)

// Sources that a plain series may not call itself.
const (
	SourceBMO   = "bmo"
	SourceDARES = "dares"
	SourceMasar = "masar" // our own events; never mixed with others unless asked for
)

// Observation is one value. Value is exact, as the source writes it or as the sum
// of what it writes. Rows are those of the source that it is the sum of,
// HiddenRows those that the producer keeps confidential; with Rows 0 nothing is
// known.
type Observation struct {
	Zone       Zone
	Occupation Occupation
	Period     Period
	Measure    Measure
	Value      decimal.Decimal
	Rows       int
	HiddenRows int
}

// Dataset is a file that was read without a fault. A passage has Links and no
// Observations.
type Dataset struct {
	Kind         Kind
	Source       string
	Observations []Observation // by place, occupation, period, measure; each once
	Links        []Link        // by occupations; each once
	Labels       map[Occupation]string
	Rows         int // lines of the file without the header
}

// Name is what the dataset is called unless somebody gives it a name: a later file
// of the same name replaces it.
func (d *Dataset) Name() string {
	if d.Kind == KindPassage {
		return strings.ToLower(fmt.Sprintf("passage-%s-%s", d.Links[0].From.Nomenclature, d.Links[0].To.Nomenclature))
	}
	first, last := d.Periods()
	name := d.Source + "-" + string(first)
	if first != last {
		name += "-" + string(last)
	}
	if d.Kind == KindDARESYears {
		name += "-national"
	}
	return strings.ToLower(name)
}

// Periods are the first and the last period of the observations.
func (d *Dataset) Periods() (first, last Period) {
	for _, o := range d.Observations {
		if first == "" || o.Period < first {
			first = o.Period
		}
		last = max(last, o.Period)
	}
	return first, last
}

// RowError is one thing wrong, or with Warning noteworthy, about a line of a file.
type RowError struct {
	Line     int    `json:"line"` // of the file, the header is 1
	Column   string `json:"column,omitempty"`
	Value    string `json:"value,omitempty"`
	Code     string `json:"code"`
	ReasonFR string `json:"reason_fr"`
	ReasonAR string `json:"reason_ar"`
	Warning  bool   `json:"warning,omitempty"`
}

// Report is what reading a file found.
type Report struct {
	Kind   Kind       `json:"kind"`
	Rows   int        `json:"rows"`   // lines without the header
	Faults int        `json:"faults"` // wrong cells in all; Errors has the first
	Errors []RowError `json:"errors"`
}

// Bounds of a file.
const (
	mostRows   = 2_000_000
	mostErrors = 1000
	mostBytes  = 256 << 20 // once unpacked
	mostLine   = 64 << 10
)

// FileError says why a whole file cannot be read.
type FileError struct{ FR, AR string }

func (e *FileError) Error() string { return e.FR + " | " + e.AR }

var (
	numberForm = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?$`)
	sourceForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{1,31}$`)
)

// reasons by code, in French and Arabic.
var reasons = map[string][2]string{
	"columns":      {"le nombre de cellules n'est pas celui de l'en-tête", "عدد الخانات يختلف عن سطر العناوين"},
	"csv":          {"les guillemets de la ligne ne se lisent pas", "تعذرت قراءة علامات الاقتباس في السطر"},
	"text":         {"caractères illisibles (UTF-8 attendu)", "حروف لا تُقرأ (يُنتظر ترميز UTF-8)"},
	"required":     {"une valeur obligatoire manque", "تنقص قيمة وجوبية"},
	"source":       {"nom de source : lettres minuscules, chiffres, - et _, une lettre d'abord ; bmo, dares et masar sont réservés", "اسم المصدر: حروف لاتينية صغيرة وأرقام و- و_ بداية بحرف؛ bmo وdares وmasar محجوزة"},
	"sources":      {"un fichier a une seule source", "للملف مصدر واحد"},
	"country":      {"le pays n'est pas celui de la zone", "البلد ليس بلد المنطقة"},
	"zone":         {"zone inconnue : TN, TN-71, FR, FR-84 (région) ou FR-D01 (département) attendu", "منطقة غير معروفة: يُنتظر TN أو TN-71 أو FR أو FR-84 (جهة) أو FR-D01 (مقاطعة)"},
	"nomenclature": {"nomenclature inconnue : ROME, FAP2009, FAP2021, ISCO08 ou RTMC attendu", "تصنيف غير معروف: يُنتظر ROME أو FAP2009 أو FAP2021 أو ISCO08 أو RTMC"},
	"occupation":   {"ce n'est pas un code de cette nomenclature", "ليس رمزا في هذا التصنيف"},
	"period":       {"une année (2026) ou un trimestre (2026-Q3) est attendu", "تُنتظر سنة (2026) أو ثلاثي (2026-Q3)"},
	"measure":      {"mesure inconnue", "مقياس غير معروف"},
	"number":       {"un nombre est attendu (ou * si confidentiel)", "يُنتظر عدد (أو * إن كان سريا)"},
	"range":        {"valeur hors des limites admises", "قيمة خارج الحدود المقبولة"},
	"part":         {"une partie dépasse son total", "جزء يفوق مجموعه"},
	"duplicate":    {"déjà donné plus haut dans le fichier", "مذكور سابقا في الملف"},
	"level":        {"niveau géographique inconnu (nat, reg ou dep attendu)", "مستوى جغرافي غير معروف (يُنتظر nat أو reg أو dep)"},
	"class":        {"la classe publiée n'est pas celle de nos bornes", "الصنف المنشور ليس صنف حدودنا"},
	"direct":       {"FAP 2009 et FAP 2021 ne se relient pas directement : passez par ROME", "لا يُربط FAP 2009 بـFAP 2021 مباشرة: مُرّوا عبر ROME"},
	"same":         {"les deux nomenclatures sont la même", "التصنيفان متطابقان"},
	"passages":     {"un fichier de passage relie deux nomenclatures, toujours les mêmes", "ملف التحويل يربط بين تصنيفين اثنين لا غير"},
	"weight":       {"un poids positif est attendu, sur toutes les lignes ou sur aucune", "يُنتظر وزن موجب، في كل الأسطر أو في لا أحد منها"},
}

// Read reads a file of any of the forms, packed with gzip or not. It is strict:
// a dataset is returned only when no cell is wrong; otherwise the report says
// which are, and the dataset is nil. The error is about the whole file: it is of
// no known form, or too large, or cannot be read.
func Read(from io.Reader) (*Dataset, Report, error) {
	buffered := bufio.NewReaderSize(from, mostLine)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, Report{}, notRead(err)
		}
		buffered = bufio.NewReaderSize(&bounded{from: unpacked, left: mostBytes}, mostLine)
	} else {
		buffered = bufio.NewReaderSize(&bounded{from: buffered, left: mostBytes}, mostLine)
	}
	if bom, _ := buffered.Peek(3); bytes.Equal(bom, []byte("\ufeff")) {
		_, _ = buffered.Discard(3)
	}
	head, err := buffered.Peek(mostLine)
	if len(head) == 0 {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, Report{}, notRead(err)
		}
		return nil, Report{}, &FileError{"le fichier est vide", "الملف فارغ"}
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	f := &file{csv: csv.NewReader(buffered), dataset: &Dataset{Labels: map[Occupation]string{}}, at: map[string]int{}}
	f.csv.ReuseRecord = true
	f.csv.FieldsPerRecord = -1
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		f.csv.Comma = ';'
	}
	header, err := f.csv.Read()
	if err != nil {
		return nil, Report{}, notRead(err)
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, twice := f.at[name]; !twice {
			f.at[name] = i
		}
		f.header = append(f.header, name)
	}
	read, kind := f.form()
	if read == nil {
		return nil, Report{}, &FileError{
			"l'en-tête n'est celui d'aucune forme connue (séries : source,country,zone,nomenclature,occupation,period,measure,value ; passage : from_nomenclature,from_code,to_nomenclature,to_code ; BMO ; tensions de la Dares)",
			"سطر العناوين لا يوافق أي شكل معروف (السلاسل: source,country,zone,nomenclature,occupation,period,measure,value؛ التحويل: from_nomenclature,from_code,to_nomenclature,to_code؛ BMO؛ tensions لـDares)",
		}
	}
	f.dataset.Kind, f.report.Kind = kind, kind
	if err := read(f); err != nil {
		return nil, f.report, err
	}
	f.report.Rows = f.dataset.Rows
	if f.report.Errors == nil {
		f.report.Errors = []RowError{}
	}
	if f.report.Faults > 0 {
		return nil, f.report, nil
	}
	d := f.dataset
	if len(d.Observations)+len(d.Links) == 0 {
		return nil, f.report, &FileError{"le fichier n'a aucune valeur", "لا قيمة في الملف"}
	}
	slices.SortFunc(d.Observations, func(a, b Observation) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), compareOccupations(a.Occupation, b.Occupation), cmp.Compare(a.Period, b.Period), cmp.Compare(a.Measure, b.Measure))
	})
	slices.SortFunc(d.Links, func(a, b Link) int {
		return cmp.Or(compareOccupations(a.From, b.From), compareOccupations(a.To, b.To))
	})
	return d, f.report, nil
}

func compareOccupations(a, b Occupation) int {
	return cmp.Or(cmp.Compare(a.Nomenclature, b.Nomenclature), cmp.Compare(a.Code, b.Code))
}

func notRead(err error) error {
	var ours *FileError
	if errors.As(err, &ours) {
		return ours
	}
	return &FileError{"le fichier ne se lit pas : " + err.Error(), "تعذرت قراءة الملف: " + err.Error()}
}

// bounded fails when more is read than it has left.
type bounded struct {
	from io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &FileError{
			fmt.Sprintf("le fichier est trop grand : plus de %d Mio", mostBytes>>20),
			fmt.Sprintf("الملف كبير جدا: أكثر من %d ميبيبايت", mostBytes>>20),
		}
	}
	return n, err
}

// file is a file being read.
type file struct {
	csv     *csv.Reader
	header  []string
	at      map[string]int
	cells   []string
	line    int
	dataset *Dataset
	lines   []int // of the observations of a plain series
	report  Report
}

func (f *file) has(names ...string) bool {
	for _, name := range names {
		if _, ok := f.at[name]; !ok {
			return false
		}
	}
	return true
}

func (f *file) form() (func(*file) error, Kind) {
	switch {
	case f.has("source", "country", "zone", "nomenclature", "occupation", "period", "measure", "value"):
		return readSeries, KindSeries
	case f.has("from_nomenclature", "from_code", "to_nomenclature", "to_code"):
		return readPassage, KindPassage
	case f.has("annee", "Code métier BMO", "Nom métier BMO", "REG", "Dept", "BE25", "met", "xmet", "smet"):
		return readBMO, KindBMO
	case f.has("fap", "Emploi moyen", "Tension", "Catégorie Tension", "Année", "niveau_geo", "niveau_fap", "reg", "dep"):
		return readDARES, KindDARES
	case f.has("fap", "Tension", "Année"):
		return readDARESYears, KindDARESYears
	case f.has("Fap", "Rome"):
		return readFAP2009, KindPassage
	case f.has("ROME", "Qualif", "FAP341"):
		return readFAP2021, KindPassage
	}
	return nil, ""
}

// next reads a line of the right width; lines that are not are reported. False at
// the end.
func (f *file) next() (bool, error) {
	for {
		cells, err := f.csv.Read()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		f.dataset.Rows++
		if f.dataset.Rows > mostRows {
			return false, &FileError{fmt.Sprintf("le fichier a plus de %d lignes", mostRows), fmt.Sprintf("في الملف أكثر من %d سطر", mostRows)}
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			f.line = broken.StartLine
			f.fault("", "", "csv")
			continue
		}
		if err != nil {
			return false, notRead(err)
		}
		f.line, _ = f.csv.FieldPos(0)
		if len(cells) != len(f.header) {
			f.fault("", strconv.Itoa(len(cells)), "columns")
			continue
		}
		if !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" }) {
			continue // spreadsheets leave such lines at the end
		}
		f.cells = cells
		return true, nil
	}
}

// cell is a cell without the spaces around it, "" when there is no such column.
func (f *file) cell(name string) string {
	i, ok := f.at[name]
	if !ok {
		return ""
	}
	text := strings.TrimSpace(f.cells[i])
	if !utf8.ValidString(text) {
		if f.dataset.Kind != KindPassage {
			f.fault(name, strings.ToValidUTF8(text, "?"), "text")
			return ""
		}
		// The passages are published in the Western code page of Windows, which
		// their documentation calls ISO-8859-1.
		if decoded, err := charmap.Windows1252.NewDecoder().String(text); err == nil {
			text = decoded
		}
	}
	return text
}

func (f *file) fault(column, value, code string) {
	f.report.Faults++
	f.note(column, value, code, false)
}

func (f *file) note(column, value, code string, warning bool) {
	if len(f.report.Errors) < mostErrors {
		r := reasons[code]
		f.report.Errors = append(f.report.Errors, RowError{f.line, column, clip(value), code, r[0], r[1], warning})
	}
}

// year reads the year of a cell.
func (f *file) year(column string) (Period, bool) {
	text := f.cell(column)
	p, err := ParsePeriod(text)
	if err != nil || p.Quarterly() {
		f.fault(column, text, "period")
		return "", false
	}
	return p, true
}

func (f *file) occupation(n Nomenclature, column string) (Occupation, bool) {
	text := f.cell(column)
	o, err := ParseOccupation(n, text)
	if err != nil {
		f.fault(column, text, "occupation")
		return o, false
	}
	return o, true
}

// label keeps the first name that is given for an occupation.
func (f *file) label(o Occupation, text string) {
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200])
	}
	if _, known := f.dataset.Labels[o]; !known && text != "" {
		f.dataset.Labels[owned(o)] = strings.Clone(text)
	}
}

// owned is the occupation with a code of its own: cells are parts of a line
// that would be kept with them.
func owned(o Occupation) Occupation {
	o.Code = strings.Clone(o.Code)
	return o
}

type key struct {
	zone       Zone
	occupation Occupation
	period     Period
	measure    Measure
}

// readSeries reads the plain format: a header and then one value a line,
// separated by commas or semicolons, in UTF-8.
//
//	source        who publishes it, such as aneti; one for the file
//	country       TN, FR, ...
//	zone          TN, TN-71, FR, FR-84 (région), FR-D01 (département)
//	nomenclature  ROME, FAP2009, FAP2021, ISCO08, RTMC
//	occupation    a code of it
//	period        2026 or 2026-Q3
//	measure       one of SeriesMeasures
//	value         a number with a decimal point (a comma, between semicolons), or *
//	              for what the producer keeps confidential
//	label         optional: the occupation's name
func readSeries(f *file) error {
	seen := map[key]int{}
	for {
		more, err := f.next()
		if !more {
			f.consistent(seen)
			return err
		}
		before := f.report.Faults
		source := f.cell("source")
		switch {
		case !sourceForm.MatchString(source) || slices.Contains([]string{SourceBMO, SourceDARES, SourceMasar}, source):
			f.fault("source", source, "source")
		case f.dataset.Source == "":
			f.dataset.Source = strings.Clone(source)
		case f.dataset.Source != source:
			f.fault("source", source, "sources")
		}
		zone, err := ParseZone(f.cell("zone"))
		if err != nil {
			f.fault("zone", f.cell("zone"), "zone")
		} else if country := f.cell("country"); string(zone.Country()) != country {
			f.fault("country", country, "country")
		}
		occupation, err := ParseOccupation(Nomenclature(f.cell("nomenclature")), f.cell("occupation"))
		if errors.Is(err, errNomenclature) {
			f.fault("nomenclature", f.cell("nomenclature"), "nomenclature")
		} else if err != nil {
			f.fault("occupation", f.cell("occupation"), "occupation")
		}
		period, err := ParsePeriod(f.cell("period"))
		if err != nil {
			f.fault("period", f.cell("period"), "period")
		}
		measure := Measure(f.cell("measure"))
		if !slices.Contains(SeriesMeasures, measure) {
			f.fault("measure", string(measure), "measure")
		}
		o := Observation{Zone: Zone(strings.Clone(string(zone))), Occupation: owned(occupation), Period: Period(strings.Clone(string(period))), Measure: measureOf(measure)}
		switch text := f.cell("value"); text {
		case "":
			f.fault("value", "", "required")
		case "*":
			o.HiddenRows = 1
		default:
			if f.csv.Comma == ';' {
				text = strings.Replace(text, ",", ".", 1)
			}
			v, err := number(text)
			switch {
			case err != nil:
				f.fault("value", text, "number")
			case v.IsNegative() && measure != Conditions && measure != TrainingLink:
				f.fault("value", text, "range")
			}
			o.Value, o.Rows = v, 1
		}
		k := key{o.Zone, o.Occupation, o.Period, o.Measure}
		if _, twice := seen[k]; twice && before == f.report.Faults {
			f.fault("value", f.cell("value"), "duplicate")
		}
		f.label(occupation, f.cell("label"))
		if before == f.report.Faults {
			f.dataset.Observations, f.lines = append(f.dataset.Observations, o), append(f.lines, f.line)
			seen[k] = len(f.dataset.Observations) - 1
		}
	}
}

// measureOf is the measure as a constant, not as a part of a line.
func measureOf(m Measure) Measure {
	if i := slices.Index(SeriesMeasures, m); i >= 0 {
		return SeriesMeasures[i]
	}
	return ""
}

// consistent checks that no part is larger than its whole.
func (f *file) consistent(seen map[key]int) {
	wholes := map[Measure]Measure{Difficult: Projects, Seasonal: Projects, Durable: Offers, FullTime: Offers}
	for n, o := range f.dataset.Observations {
		whole, ok := wholes[o.Measure]
		if !ok || o.Rows == 0 {
			continue
		}
		i, ok := seen[key{o.Zone, o.Occupation, o.Period, whole}]
		if ok && f.dataset.Observations[i].Rows > 0 && o.Value.GreaterThan(f.dataset.Observations[i].Value) {
			f.line = f.lines[n]
			f.fault("value", fmt.Sprintf("%s > %s (%s, ligne %d)", o.Value, f.dataset.Observations[i].Value, whole, f.lines[i]), "part")
		}
	}
}

// bmoSum adds up the basins of a place.
type bmoSum struct {
	met, xmet, smet                   int64
	xhole, shole                      int64 // projects of which the difficult, the seasonal are hidden
	rows, hidden, xrows, xhid, sr, sh int
}

// readBMO reads the survey as it is published: one line for an occupation (FAP
// 2021) in a basin of employment, met, xmet and smet for all, difficult and
// seasonal projects, * for what is confidential. Basins are added up by
// département (a basin may lie in several), région and country. Hidden numbers
// count for nothing in the sums; how many rows they are, and how many projects
// they concern, is kept.
func readBMO(f *file) error {
	f.dataset.Source = SourceBMO
	type place struct {
		zone       Zone
		occupation Occupation
		year       Period
	}
	sums := map[place]*bmoSum{}
	type basin struct {
		occupation Occupation
		department string
		basin      string
		year       Period
	}
	seen := map[basin]bool{}
	for {
		more, err := f.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		before := f.report.Faults
		year, _ := f.year("annee")
		occupation, _ := f.occupation(FAP2021, "Code métier BMO")
		department, ok := reference.FindDepartement(f.cell("Dept"))
		if !ok {
			f.fault("Dept", f.cell("Dept"), "zone")
		} else if department.Region != f.cell("REG") {
			f.fault("REG", f.cell("REG"), "zone")
		}
		met, metKnown := f.projects("met")
		xmet, xmetKnown := f.projects("xmet")
		smet, smetKnown := f.projects("smet")
		for _, part := range []struct {
			column string
			n      int64
			known  bool
		}{{"xmet", xmet, xmetKnown}, {"smet", smet, smetKnown}} {
			if part.known && metKnown && part.n > met {
				f.fault(part.column, strconv.FormatInt(part.n, 10), "part")
			}
		}
		b := basin{occupation, department.Code, f.cell("BE25"), year}
		if before == f.report.Faults && seen[b] {
			f.fault("BE25", b.basin, "duplicate")
		}
		if before != f.report.Faults {
			continue
		}
		b.occupation, b.basin, b.year = owned(b.occupation), strings.Clone(b.basin), Period(strings.Clone(string(year)))
		seen[b] = true
		f.label(occupation, f.cell("Nom métier BMO"))
		for _, zone := range []Zone{"FR", Zone("FR-" + department.Region), Zone("FR-D" + department.Code)} {
			p := place{zone, b.occupation, b.year}
			s := sums[p]
			if s == nil {
				s = &bmoSum{}
				sums[p] = s
			}
			add(metKnown, met, &s.met, &s.rows, &s.hidden)
			add(xmetKnown, xmet, &s.xmet, &s.xrows, &s.xhid)
			add(smetKnown, smet, &s.smet, &s.sr, &s.sh)
			if metKnown && !xmetKnown {
				s.xhole += met
			}
			if metKnown && !smetKnown {
				s.shole += met
			}
		}
	}
	for p, s := range sums {
		for _, m := range []struct {
			measure      Measure
			value        int64
			rows, hidden int
		}{
			{Projects, s.met, s.rows, s.hidden},
			// Where projects are known, a hidden part of them is a known small one.
			{Difficult, s.xmet, max(s.xrows, s.rows), s.xhid},
			{Seasonal, s.smet, max(s.sr, s.rows), s.sh},
			{DifficultHole, s.xhole, s.rows, 0},
			{SeasonalHole, s.shole, s.rows, 0},
		} {
			f.dataset.Observations = append(f.dataset.Observations, Observation{p.zone, p.occupation, p.year, m.measure, decimal.NewFromInt(m.value), m.rows, m.hidden})
		}
	}
	return nil
}

func add(known bool, n int64, sum *int64, rows, hidden *int) {
	if known {
		*sum += n
		*rows++
	} else {
		*hidden++
	}
}

// projects reads a count of the survey; false when it is confidential or wrong.
func (f *file) projects(column string) (int64, bool) {
	text := f.cell(column)
	if text == "*" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f.fault(column, text, "number")
		return 0, false
	}
	if n < 0 || n > 1e9 {
		f.fault(column, text, "range")
		return 0, false
	}
	return n, true
}

// readDARES reads tensions.csv as it is published: the index, the class and the
// levels of the six complementary indicators of an occupation (FAP 2009, in two
// degrees of detail) in the country, a région or a département. Its traps: a
// level is written "reg " in places, codes of régions "1.0", and an index is
// missing here and there. A published class that is not that of FrenchCuts is
// noted, and kept as it is published.
func readDARES(f *file) error {
	f.dataset.Source = SourceDARES
	columns := []struct {
		name    string
		measure Measure
	}{
		{"Intensité d'embauches", LevelIntensity},
		{"Conditions de travail contraignantes", LevelConditions},
		{"Non-durabilité de l'emploi", LevelNonDurable},
		{"Manque de main-d'œuvre disponible", LevelWorkforce},
		{"Lien formation-emploi", LevelTraining},
		{"Inadéquation géographique", LevelGeography},
	}
	seen := map[key]bool{}
	for {
		more, err := f.next()
		if !more {
			return err
		}
		before := f.report.Faults
		year, _ := f.year("Année")
		occupation, _ := f.occupation(FAP2009, "fap")
		zone := f.zone()
		if before != f.report.Faults {
			continue
		}
		o := Observation{Zone: zone, Occupation: owned(occupation), Period: Period(strings.Clone(string(year))), Rows: 1}
		k := key{o.Zone, o.Occupation, o.Period, ""}
		if seen[k] {
			f.fault("fap", occupation.Code, "duplicate")
			continue
		}
		seen[k] = true
		keep := func(m Measure, v decimal.Decimal) {
			o.Measure, o.Value = m, v
			f.dataset.Observations = append(f.dataset.Observations, o)
		}
		index, hasIndex := f.decimal("Tension")
		if hasIndex {
			keep(Index, index)
		}
		if class, ok := f.scale("Catégorie Tension"); ok {
			keep(Class, decimal.NewFromInt(int64(class)))
			if hasIndex && FrenchClass(index) != class {
				f.note("Catégorie Tension", strconv.Itoa(class), "class", true)
			}
		}
		if employment, ok := f.decimal("Emploi moyen"); ok {
			if employment.IsNegative() {
				f.fault("Emploi moyen", employment.String(), "range")
			}
			keep(Employment, employment)
		}
		for _, c := range columns {
			if level, ok := f.scale(c.name); ok {
				keep(c.measure, decimal.NewFromInt(int64(level)))
			}
		}
	}
}

// zone reads where a line of tensions.csv is about.
func (f *file) zone() Zone {
	level := f.cell("niveau_geo")
	var text, column string
	switch level {
	case "nat":
		return "FR"
	case "reg":
		column = "reg"
		code, _ := strings.CutSuffix(f.cell(column), ".0")
		if len(code) == 1 {
			code = "0" + code
		}
		text = "FR-" + code
	case "dep":
		column = "dep"
		text = "FR-D" + f.cell(column)
	default:
		f.fault("niveau_geo", level, "level")
		return ""
	}
	zone, err := ParseZone(text)
	if err != nil {
		f.fault(column, f.cell(column), "zone")
	}
	return Zone(strings.Clone(string(zone)))
}

// decimal reads a number; false when there is none, or it is wrong.
func (f *file) decimal(column string) (decimal.Decimal, bool) {
	text := f.cell(column)
	if text == "" {
		return decimal.Decimal{}, false
	}
	v, err := number(text)
	if err != nil {
		f.fault(column, text, "number")
		return v, false
	}
	return v, true
}

// scale reads a class from 1 to 5, written "1" or "1.0".
func (f *file) scale(column string) (int, bool) {
	text := f.cell(column)
	if text == "" {
		return 0, false
	}
	digit, _ := strings.CutSuffix(text, ".0")
	if len(digit) != 1 || digit < "1" || digit > "5" {
		f.fault(column, text, "range")
		return 0, false
	}
	return int(digit[0] - '0'), true
}

// readDARESYears reads evol_tensions.csv: the index in the country, year by year.
func readDARESYears(f *file) error {
	f.dataset.Source = SourceDARES
	seen := map[key]bool{}
	for {
		more, err := f.next()
		if !more {
			return err
		}
		before := f.report.Faults
		year, _ := f.year("Année")
		occupation, _ := f.occupation(FAP2009, "fap")
		index, ok := f.decimal("Tension")
		k := key{"FR", owned(occupation), Period(strings.Clone(string(year))), Index}
		if before == f.report.Faults && seen[k] {
			f.fault("fap", occupation.Code, "duplicate")
		}
		if before == f.report.Faults && ok {
			seen[k] = true
			f.dataset.Observations = append(f.dataset.Observations, Observation{k.zone, k.occupation, k.period, Index, index, 1, 0})
		}
	}
}
