package indicators

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/api"
	"masar.local/services/indicators/shortage"
)

// BulletinQuery asks for the bulletin of a zone.
type BulletinQuery struct {
	Zone    string `query:"zone"`
	Quarter string `query:"quarter"` // "2026-Q3"
}

// Bulletin is what the quarterly bulletin of shortage occupations says of a zone.
type Bulletin struct {
	Quarter string    `json:"quarter"`
	From    api.Date  `json:"from"`
	To      api.Date  `json:"to"`
	Running bool      `json:"running"` // the quarter is not over
	MadeAt  time.Time `json:"made_at"`
	// Headlines are sentences made of the figures; Missing what is not there, and
	// why; MethodTexts the method in three sentences.
	Headlines   []ShortageText   `json:"headlines"`
	Figures     []BulletinFigure `json:"figures"`
	Missing     []ShortageText   `json:"missing"`
	MethodTexts []ShortageText   `json:"method_texts"`
	Shortage
}

// BulletinFigure is one of our own figures in the quarter.
type BulletinFigure struct {
	Code       string   `json:"code"`
	LabelFR    string   `json:"label_fr"`
	LabelAR    string   `json:"label_ar"`
	Value      *float64 `json:"value"` // null when suppressed
	Before     *float64 `json:"before"`
	Suppressed bool     `json:"suppressed,omitempty"`
}

// Bulletin makes the bulletin of a zone and a quarter from what is known now.
func (s *service) Bulletin(ctx context.Context, q BulletinQuery) (Bulletin, error) {
	var faults []api.Field
	if _, err := shortage.ParseZone(q.Zone); err != nil {
		faults = append(faults, api.Field{Path: "query.zone", Code: "zone", Reason: err.Error()})
	}
	quarter, err := shortage.ParsePeriod(q.Quarter)
	if err != nil || !quarter.Quarterly() {
		faults = append(faults, api.Field{Path: "query.quarter", Code: "period", Reason: "a quarter expected, such as 2026-Q3"})
	}
	if len(faults) > 0 {
		return Bulletin{}, api.Invalid(faults...)
	}
	start, end := periodEnd(quarter.Previous()), periodEnd(quarter)
	now := s.now()
	if now.Before(start) {
		return Bulletin{}, api.Invalid(api.Field{Path: "query.quarter", Code: "range", Reason: q.Quarter + " has not begun"})
	}
	b := Bulletin{
		Quarter: q.Quarter, From: localDate(start.UnixMilli()), To: localDate(end.UnixMilli() - 1), Running: now.Before(end),
		MadeAt: now.UTC().Truncate(time.Second), Headlines: []ShortageText{}, Figures: []BulletinFigure{}, Missing: []ShortageText{}, MethodTexts: methodTexts,
	}
	if b.Shortage, err = s.Shortage(ctx, ShortageQuery{Zone: q.Zone, Period: q.Quarter}); err != nil {
		return Bulletin{}, err
	}
	for i := range b.Tables {
		t := &b.Tables[i]
		// A published file gives groups of occupations too; the bulletin is about
		// occupations.
		detailed := func(r ShortageRow) bool { return len(r.Code) >= 5 }
		if (t.Nomenclature == shortage.FAP2009 || t.Nomenclature == shortage.FAP2021) && slices.ContainsFunc(t.Rows, detailed) {
			t.Rows = slices.DeleteFunc(t.Rows, func(r ShortageRow) bool { return !detailed(r) })
		}
		for n := range t.Rows {
			if t.Rows[n].Label == "" {
				t.Rows[n].Label = occupationLabel(shortage.NewBook(), shortage.Occupation{Nomenclature: t.Nomenclature, Code: t.Rows[n].Code})
			}
		}
	}
	slices.SortStableFunc(b.Tables, func(x, y ShortageTable) int { // the latest first
		return -cmp.Or(cmp.Compare(x.Period.Year(), y.Period.Year()), cmp.Compare(len(x.Period), len(y.Period)), cmp.Compare(x.Period, y.Period))
	})
	if b.Figures, err = s.bulletinFigures(ctx, b.Zone, quarter); err != nil {
		return Bulletin{}, err
	}
	b.headlines()
	b.missing()
	return b, nil
}

// bulletinFigures are our own figures of a zone in the quarter and the one before,
// as far as the reader may see them.
func (s *service) bulletinFigures(ctx context.Context, zone shortage.Zone, quarter shortage.Period) ([]BulletinFigure, error) {
	out := []BulletinFigure{}
	dimension, code, codes := "", "", []string{"people_registered", "people_followed", "people_placed"}
	switch {
	case zone.Country() == "FR":
		dimension, codes = "region", []string{"offers_received", "posts_offered", "posts_filled"}
		code = strings.TrimPrefix(string(zone), "FR-")
	case zone.Country() == "TN":
		dimension, code = "governorate", string(zone)
	default:
		return out, nil
	}
	if zone.Level() == shortage.Department {
		return out, nil // offers are known by région
	}
	for _, name := range codes {
		d, ok := s.defs.Get(name)
		if !ok || !slices.Contains(d.Dimensions, dimension) {
			continue
		}
		f := BulletinFigure{Code: name, LabelFR: d.LabelFR, LabelAR: d.LabelAR}
		for i, p := range []shortage.Period{quarter, quarter.Previous()} {
			q := ValuesQuery{Code: name, Grain: All, From: localDate(periodEnd(p.Previous()).UnixMilli()), To: localDate(periodEnd(p).UnixMilli() - 1)}
			if zone.Level() != shortage.Country {
				q.By = []string{dimension}
			}
			series, err := s.Values(ctx, q)
			if err != nil {
				return nil, err
			}
			zero := 0.0
			value := &zero
			for _, r := range series.Rows {
				if len(q.By) == 0 || r.Dimensions[dimension] == code {
					value = r.Value
					f.Suppressed = f.Suppressed || i == 0 && r.Suppressed
				}
			}
			if i == 0 {
				f.Value = value
			} else {
				f.Before = value
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// title names a table's series in both languages.
func (t ShortageTable) title() ShortageText {
	return ShortageText{
		fmt.Sprintf("%s, %s", nomenclatureName(t.Nomenclature), periodName(t.Period, "fr")),
		fmt.Sprintf("%s، %s", nomenclatureName(t.Nomenclature), periodName(t.Period, "ar")),
	}
}

func nomenclatureName(n shortage.Nomenclature) string {
	switch n {
	case shortage.FAP2009:
		return "FAP 2009"
	case shortage.FAP2021:
		return "FAP 2021"
	case shortage.ISCO08:
		return "CITP-08"
	}
	return string(n)
}

var quarterNames = map[string][4]string{
	"fr": {"1er trimestre", "2e trimestre", "3e trimestre", "4e trimestre"},
	"ar": {"الثلاثي الأول", "الثلاثي الثاني", "الثلاثي الثالث", "الثلاثي الرابع"},
}

func periodName(p shortage.Period, lang string) string {
	year := strconv.Itoa(p.Year())
	switch {
	case p.Quarterly():
		return quarterNames[lang][p[6]-'1'] + " " + year
	case lang == "ar":
		return "سنة " + year
	}
	return "année " + year
}

func (t ShortageTable) classed() (classed int, of [6]int) {
	for _, r := range t.Rows {
		if r.Class != nil && 1 <= *r.Class && *r.Class <= 5 {
			classed++
			of[*r.Class]++
		}
	}
	return classed, of
}

// moves counts the occupations whose class went up and down since the period
// before, and those of which both classes are known.
func (t ShortageTable) moves() (up, down, known int) {
	for _, r := range t.Rows {
		if r.Class == nil || r.Before == nil || r.Before.Class == nil {
			continue
		}
		known++
		switch cmp.Compare(*r.Class, *r.Before.Class) {
		case 1:
			up++
		case -1:
			down++
		}
	}
	return up, down, known
}

func (b *Bulletin) say(fr, ar string) { b.Headlines = append(b.Headlines, ShortageText{fr, ar}) }

// headlines makes the sentences.
func (b *Bulletin) headlines() {
	empty := true
	for _, t := range b.Tables {
		classed, of := t.classed()
		if classed == 0 {
			continue
		}
		empty = false
		title := t.title()
		var names []string
		for _, r := range t.Rows {
			if r.Class != nil && *r.Class == 5 && len(names) < 3 {
				names = append(names, cmp.Or(r.Label, r.Code))
			}
		}
		fr := fmt.Sprintf("%s (%s) : dans la classe 5, la plus tendue, %s sur %s classés.", b.LabelFR, title.FR, frenchCount(of[5], "métier"), counted(classed))
		ar := fmt.Sprintf("%s (%s): %d من المهن المصنفة البالغ عددها %d في الصنف 5، وهو الأشد نقصا.", b.LabelAR, title.AR, of[5], classed)
		if len(names) > 0 {
			fr += " En tête : " + strings.Join(names, " ; ") + "."
			ar += " في المقدمة: \u2068" + strings.Join(names, "\u2069 ؛ \u2068") + "\u2069."
		}
		if !slices.ContainsFunc(t.Rows, func(r ShortageRow) bool { return r.Class != nil && !slices.Contains(r.Flags, shortage.Partial) }) {
			fr += " L'indice est partiel : une composante au moins manque."
			ar += " المؤشر جزئي: ينقص مكوّن واحد على الأقل."
		}
		b.say(fr, ar)
		if up, down, known := t.moves(); known > 0 {
			before := periodName(t.Period.Previous(), "fr")
			b.say(fmt.Sprintf("Depuis la période précédente (%s) : %s en hausse de classe, %s en baisse, sur %s comparables.", before, frenchCount(up, "métier"), counted(down), counted(known)),
				fmt.Sprintf("منذ الفترة السابقة (%s)، ارتفع صنف %d من المهن وانخفض صنف %d، من بين %d قابلة للمقارنة.", periodName(t.Period.Previous(), "ar"), up, down, known))
		}
	}
	if empty {
		b.say(fmt.Sprintf("Aucun métier ne peut être classé pour %s : les séries nécessaires manquent (voir « Ce qui manque »).", b.LabelFR),
			fmt.Sprintf("لا يمكن تصنيف أي مهنة في %s: تنقص السلاسل الضرورية (انظر «ما ينقص»).", b.LabelAR))
	}
	c := b.Campaign
	if c == nil || len(c.Occupations) == 0 {
		return
	}
	var posts, filled int64
	scarce, both := 0, []string{}
	for _, o := range c.Occupations {
		posts, filled = posts+o.Posts, filled+o.Filled
		if o.OneMoreCandidate <= 0 {
			continue
		}
		scarce++
		if slices.ContainsFunc(o.France, func(f ShortageInFrance) bool { return f.Class != nil && *f.Class >= 4 }) {
			both = append(both, cmp.Or(o.Label, o.ROME))
		}
	}
	day := c.OccurredAt.In(tunis).Format("02/01/2006")
	b.say(fmt.Sprintf("La dernière campagne de mise en relation du programme (%s) propose quelqu'un pour %s sur %s ; dans %s sur %d, un candidat de plus permettrait un placement de plus.", day, frenchCount(int(filled), "poste"), counted(posts), frenchCount(scarce, "métier"), len(c.Occupations)),
		fmt.Sprintf("تقترح آخر حملة مطابقة للبرنامج (\u2068%s\u2069) مترشحا لـ%d من %d منصبا؛ وفي %d من %d مهنة، من شأن مترشح إضافي أن يتيح إلحاقا إضافيا.", day, filled, posts, scarce, len(c.Occupations)))
	if len(both) > 0 {
		shown := both[:min(5, len(both))]
		b.say(fmt.Sprintf("En tension en France (classe 4 ou 5) et rares dans notre campagne, %s : %s.", frenchCount(len(both), "métier"), strings.Join(shown, " ; ")),
			fmt.Sprintf("مهن تشهد نقصا في فرنسا (الصنف 4 أو 5) ونادرة في حملتنا، عددها %d: \u2068%s\u2069.", len(both), strings.Join(shown, "\u2069 ؛ \u2068")))
	}
}

func (b *Bulletin) lacks(fr, ar string) { b.Missing = append(b.Missing, ShortageText{fr, ar}) }

// missing says what is not there, and why.
func (b *Bulletin) missing() {
	if len(b.Tables) == 0 {
		if len(b.Available) == 0 {
			b.lacks("Aucune série d'offres, de demandeurs, de sorties ou de projets de recrutement n'est importée pour cette zone.",
				"لم تُورَّد لهذه المنطقة أي سلسلة للعروض أو طالبي الشغل أو الخروج أو مشاريع الانتداب.")
		} else {
			first, last := b.Available[0].Period, b.Available[0].Period
			for _, s := range b.Available {
				first, last = min(first, s.Period), max(last, s.Period)
			}
			b.lacks(fmt.Sprintf("Les séries importées pour cette zone vont de %s à %s : rien pour ce trimestre, ni pour une année avant.", first, last),
				fmt.Sprintf("تمتد السلاسل المورَّدة لهذه المنطقة من \u2068%s\u2069 إلى \u2068%s\u2069: لا شيء لهذا الثلاثي ولا لسنة قبله.", first, last))
		}
	}
	for _, t := range b.Tables {
		title := t.title()
		tell := func(fr, ar string) { b.lacks(title.FR+" : "+fr+".", title.AR+": "+ar+".") }
		if t.Annual {
			tell("série annuelle, montrée comme telle ; il n'y a pas de série du trimestre", "سلسلة سنوية معروضة كما هي؛ لا توجد سلسلة للثلاثي")
		}
		absent := [3]int{}
		flags := map[shortage.Flag]int{}
		computed := 0
		for _, r := range t.Rows {
			for _, f := range r.Flags {
				flags[f]++
			}
			if r.Published {
				continue
			}
			computed++
			for k, c := range r.Components {
				if c == nil {
					absent[k]++
				}
			}
		}
		for k, n := range absent {
			if n > 0 {
				tell(fmt.Sprintf("%s manque pour %s sur %d", componentNames["fr"][k], frenchCount(n, "métier"), computed), fmt.Sprintf("ينقص %s في %d من %d مهنة", componentNames["ar"][k], n, computed))
			}
		}
		for _, f := range t.Flags {
			if f != shortage.Spread {
				tell(f.Text("fr"), f.Text("ar"))
			}
		}
		for _, f := range []shortage.Flag{
			shortage.Confidential, shortage.TooFew, shortage.NoClass, shortage.NothingKnown, shortage.ZeroDenominator, shortage.Incoherent,
			shortage.ZeroVariance, shortage.NoReference, shortage.NoCuts, shortage.Spread, shortage.Annual, shortage.SeveralSources, shortage.PublishedDiffers,
		} {
			if n := flags[f]; n > 0 {
				tell(fmt.Sprintf("%s (%s)", f.Text("fr"), frenchCount(n, "métier")), fmt.Sprintf("%s (عدد المهن: %d)", f.Text("ar"), n))
			}
		}
		if _, _, known := t.moves(); known == 0 {
			tell("pas de période précédente à comparer", "لا توجد فترة سابقة للمقارنة")
		}
	}
	if b.Campaign == nil {
		b.lacks("Aucune campagne de mise en relation n'a eu lieu avant la fin du trimestre.", "لم تُنجز أي حملة مطابقة قبل نهاية الثلاثي.")
	} else if slices.ContainsFunc(b.Campaign.Occupations, func(s Scarcity) bool { return s.Suppressed }) {
		b.lacks(fmt.Sprintf("Campagne : les nombres qui portent sur moins de %d personnes sont masqués.", b.Campaign.SmallCell), fmt.Sprintf("الحملة: حُجبت الأعداد التي تخص أقل من %d أشخاص.", b.Campaign.SmallCell))
	}
	if slices.ContainsFunc(b.Figures, func(f BulletinFigure) bool { return f.Suppressed }) {
		b.lacks("Un nombre de personnes du programme est masqué : trop peu de personnes.", "حُجب عدد من أشخاص البرنامج: عددهم قليل جدا.")
	}
	if len(b.Figures) > 0 && b.Zone.Country() == "TN" {
		b.lacks("Les candidats du programme ne sont pas comptés par métier : leur inscription ne dit pas le métier recherché.", "لا يُحصى مترشحو البرنامج حسب المهنة: تسجيلهم لا يذكر المهنة المطلوبة.")
	}
}

var componentNames = map[string][3]string{
	"fr": {"le rapport offres ÷ entrées de demandeurs (c1)", "le taux de sortie des demandeurs (c2)", "la part de recrutements jugés difficiles (c3)"},
	"ar": {"معدل العروض ÷ الطلبات الجديدة (c1)", "نسبة خروج طالبي الشغل (c2)", "حصة الانتدابات المتوقعة صعوبتها (c3)"},
}

var methodTexts = []ShortageText{
	{
		"Pour chaque métier on mesure les offres d'emploi par nouveau demandeur (c1), la part des demandeurs qui sortent des listes (c2) et la part des projets de recrutement jugés difficiles par les employeurs (c3).",
		"تُقاس لكل مهنة العروض لكل طالب شغل جديد (c1)، ونسبة طالبي الشغل الخارجين من القوائم (c2)، وحصة مشاريع الانتداب التي يتوقع المشغّلون صعوبتها (c3).",
	},
	{
		"Chaque mesure est centrée et réduite sur les métiers d'une période de référence, puis l'indice est leur somme pondérée (30 %, 20 %, 50 %) ; si une mesure manque, les autres pèsent plus et l'indice est dit partiel.",
		"يُعيَّر كل مقياس على مهن فترة مرجعية، ثم يكون المؤشر مجموعها المرجّح (30 % و20 % و50 %)؛ وإن نقص مقياس زاد وزن البقية ووُصف المؤشر بالجزئي.",
	},
	{
		"La classe va de 1 (peu tendu) à 5 (très tendu), selon les bornes de la Dares pour ses séries et selon les quintiles de leur propre référence pour les autres ; la méthode est celle de la Dares et de France Travail.",
		"يمتد الصنف من 1 (نقص ضعيف) إلى 5 (نقص شديد)، وفق حدود Dares لسلاسلها ووفق أخماس المرجع الخاص بغيرها؛ والمنهج منهج Dares وFrance Travail.",
	},
}

//go:embed shortage_bulletin.html
var bulletinHTML string

// bulletinTemplate is parsed with the functions of one language; those of the
// other take their place when it is executed.
var bulletinTemplate = template.Must(template.New("bulletin").Funcs(bulletinFuncs("fr")).Parse(bulletinHTML))

// bulletinLine is a row of a table with what its template asks the table.
type bulletinLine struct {
	Table  ShortageTable
	Row    ShortageRow
	Levels bool
}

func bulletinFuncs(lang string) template.FuncMap {
	return template.FuncMap{
		"t": func(key string) (string, error) {
			x, ok := bulletinTexts[key]
			if !ok {
				return "", errors.New("the bulletin has no text " + key)
			}
			return pick(x, lang), nil
		},
		"pick":  func(x ShortageText) string { return pick(x, lang) },
		"dec":   func(v *float64) string { return decimals(v, 2) },
		"pct":   percent,
		"count": counted,
		"class": func(c *int) int {
			if c == nil {
				return 0
			}
			return *c
		},
		"quarter":  func(p string) string { return periodName(shortage.Period(p), lang) },
		"day":      func(at time.Time) string { return at.In(tunis).Format("02/01/2006") },
		"flags":    func(list []shortage.Flag) string { return marks(list, lang) },
		"change":   func(r ShortageRow) bulletinChange { return changeOf(r, lang) },
		"title":    func(t ShortageTable) string { return pick(t.title(), lang) },
		"name":     func(f BulletinFigure) string { return pick(ShortageText{f.LabelFR, f.LabelAR}, lang) },
		"short":    func(s string) string { return s[:min(8, len(s))] },
		"line":     func(t ShortageTable, r ShortageRow, levels bool) bulletinLine { return bulletinLine{t, r, levels} },
		"levelsOf": levelsOf,
		"occupations": func(n int) string {
			return pick(ShortageText{frenchCount(n, "métier"), "المهن: " + counted(n)}, lang)
		},
		"allPublished": func(t ShortageTable) bool {
			return !slices.ContainsFunc(t.Rows, func(r ShortageRow) bool { return !r.Published && r.T != nil })
		},
		"rows":   classedRows,
		"top":    topRows,
		"dist":   distribution,
		"has":    tableHas,
		"nomen":  nomenclatureName,
		"french": mostTense,
	}
}

// writeBulletin writes the bulletin as a page in French ("fr") or Arabic ("ar"):
// one file, without anything from elsewhere, to be read, printed on A4 and read
// aloud.
func writeBulletin(w io.Writer, b Bulletin, lang string) error {
	page, err := bulletinTemplate.Clone()
	if err != nil {
		return err
	}
	page.Funcs(bulletinFuncs(lang))
	return page.Execute(w, struct {
		Bulletin
		Lang, Dir string
	}{b, lang, map[string]string{"fr": "ltr", "ar": "rtl"}[lang]})
}

func pick(x ShortageText, lang string) string {
	if lang == "ar" {
		return x.AR
	}
	return x.FR
}

// decimals writes a number with a comma, as both languages do in Tunisia.
func decimals(v *float64, places int) string {
	if v == nil {
		return "–"
	}
	text := strconv.FormatFloat(math.Abs(*v), 'f', places, 64)
	text = strings.Replace(text, ".", ",", 1)
	if *v < 0 && strings.Trim(text, "0,") != "" {
		text = "−" + text
	}
	return text
}

func percent(v *float64) string {
	if v == nil {
		return "–"
	}
	x := 100 * *v
	return decimals(&x, 0) + "\u00a0%"
}

// counted writes a whole number with a narrow space between thousands.
func counted(v any) string {
	n := int64(0)
	switch v := v.(type) {
	case *float64:
		if v == nil {
			return "–"
		}
		n = int64(math.Round(*v))
	case *int64:
		if v == nil {
			return "–"
		}
		n = *v
	case int64:
		n = v
	case int:
		n = int64(v)
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// marks are the short marks of a row's flags, explained at the end of the page.
func marks(list []shortage.Flag, lang string) string {
	var out []string
	for _, f := range list {
		if m, ok := flagMarks[f]; ok {
			out = append(out, pick(m, lang))
		}
	}
	return strings.Join(out, " ")
}

var flagMarks = map[shortage.Flag]ShortageText{
	shortage.Partial: {"p", "ج"}, shortage.Confidential: {"c", "س"}, shortage.TooFew: {"e", "ع"}, shortage.Spread: {"r", "ت"}, shortage.Annual: {"a", "ن"},
	shortage.SeveralSources: {"s", "م"}, shortage.ZeroDenominator: {"z", "ص"}, shortage.Incoherent: {"i", "ض"}, shortage.ZeroVariance: {"v", "ث"},
}

// bulletinChange is how the class changed: an arrow for the eye, words for the ear.
type bulletinChange struct {
	Sign, Words, Kind string
}

func changeOf(r ShortageRow, lang string) bulletinChange {
	if r.Class == nil || r.Before == nil || r.Before.Class == nil {
		return bulletinChange{"–", pick(ShortageText{"pas de comparaison", "لا مقارنة"}, lang), "none"}
	}
	d := *r.Class - *r.Before.Class
	was := fmt.Sprintf(pick(ShortageText{"était en classe %d", "كان في الصنف %d"}, lang), *r.Before.Class)
	switch {
	case d > 0:
		return bulletinChange{fmt.Sprintf("▲ +%d", d), was, "up"}
	case d < 0:
		return bulletinChange{fmt.Sprintf("▼ −%d", -d), was, "down"}
	}
	return bulletinChange{"=", was, "same"}
}

// topRows are the ten shortest occupations of a table.
func topRows(t ShortageTable) []ShortageRow {
	rows := classedRows(t)
	return rows[:min(10, len(rows))]
}

func classedRows(t ShortageTable) []ShortageRow {
	return slices.DeleteFunc(slices.Clone(t.Rows), func(r ShortageRow) bool { return r.Class == nil })
}

// classShare is a class and how many of a table are in it.
type classShare struct {
	Class, N int
	Percent  string // for the width of a bar, "37.2"
}

func distribution(t ShortageTable) []classShare {
	classed, of := t.classed()
	var out []classShare
	for c := 1; c <= 5; c++ {
		out = append(out, classShare{c, of[c], strconv.FormatFloat(100*float64(of[c])/float64(max(1, classed)), 'f', 1, 64)})
	}
	return out
}

// tableHas says whether anything of a kind is known in a table.
func tableHas(t ShortageTable, what string) bool {
	return slices.ContainsFunc(t.Rows, func(r ShortageRow) bool {
		switch what {
		case "class":
			return r.Class != nil
		case "components":
			return r.Components != [3]*float64{}
		case "before":
			return r.Class != nil && r.Before != nil && r.Before.Class != nil
		case "flags":
			return marks(r.Flags, "fr") != ""
		}
		return false
	})
}

// levelsOf are the places of the complementary indicators that a table has.
func levelsOf(t ShortageTable) (out []int) {
	for i := range shortage.Complementary {
		if slices.ContainsFunc(t.Rows, func(r ShortageRow) bool { return r.Levels[i] != nil }) {
			out = append(out, i)
		}
	}
	return out
}

// frenchCount is a number with its noun: 0 and 1 are singular in French.
func frenchCount(n int, noun string) string {
	if n > 1 {
		noun += "s"
	}
	return counted(n) + "\u00a0" + noun
}

// mostTense keeps of each nomenclature the occupation of the highest class.
func mostTense(list []ShortageInFrance) []ShortageInFrance {
	var out []ShortageInFrance
	for _, f := range list {
		i := slices.IndexFunc(out, func(o ShortageInFrance) bool { return o.Nomenclature == f.Nomenclature })
		switch {
		case i < 0:
			out = append(out, f)
		case f.Class != nil && (out[i].Class == nil || *f.Class > *out[i].Class):
			out[i] = f
		}
	}
	return out
}
