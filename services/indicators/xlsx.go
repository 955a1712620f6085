package indicators

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// Figures as workbooks for people who meet over them: French, or Arabic from right
// to left, ready to print on A4. Rows are written one by one, so that a long table
// is never whole in memory. Texts are written as texts; no cell is a formula.

// Marks in place of a number.
const (
	hiddenMark = "•" // suppressed
	noneMark   = "–" // there is none: a median or a share of nothing
)

// mostColumns is the largest number of periods beside each other.
const mostColumns = 400

// WorkbookQuery asks for a workbook of indicators.
type WorkbookQuery struct {
	// Period that it is about, by its name: 2026-03, 2026-Q1, 2026-S1, 2026,
	// 2025/2026, or all (default).
	Period string   `query:"period"`
	Grain  Grain    `query:"grain"` // of the columns; "": month, or day where the period is one
	Code   []string `query:"code"`  // none: every indicator
	AsOf   string   `query:"as_of"`
	Lang   string   `query:"lang"` // "fr" (default) or "ar"
}

// Validate checks the language.
func (q *WorkbookQuery) Validate() (err error) {
	q.Lang, err = workbookLang(q.Lang)
	return err
}

// book is a workbook being written.
type book struct {
	f      *excelize.File
	lang   string
	names  map[string]bool // of sheets, in small letters
	style  bookStyles
	broken error // the first error; what follows writes nothing
}

// bookStyles are the numbers of the cell styles.
type bookStyles struct {
	title, note, head, text, wrap, arabic, whole, decimal, share, mark, total, link int
}

// newBook makes an empty workbook.
func newBook(lang string) *book {
	b := &book{f: excelize.NewFile(), lang: lang, names: map[string]bool{}}
	const ink, pale, line = "1F3864", "DCE6F1", "BFBFBF"
	border := []excelize.Border{{Type: "bottom", Color: line, Style: 1}}
	top := &excelize.Alignment{Vertical: "top"}
	if b.rtl() {
		top.ReadingOrder = 2
	}
	format := func(s excelize.Style) int {
		if s.Alignment == nil {
			s.Alignment = top
		}
		if s.Font == nil {
			s.Font = &excelize.Font{}
		}
		s.Font.Family = "Calibri" // has Latin and Arabic letters
		if s.Font.Size == 0 {
			s.Font.Size = 10
		}
		n, err := b.f.NewStyle(&s)
		b.check(err)
		return n
	}
	wrap := *top
	wrap.WrapText = true
	number := func(code string) int {
		return format(excelize.Style{CustomNumFmt: &code, Border: border})
	}
	b.style = bookStyles{
		title: format(excelize.Style{Font: &excelize.Font{Bold: true, Size: 14, Color: ink}}),
		note:  format(excelize.Style{Font: &excelize.Font{Italic: true, Color: "595959"}}),
		head: format(excelize.Style{
			Font: &excelize.Font{Bold: true, Color: "FFFFFF"}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{ink}},
			Alignment: &excelize.Alignment{Vertical: "center", Horizontal: "center", WrapText: true, ReadingOrder: wrap.ReadingOrder},
		}),
		text:    format(excelize.Style{Border: border, Alignment: &excelize.Alignment{Vertical: "top", Indent: 1, ReadingOrder: top.ReadingOrder}}),
		wrap:    format(excelize.Style{Border: border, Alignment: &wrap}),
		arabic:  format(excelize.Style{Border: border, Alignment: &excelize.Alignment{Vertical: "top", Horizontal: "right", ReadingOrder: 2, WrapText: true}}),
		whole:   number("#,##0"),
		decimal: number("#,##0.00"),
		share:   number("0.0%"),
		mark:    format(excelize.Style{Border: border, Font: &excelize.Font{Color: "7F7F7F"}, Alignment: &excelize.Alignment{Vertical: "top", Horizontal: "right"}}),
		total:   format(excelize.Style{Border: border, Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{pale}}}),
		link:    format(excelize.Style{Border: border, Font: &excelize.Font{Color: "0563C1", Underline: "single"}, Alignment: &wrap}),
	}
	return b
}

func (b *book) rtl() bool { return b.lang == "ar" }

// say gives the text in the book's language.
func (b *book) say(fr, ar string) string {
	if b.rtl() {
		return ar
	}
	return fr
}

func (b *book) check(err error) {
	if b.broken == nil {
		b.broken = err
	}
}

// sheet is one sheet being written, row by row.
type sheet struct {
	b      *book
	widths []float64
	w      *excelize.StreamWriter
	row    int
}

// sheetName makes a name that Excel takes (31 characters, without some signs) and
// that no other sheet has.
func (b *book) sheetName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`[]:*?/\'`, r) {
			return ' '
		}
		return r
	}, name)
	runes := []rune(strings.TrimSpace(name))
	for n := 1; ; n++ {
		tail := ""
		if n > 1 {
			tail = fmt.Sprintf(" %d", n)
		}
		out := strings.TrimSpace(string(runes[:min(len(runes), 31-len(tail))])) + tail
		if key := strings.ToLower(out); !b.names[key] {
			b.names[key] = true
			return out
		}
	}
}

// sheet begins a sheet with columns of these widths. The rows down to head stay
// where they are when one scrolls, with the first fixed columns, and are repeated on
// every printed page.
func (b *book) sheet(name string, head, fixed int, widths ...float64) *sheet {
	s := &sheet{b: b, widths: widths}
	if b.broken != nil {
		return s
	}
	if len(b.f.GetSheetList()) == 1 && b.f.GetSheetName(0) == "Sheet1" {
		b.check(b.f.SetSheetName("Sheet1", name))
	} else {
		_, err := b.f.NewSheet(name)
		b.check(err)
	}
	yes, grid, a4, landscape, one, many := true, false, 9, "landscape", 1, 0
	rtl := b.rtl()
	b.check(b.f.SetSheetView(name, -1, &excelize.ViewOptions{RightToLeft: &rtl, ShowGridLines: &grid}))
	b.check(b.f.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &yes}))
	b.check(b.f.SetPageLayout(name, &excelize.PageLayoutOptions{Size: &a4, Orientation: &landscape, FitToWidth: &one, FitToHeight: &many}))
	margin, edge := 0.4, 0.6
	b.check(b.f.SetPageMargins(name, &excelize.PageLayoutMarginsOptions{Left: &margin, Right: &margin, Top: &edge, Bottom: &edge}))
	b.check(b.f.SetHeaderFooter(name, &excelize.HeaderFooterOptions{OddFooter: "&L&8Masar&C&8&A&R&8" + b.say("Page &P sur &N", "صفحة &P من &N")}))
	if head > 0 {
		quoted := "'" + name + "'"
		b.check(b.f.SetDefinedName(&excelize.DefinedName{
			Name: "_xlnm.Print_Titles", RefersTo: fmt.Sprintf("%s!$1:$%d", quoted, head), Scope: name,
		}))
	}
	if b.broken != nil {
		return s
	}
	var err error
	s.w, err = b.f.NewStreamWriter(name)
	b.check(err)
	for i, width := range widths {
		b.check(s.w.SetColWidth(i+1, i+1, width))
	}
	if head > 0 {
		corner, err := excelize.CoordinatesToCellName(fixed+1, head+1)
		b.check(err)
		pane := "bottomLeft"
		if fixed > 0 {
			pane = "bottomRight"
		}
		b.check(s.w.SetPanes(&excelize.Panes{Freeze: true, XSplit: fixed, YSplit: head, TopLeftCell: corner, ActivePane: pane}))
	}
	return s
}

// styled is a value in a style.
func styled(style int, value any) excelize.Cell { return excelize.Cell{StyleID: style, Value: value} }

// put writes the next row, high enough for its wrapped texts: programs do not work
// that out when they open a file.
func (s *sheet) put(cells ...any) {
	lines := 1
	for i, c := range cells {
		c, ok := c.(excelize.Cell)
		text, isText := c.Value.(string)
		if !ok || !isText || c.StyleID != s.b.style.wrap && c.StyleID != s.b.style.arabic {
			continue
		}
		n := 0
		for part := range strings.SplitSeq(text, "\n") {
			n += 1 + int(float64(utf8.RuneCountInString(part))*1.15/s.widths[i])
		}
		lines = max(lines, n)
	}
	s.row++
	if s.b.broken != nil {
		return
	}
	var options []excelize.RowOpts
	if lines > 1 {
		options = append(options, excelize.RowOpts{Height: min(13.5*float64(lines), 400)})
	}
	s.b.check(s.w.SetRow(fmt.Sprintf("A%d", s.row), cells, options...))
}

// titles writes the first lines of a sheet: its title, then notes.
func (s *sheet) titles(title string, notes ...string) {
	s.row++
	if s.b.broken == nil {
		s.b.check(s.w.SetRow(fmt.Sprintf("A%d", s.row), []any{styled(s.b.style.title, title)}, excelize.RowOpts{Height: 22}))
	}
	for _, n := range notes {
		s.put(styled(s.b.style.note, n))
	}
}

// heads writes the row of column heads.
func (s *sheet) heads(texts ...string) {
	var cells []any
	for _, t := range texts {
		cells = append(cells, styled(s.b.style.head, t))
	}
	s.row++
	if s.b.broken == nil {
		s.b.check(s.w.SetRow(fmt.Sprintf("A%d", s.row), cells, excelize.RowOpts{Height: 32}))
	}
}

// end finishes the sheet.
func (s *sheet) end() {
	if s.b.broken == nil {
		s.b.check(s.w.Flush())
	}
}

// write writes the workbook and forgets it.
func (b *book) write(w io.Writer) error {
	defer b.f.Close()
	b.check(b.f.SetDocProps(&excelize.DocProperties{Creator: "Masar", Title: b.say("Indicateurs", "المؤشرات"), Language: b.lang}))
	if b.broken != nil {
		return fmt.Errorf("the workbook: %w", b.broken)
	}
	b.f.SetActiveSheet(0)
	return b.f.Write(w)
}

// figure is a row's value as a cell: a number in the format of its measure and
// unit, or a mark.
func (b *book) figure(measure Measure, unit string, r Row, there bool) excelize.Cell {
	switch {
	case r.Suppressed:
		return styled(b.style.mark, hiddenMark)
	case r.Value != nil:
		return styled(b.numberStyle(measure, unit), *r.Value)
	case !there && measure != MedianDays && measure != Ratio:
		return styled(b.style.whole, 0) // what has no row is 0
	}
	return styled(b.style.mark, noneMark)
}

func (b *book) numberStyle(measure Measure, unit string) int {
	switch {
	case measure == Ratio && unit == "share":
		return b.style.share
	case measure == Ratio || measure == MedianDays:
		return b.style.decimal
	}
	return b.style.whole
}

// amount is a number of a row, which may be absent.
func (b *book) amount(style int, r Row, v *float64) excelize.Cell {
	if r.Suppressed {
		return styled(b.style.mark, hiddenMark)
	}
	if v == nil {
		return styled(b.style.mark, noneMark)
	}
	return styled(style, *v)
}

// stampText writes an instant as local time.
func stampText(t time.Time) string {
	if t.IsZero() {
		return noneMark
	}
	return t.In(tunis).Format("2006-01-02 15:04")
}

// measureNames say what is done with the facts.
var measureNames = map[Measure]Label{
	DistinctPeople:    {"Personnes différentes", "أشخاص مختلفون", "Different people"},
	DistinctEmployers: {"Employeurs différents", "مشغّلون مختلفون", "Different employers"},
	Count:             {"Nombre", "عدد", "Count"},
	Sum:               {"Somme", "مجموع", "Sum"},
	Ratio:             {"Rapport (numérateur ÷ dénominateur)", "نسبة (البسط ÷ المقام)", "Ratio"},
	MedianDays:        {"Durée médiane et 90e centile", "المدة الوسيطة والمئين التسعون", "Median duration"},
	Stock:             {"Stock en fin de période", "المخزون في نهاية الفترة", "Stock"},
}

// grainNames name the frequencies.
var grainNames = map[Grain]Label{
	"day": {"jour", "يوم", "day"}, "month": {"mois", "شهر", "month"}, "quarter": {"trimestre", "ثلاثي", "quarter"},
	"half_year": {"semestre", "سداسي", "half-year"}, "year": {"année", "سنة", "year"}, "season": {"saison", "موسم", "season"},
	"all": {"depuis le début", "منذ البداية", "since the start"},
}

// dimensionName is what a dimension is called in the book's language.
func (b *book) dimensionName(dims []Dimension, code string) string {
	for _, d := range dims {
		if d.Code == code {
			return Label{d.LabelFR, d.LabelAR, d.LabelEN}.in(b.lang)
		}
	}
	return code
}

// label is the indicator's name in the book's language.
func (b *book) label(d *Definition) string { return b.say(d.LabelFR, d.LabelAR) }

// target is a definition's target as a cell, or why there is none.
func (b *book) target(d *Definition) excelize.Cell {
	if d.Target == nil {
		return styled(b.style.mark, b.status(d.TargetStatus))
	}
	return styled(b.numberStyle(d.Measure, d.Unit), d.Target.Value)
}

// status says in the book's language why there is no target.
func (b *book) status(text string) string {
	if text == "à configurer" {
		return b.say(text, "يُحدد لاحقا")
	}
	return text
}

// resultOrder puts the overall objective first, then the specific one, then the
// results by number.
func resultOrder(a, b *Definition) int {
	rank := func(d *Definition) string {
		switch d.Result {
		case "OG":
			return "0"
		case "OS":
			return "1"
		}
		return "2" + d.Result
	}
	return strings.Compare(rank(a), rank(b))
}

// definitionsSheet says what each indicator counts.
func (b *book) definitionsSheet(defs []*Definition, dims []Dimension) {
	s := b.sheet(b.sheetName(b.say("Définitions", "التعريفات")), 3, 2, 19, 27, 24, 48, 9, 17, 25, 25, 8, 19, 11, 9, 10, 20, 13)
	s.titles(b.say("Définitions des indicateurs", "تعريفات المؤشرات"),
		b.say("La version change avec la définition ; les valeurs d'une version ne sont pas comparables à celles d'une autre sans précaution.", "تتغير النسخة مع التعريف، ولا تُقارن قيم نسخة بقيم أخرى دون حذر."))
	s.heads(b.say("Code", "الرمز"), "Indicateur", "المؤشر", b.say("Ce qui est compté", "ما يُحتسب"), b.say("Résultat", "النتيجة"),
		b.say("Unité et mesure", "الوحدة والقياس"), b.say("Découpages", "التصنيفات"), b.say("Source", "المصدر"), b.say("Version", "النسخة"), b.say("Responsable", "المسؤول"),
		b.say("Fréquence", "التواتر"), b.say("Départ", "المرجع"), b.say("Cible", "القيمة المستهدفة"), b.say("État et source de la cible", "حالة القيمة المستهدفة ومصدرها"), b.say("GERF, ODD", "GERF وأهداف التنمية"))
	for _, d := range defs {
		var cuts []string
		for _, name := range d.Dimensions {
			cuts = append(cuts, b.dimensionName(dims, name))
		}
		target := b.status(d.TargetStatus)
		if d.Target != nil {
			target = d.Target.Source
		}
		for _, m := range d.Milestones {
			target += fmt.Sprintf("\n%s : %s (%s)", m.Date, number(&m.Value), m.Source)
		}
		baseline := styled(b.style.mark, noneMark)
		if d.Baseline != nil {
			baseline = styled(b.numberStyle(d.Measure, d.Unit), d.Baseline.Value)
		}
		meaning := styled(b.style.wrap, d.MeaningFR)
		if b.rtl() {
			meaning = styled(b.style.arabic, d.MeaningAR)
		}
		text := func(t string) excelize.Cell { return styled(b.style.wrap, t) }
		s.put(text(d.Code), text(d.LabelFR), styled(b.style.arabic, d.LabelAR), meaning, text(d.Result),
			text(unitLabel(d.Unit).in(b.lang)+"\n"+measureNames[d.Measure].in(b.lang)), text(strings.Join(cuts, ", ")), text(d.Source),
			styled(b.style.whole, d.Version), text(d.Owner), text(grainNames[d.Frequency].in(b.lang)), baseline, b.target(d), text(target),
			text(strings.TrimSpace(d.GERF+"\n"+d.SDG)))
	}
	s.end()
}

// readingNotes is what the sheet 'Lecture' says.
type readingNotes struct {
	what      string // which figures these are, in the book's language
	asOf      time.Time
	small     int // people below which cells are hidden; 0: nothing is
	scope     map[string][]string
	sources   []SourceCount
	seasons   string
	recompute string // the address that gives the same figures
}

// readingSheet says how the figures are to be read.
func (b *book) readingSheet(r readingNotes) {
	s := b.sheet(b.sheetName(b.say("Lecture", "دليل القراءة")), 1, 0, 34, 120)
	s.titles(b.say("Comment lire ce classeur", "كيف يُقرأ هذا المصنف"))
	line := func(head, text string) {
		s.put(styled(b.style.total, head), styled(b.style.wrap, text))
	}
	line(b.say("Contenu", "المحتوى"), r.what)
	asOf := b.say("Tout ce qui était connu au moment de l'édition.", "كل ما كان معلوما عند الإصدار.")
	if !r.asOf.IsZero() {
		asOf = b.say("Les données telles qu'elles étaient connues le ", "المعطيات كما كانت معلومة في ") + stampText(r.asOf) + "."
	}
	line(b.say("État des connaissances", "حالة المعلومات"), asOf)
	for _, c := range r.sources {
		line(b.say("Fraîcheur : ", "حداثة المعطيات: ")+c.Topic, fmt.Sprintf(b.say("%d faits ; dernier enregistré le %s ; dernier survenu le %s.", "%d واقعة؛ آخر تسجيل %s؛ آخر حدوث %s."),
			c.Facts, stampText(c.LastRecorded), stampText(c.LastOccurred)))
	}
	see := b.say("Toutes les données du programme.", "كل معطيات البرنامج.")
	if len(r.scope) > 0 {
		var parts []string
		for _, name := range []string{"governorate", "scheme"} {
			for _, code := range r.scope[name] {
				parts = append(parts, codeLabel(name, code).in(b.lang))
			}
		}
		see = b.say("Seulement votre périmètre : ", "نطاقكم فقط: ") + strings.Join(parts, ", ") + b.say(". Les indicateurs qui ne se découpent pas ainsi sont entiers.", ". المؤشرات التي لا تُصنف هكذا كاملة.")
	}
	line(b.say("Ce que vous voyez", "ما ترونه"), see)
	small := b.say("Rien n'est masqué pour votre rôle : ne diffusez pas les petits effectifs.", "لا يُحجب شيء عن دوركم: لا تنشروا الأعداد الصغيرة.")
	if r.small > 0 {
		small = fmt.Sprintf(b.say("%s remplace une valeur qui concerne moins de %d personnes, ou qui permettrait d'en déduire une. Les totaux restent visibles.", "تعوّض %s قيمة تخص أقل من %d أشخاص، أو قيمة تسمح باستنتاجها. وتبقى المجاميع ظاهرة."), hiddenMark, r.small)
	}
	line(b.say("Petits effectifs", "الأعداد الصغيرة"), small)
	line(noneMark, b.say("Il n'y a pas de valeur : médiane ou rapport sans aucun cas.", "لا توجد قيمة: وسيط أو نسبة دون أي حالة."))
	line(b.say("Jours et périodes", "الأيام والفترات"), b.say("Un fait compte le jour où il est survenu, à l'heure de Tunis ("+Zone+"), même connu plus tard. Le premier et le dernier jour d'une période sont compris. Une saison commence le ", "تُحتسب كل واقعة في يوم حدوثها بتوقيت تونس ("+Zone+") ولو عُلمت لاحقا. اليوم الأول والأخير من الفترة داخلان فيها. يبدأ الموسم في ")+r.seasons+b.say(" (mois-jour).", " (شهر-يوم)."))
	line(b.say("Personnes différentes", "الأشخاص المختلفون"), b.say("Une personne compte une fois par période et par case : les mois ou les dispositifs ne s'additionnent pas toujours jusqu'au total.", "يُحتسب الشخص مرة واحدة في كل فترة وكل خانة: مجموع الأشهر أو البرامج لا يساوي المجموع العام دائما."))
	line(b.say("Stock", "المخزون"), b.say("Ce qui est là à la fin de la période.", "ما هو موجود في نهاية الفترة."))
	line(b.say("Recalculer", "إعادة الحساب"), b.say("Les mêmes valeurs : GET ", "نفس القيم: GET ")+r.recompute+b.say(" ; recompte indépendant de tous les faits : GET /api/indicators/verify.", "؛ إعادة احتساب مستقلة لكل الوقائع: GET /api/indicators/verify."))
	s.end()
}

// seriesBook writes one indicator's figures as a workbook: the figures, one a line,
// the definition, and how to read them.
func (b *book) seriesBook(s Series, d *Definition, dims []Dimension, r readingNotes) {
	widths := []float64{14}
	heads := []string{b.say("Période", "الفترة")}
	for _, name := range s.By {
		widths = append(widths, 16, 34)
		heads = append(heads, b.dimensionName(dims, name)+" ("+b.say("code", "رمز")+")", b.dimensionName(dims, name))
	}
	widths = append(widths, 14)
	heads = append(heads, b.say("Valeur", "القيمة"))
	switch s.Measure {
	case MedianDays:
		widths = append(widths, 14, 14)
		heads = append(heads, b.say("90e centile", "المئين التسعون"), b.say("Séjours", "عدد الفترات"))
	case Ratio:
		widths = append(widths, 14, 14)
		heads = append(heads, b.say("Numérateur", "البسط"), b.say("Dénominateur", "المقام"))
	}
	table := b.sheet(b.sheetName(b.say("Données", "المعطيات")), 3, 1, widths...)
	table.titles(b.say(s.LabelFR, s.LabelAR)+" ("+unitLabel(s.Unit).in(b.lang)+")", r.what)
	table.heads(heads...)
	cells := make([]any, 0, len(heads))
	for _, row := range s.Rows {
		cells = append(cells[:0], styled(b.style.text, row.Period))
		for _, name := range s.By {
			code := row.Dimensions[name]
			cells = append(cells, styled(b.style.text, code), styled(b.style.text, codeLabel(name, code).in(b.lang)))
		}
		cells = append(cells, b.figure(s.Measure, s.Unit, row, true))
		switch s.Measure {
		case MedianDays:
			var count *float64
			if row.Count != nil {
				n := float64(*row.Count)
				count = &n
			}
			cells = append(cells, b.amount(b.style.decimal, row, row.P90), b.amount(b.style.whole, row, count))
		case Ratio:
			cells = append(cells, b.amount(b.style.whole, row, row.Numerator), b.amount(b.style.whole, row, row.Denominator))
		}
		table.put(cells...)
	}
	table.end()
	b.definitionsSheet([]*Definition{d}, dims)
	b.readingSheet(r)
}

// Workbook gives a workbook of indicators in one period.
func (s *service) Workbook(ctx context.Context, q WorkbookQuery) (func(io.Writer) error, error) {
	plan, err := s.planWorkbook(q)
	if err != nil {
		return nil, err
	}
	b := newBook(q.Lang)
	if err := s.fill(ctx, b, q, plan); err != nil {
		return nil, errors.Join(err, b.f.Close())
	}
	return b.write, nil
}

// workbookPlan is a checked query.
type workbookPlan struct {
	period namedPeriod
	grain  Grain
	defs   []*Definition
}

// query asks for an indicator's figures in the period.
func (p workbookPlan) query(q WorkbookQuery, d *Definition, grain Grain, by []string) ValuesQuery {
	return ValuesQuery{Code: d.Code, Grain: grain, By: by, From: p.period.First, To: p.period.Last, AsOf: q.AsOf}
}

// planWorkbook checks the query.
func (s *service) planWorkbook(q WorkbookQuery) (p workbookPlan, err error) {
	var faults []api.Field
	if p.period, err = readPeriod(q.Period, s.programme.SeasonStarts); err != nil {
		if f := (api.Field{}); errors.As(err, &f) {
			faults = append(faults, f)
		}
	}
	if p.grain = q.Grain; p.grain == "" {
		p.grain = Month
		if p.period.Grain == Day {
			p.grain = Day
		}
	}
	if !slices.Contains(Grains, p.grain) {
		faults = append(faults, api.Field{Path: "query.grain", Code: "unknown", Reason: list(Grains) + " expected"})
	}
	if _, err := readAsOf(q.AsOf); err != nil {
		if f := (api.Field{}); errors.As(err, &f) {
			faults = append(faults, f)
		}
	}
	for _, d := range s.defs {
		if len(q.Code) == 0 || slices.Contains(q.Code, d.Code) {
			p.defs = append(p.defs, d)
		}
	}
	for _, code := range q.Code {
		if _, ok := s.defs.Get(code); !ok {
			faults = append(faults, api.Field{Path: "query.code", Code: "unknown", Reason: fmt.Sprintf("there is no indicator %q; there are %s", clip(code), strings.Join(s.defs.Codes(), ", "))})
		}
	}
	if len(faults) > 0 {
		return p, api.Invalid(faults...)
	}
	slices.SortStableFunc(p.defs, resultOrder)
	return p, nil
}

// fill writes the sheets.
func (s *service) fill(ctx context.Context, b *book, q WorkbookQuery, p workbookPlan) error {
	who := access.From(ctx)
	title := b.say("Indicateurs du programme : ", "مؤشرات البرنامج: ") + b.periodName(p.period)
	summary := b.sheetName(b.say("Synthèse", "الملخص"))
	sheets := make([]string, len(p.defs))
	for i, d := range p.defs {
		sheets[i] = b.sheetName(b.label(d))
	}

	front := b.sheet(summary, 4, 2, 10, 44, 40, 14, 16, 14, 14, 14, 20)
	front.titles(title,
		b.say("Édité le ", "صدر في ")+stampText(s.now())+b.say(" (heure de Tunis). Voir 'Définitions' et 'Lecture' en fin de classeur.", " (توقيت تونس). انظر 'التعريفات' و'دليل القراءة' في آخر المصنف."),
		fmt.Sprintf(b.say("%s valeur masquée (petits effectifs) ; %s pas de valeur.", "%s قيمة محجوبة (أعداد صغيرة)؛ %s لا قيمة."), hiddenMark, noneMark))
	front.heads(b.say("Résultat", "النتيجة"), "Indicateur", "المؤشر", b.say("Valeur de la période", "قيمة الفترة"), b.say("Depuis le début", "منذ البداية"),
		b.say("Cible", "القيمة المستهدفة"), b.say("% de la cible", "% من المستهدف"), b.say("Unité", "الوحدة"), b.say("Connu jusqu'au", "معلوم إلى غاية"))
	for i, d := range p.defs {
		whole, err := s.Values(ctx, p.query(q, d, All, nil))
		if err != nil {
			return err
		}
		start, err := s.Values(ctx, ValuesQuery{Code: d.Code, Grain: All, To: p.period.Last, AsOf: q.AsOf})
		if err != nil {
			return err
		}
		first := func(rows []Row) (Row, bool) {
			if len(rows) == 0 {
				return Row{}, false
			}
			return rows[0], true
		}
		now, there := first(whole.Rows)
		sofar, thereToo := first(start.Rows)
		reached := styled(b.style.mark, noneMark)
		if d.Target != nil && d.Target.Value != 0 && sofar.Value != nil {
			reached = styled(b.style.share, *sofar.Value/d.Target.Value)
		}
		name := styled(b.style.link, d.LabelFR)
		arabic := styled(b.style.arabic, d.LabelAR)
		if b.broken == nil {
			b.check(b.f.SetCellHyperLink(summary, fmt.Sprintf("B%d", front.row+1), "'"+sheets[i]+"'!A1", "Location"))
		}
		front.put(styled(b.style.text, d.Result), name, arabic, b.figure(d.Measure, d.Unit, now, there), b.figure(d.Measure, d.Unit, sofar, thereToo),
			b.target(d), reached, styled(b.style.text, unitLabel(d.Unit).in(b.lang)), styled(b.style.text, stampText(whole.KnownTo)))
	}
	front.end()

	least, scopes := 0, map[string][]string{}
	for i, d := range p.defs {
		if err := s.indicatorSheet(ctx, b, sheets[i], q, p, d); err != nil {
			return err
		}
		least = max(least, s.least(who, d))
		for name, codes := range scope(who, d) {
			scopes[name] = codes
		}
	}
	b.definitionsSheet(p.defs, s.dims)
	asOf, _ := readAsOf(q.AsOf) // checked above
	b.readingSheet(readingNotes{
		what: title, asOf: asOf, small: least, scope: scopes, sources: s.columns.Sources(), seasons: s.programme.SeasonStarts,
		recompute: "/api/indicators/values?code=…&grain=" + string(p.grain) + "&by=…",
	})
	return b.broken
}

// periodName names the period in the book's language, with its days.
func (b *book) periodName(p namedPeriod) string {
	if p.Grain == All {
		return grainNames[All].in(b.lang)
	}
	return fmt.Sprintf(b.say("%s (du %s au %s)", "%s (من %s إلى %s)"), p.Label, p.First, p.Last)
}

// indicatorSheet writes one indicator: the total and each declared cut, periods
// beside each other, then the whole period.
func (s *service) indicatorSheet(ctx context.Context, b *book, name string, q WorkbookQuery, p workbookPlan, d *Definition) error {
	grain := p.grain
	if !slices.Contains(d.Grains, grain) {
		grain = d.Grains[0]
	}
	total, err := s.Values(ctx, p.query(q, d, grain, nil))
	if err != nil {
		return err
	}
	var columns []string
	for _, r := range total.Rows {
		columns = append(columns, r.Period)
	}
	if d.Measure == MedianDays || d.Measure == Ratio { // which leave out what has no value
		if columns, err = s.columnsOf(p, grain, total, columns); err != nil {
			return err
		}
	}
	if len(columns) > mostColumns {
		return tooMuch("%d periods beside each other", len(columns))
	}
	widths, heads := []float64{22, 18, 40}, []string{b.say("Découpage", "التصنيف"), b.say("Code", "الرمز"), b.say("Libellé", "التسمية")}
	for _, c := range columns {
		widths, heads = append(widths, 11), append(heads, c)
	}
	widths, heads = append(widths, 14), append(heads, b.say("Période entière", "كامل الفترة"))
	switch d.Measure {
	case Ratio:
		widths, heads = append(widths, 13, 13), append(heads, b.say("Numérateur", "البسط"), b.say("Dénominateur", "المقام"))
	case MedianDays:
		widths, heads = append(widths, 13, 13), append(heads, b.say("90e centile", "المئين التسعون"), b.say("Séjours", "عدد الفترات"))
	}
	out := b.sheet(name, 4, 3, widths...)
	out.titles(b.label(d), b.say(d.MeaningFR, d.MeaningAR),
		fmt.Sprintf(b.say("Unité : %s · Mesure : %s · Résultat %s · Version %d · Connu jusqu'au %s", "الوحدة: %s · القياس: %s · النتيجة %s · النسخة %d · معلوم إلى غاية %s"),
			unitLabel(d.Unit).in(b.lang), measureNames[d.Measure].in(b.lang), d.Result, d.Version, stampText(total.KnownTo)))
	out.heads(heads...)
	for _, by := range reviewCuts(d) {
		byPeriod, err := s.Values(ctx, p.query(q, d, grain, by))
		if err != nil {
			return err
		}
		whole, err := s.Values(ctx, p.query(q, d, All, by))
		if err != nil {
			return err
		}
		b.cut(out, d, s.dims, by, columns, byPeriod.Rows, whole.Rows)
	}
	out.end()
	return b.broken
}

// columnsOf are the names of all periods from the first day of a series to its last.
func (s *service) columnsOf(p workbookPlan, grain Grain, total Series, found []string) ([]string, error) {
	if total.First.IsZero() {
		return found, nil
	}
	spans, err := periods(grain, total.First.String(), total.Last.String(), s.programme.SeasonStarts)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(spans))
	for i, span := range spans {
		names[i] = span.label
	}
	return names, nil
}

// cut writes the lines of one cut: those that have a figure in any period.
func (b *book) cut(out *sheet, d *Definition, dims []Dimension, by, columns []string, rows, whole []Row) {
	type line struct {
		codes  []string
		at     map[string]Row
		all    Row
		hasAll bool
	}
	lines := map[string]*line{}
	of := func(r Row) *line {
		var codes []string
		for _, name := range by {
			codes = append(codes, r.Dimensions[name])
		}
		key := strings.Join(codes, "\x00")
		l := lines[key]
		if l == nil {
			l = &line{codes: codes, at: map[string]Row{}}
			lines[key] = l
		}
		return l
	}
	for _, r := range rows {
		of(r).at[r.Period] = r
	}
	for _, r := range whole {
		l := of(r)
		l.all, l.hasAll = r, true
	}
	if len(by) == 0 && len(lines) == 0 {
		of(Row{})
	}
	title := labelTotal.in(b.lang)
	var names []string
	for _, name := range by {
		names = append(names, b.dimensionName(dims, name))
	}
	if len(names) > 0 {
		title = strings.Join(names, " × ")
	}
	sorted := make([]*line, 0, len(lines))
	for _, l := range lines {
		sorted = append(sorted, l)
	}
	slices.SortFunc(sorted, func(x, y *line) int { return slices.Compare(x.codes, y.codes) })
	text := b.style.text
	if len(by) == 0 {
		text = b.style.total
	}
	for _, l := range sorted {
		var labels []string
		for i, name := range by {
			labels = append(labels, codeLabel(name, l.codes[i]).in(b.lang))
		}
		cells := []any{styled(text, title), styled(text, strings.Join(l.codes, " / ")), styled(text, strings.Join(labels, " / "))}
		for _, c := range columns {
			r, there := l.at[c]
			cells = append(cells, b.figure(d.Measure, d.Unit, r, there))
		}
		cells = append(cells, b.figure(d.Measure, d.Unit, l.all, l.hasAll))
		switch d.Measure {
		case Ratio:
			cells = append(cells, b.amount(b.style.whole, l.all, l.all.Numerator), b.amount(b.style.whole, l.all, l.all.Denominator))
		case MedianDays:
			var count *float64
			if l.all.Count != nil {
				n := float64(*l.all.Count)
				count = &n
			}
			cells = append(cells, b.amount(b.style.decimal, l.all, l.all.P90), b.amount(b.style.whole, l.all, count))
		}
		out.put(cells...)
	}
}

// SeriesWorkbook gives one indicator's figures as a workbook.
func (s *service) SeriesWorkbook(ctx context.Context, q ValuesQuery, lang string) (func(io.Writer) error, error) {
	series, err := s.Values(ctx, q)
	if err != nil {
		return nil, err
	}
	d, err := s.check(q)
	if err != nil {
		return nil, err
	}
	b := newBook(lang)
	b.seriesBook(series, d, s.dims, readingNotes{
		what: fmt.Sprintf(b.say("Du %s au %s, par %s.", "من %s إلى %s، حسب %s."), series.First, series.Last, grainNames[q.Grain].in(lang)),
		asOf: series.AsOf, small: series.SmallCell, scope: series.Scope, sources: s.columns.Sources(), seasons: s.programme.SeasonStarts,
		recompute: "/api/indicators/values?code=" + q.Code + "&grain=" + string(q.Grain) + "&by=" + strings.Join(q.By, ","),
	})
	return b.write, nil
}

// workbookOutput answers with a workbook.
func workbookOutput(ctx context.Context, s Service, q WorkbookQuery) (output, error) {
	stamp, err := s.WorkbookStamp(ctx, q)
	if err != nil {
		return output{}, err
	}
	file := "masar-indicateurs"
	if q.Period != "" {
		file += "-" + strings.ReplaceAll(q.Period, "/", "-")
	}
	return output{etag: tag(stamp, "workbook", q), kind: typeXLSX, file: file + ".xlsx", write: func(w io.Writer) error {
		write, err := s.Workbook(ctx, q)
		if err != nil {
			return err
		}
		return write(w)
	}}, nil
}

// WorkbookStamp is Stamp for a workbook.
func (s *service) WorkbookStamp(ctx context.Context, q WorkbookQuery) (string, error) {
	p, err := s.planWorkbook(q)
	if err != nil {
		return "", err
	}
	var queries []ValuesQuery
	for _, d := range p.defs {
		queries = append(queries, p.query(q, d, All, nil))
	}
	return s.Stamp(ctx, queries...)
}
