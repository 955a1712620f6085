package shortage

import (
	"fmt"
	"math"
	"slices"

	"github.com/shopspring/decimal"
)

// MethodVersion names this method in every answer; it changes with every change
// of a formula, a weight or a cut.
const MethodVersion = "dares-2021/1"

// Components of the index, in this order everywhere.
const (
	C1 = iota // offers ÷ inflow of seekers
	C2        // exits ÷ stock of seekers
	C3        // difficult ÷ all recruitment projects
	components
)

// Weights of the standardised components (DARES).
var Weights = [components]float64{0.30, 0.20, 0.50}

// Flag says what is to be known about a figure.
type Flag string

// The flags.
const (
	Partial          Flag = "partiel"                   // a component is missing: the others weigh more
	Confidential     Flag = "confidentiel"              // a part of the figures is hidden by the producer
	ZeroDenominator  Flag = "denominateur_nul"          // a component would divide by nought
	Incoherent       Flag = "incoherent"                // a part is larger than its whole
	ZeroVariance     Flag = "variance_nulle"            // all occupations of the reference are alike in a component
	NoReference      Flag = "reference_absente"         // a component is not in the reference period
	TooFew           Flag = "effectifs_insuffisants"    // below the configured minimum: no class
	NoCuts           Flag = "quintiles_impossibles"     // fewer than five occupations in the reference, or all alike
	TiedCuts         Flag = "quintiles_ex_aequo"        // classes are of unequal size, for values are the same
	Spread           Flag = "reparti"                   // counts were spread over occupations by a passage
	Annual           Flag = "annuel"                    // a quarter uses the employers' survey of a year
	SeveralSources   Flag = "plusieurs_sources"         // two sources give the same measure; the last imported counts
	NoClass          Flag = "classe_non_publiee"        // the producer publishes an index without a class
	NothingKnown     Flag = "sans_composante"           // no component at all: no index
	ProvisionalRef   Flag = "reference_provisoire"      // no reference years are configured, or none of them has data
	NoMinimum        Flag = "minimum_a_configurer"      // no minimum counts are configured
	PublishedDiffers Flag = "classe_publiee_differente" // the published class is not that of our cuts
)

// Cuts are the four limits between the five classes: a value that is equal to a
// cut is in the class above it.
type Cuts [4]float64

// Class is 1 to 5.
func (c Cuts) Class(t float64) int {
	class := 1
	for _, cut := range c {
		if t >= cut {
			class++
		}
	}
	return class
}

// FrenchCuts separate the classes that DARES publishes, at every level (derived
// from its file of 2019, whose derivation is not documented): no published value
// lies on a cut, so that the file does not say to which side it belongs; ours is
// the class above.
var FrenchCuts = Cuts{-0.5644, -0.2597, 0.1305, 0.50968}

var frenchCuts = []decimal.Decimal{
	decimal.RequireFromString("-0.5644"), decimal.RequireFromString("-0.2597"),
	decimal.RequireFromString("0.1305"), decimal.RequireFromString("0.50968"),
}

// FrenchClass is the class of a published index, compared as it is written.
func FrenchClass(t decimal.Decimal) int {
	class := 1
	for _, cut := range frenchCuts {
		if t.GreaterThanOrEqual(cut) {
			class++
		}
	}
	return class
}

// Quintiles cuts values into five classes of as equal size as values that are the
// same allow: each cut stands where the number of values below it is nearest to
// its fifth. It fails with fewer than five values, or when all are the same.
// tied says that classes differ in size by more than one for that reason.
func Quintiles(values []float64) (cuts Cuts, tied, ok bool) {
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	if n < 5 || v[0] == v[n-1] {
		return Cuts{}, false, false
	}
	for k := range cuts {
		aim := (k + 1) * n // fifths
		at := aim / 5
		low, _ := slices.BinarySearch(v, v[at])
		high, _ := slices.BinarySearch(v, math.Nextafter(v[at], math.Inf(1)))
		if aim-5*low > 5*high-aim {
			low = high
		}
		if low < n {
			cuts[k] = v[low]
		} else { // nothing is above
			cuts[k] = math.Nextafter(v[n-1], math.Inf(1))
		}
		tied = tied || 5*low-aim >= 5 || aim-5*low >= 5
	}
	return cuts, tied, true
}

// Value is what is known of one measure.
type Value struct {
	Number float64
	// Rows is how many rows of the source it is the sum of, HiddenRows how many
	// more the producer keeps confidential. Rows 0: nothing is known.
	Rows, HiddenRows int
	// Source and the year it is of, when that is not the row's own period.
	Source string
	Of     Period
}

// Inputs are the measures of one occupation in a place and a period.
type Inputs map[Measure]Value

func (in Inputs) get(m Measure) (float64, bool) {
	v, ok := in[m]
	return v.Number, ok && v.Rows > 0
}

// Components are the raw ratios; Have says which there are.
type Components struct {
	C    [components]float64
	Have [components]bool
	// High is the largest that c3 can be, when the producer hides some of the
	// difficult projects; C3 counts what is hidden as not difficult.
	High  *float64
	Flags []Flag
}

func (c *Components) flag(f Flag) {
	if !slices.Contains(c.Flags, f) {
		c.Flags = append(c.Flags, f)
	}
}

// NewComponents computes the ratios. A ratio whose measures are missing, hidden,
// or divide by nought is missing, with a flag that says why.
func NewComponents(in Inputs) Components {
	var c Components
	for k, m := range [components][2]Measure{{Offers, SeekersIn}, {Exits, SeekersStock}, {Difficult, Projects}} {
		for _, m := range m {
			if in[m].HiddenRows > 0 {
				c.flag(Confidential)
			}
		}
		part, ok1 := in.get(m[0])
		whole, ok2 := in.get(m[1])
		switch {
		case !ok1 || !ok2:
		case whole == 0:
			c.flag(ZeroDenominator)
		case k == C3 && part > whole:
			c.flag(Incoherent)
		default:
			c.C[k], c.Have[k] = part/whole, true
		}
	}
	if hole, ok := in.get(DifficultHole); ok && c.Have[C3] && hole > 0 {
		high := math.Min(1, c.C[C3]+hole/in[Projects].Number)
		c.High = &high
	}
	return c
}

// Reference are the components of the occupations of the reference period: they
// say what is usual.
type Reference struct {
	Mean, SD [components]float64 // SD of the whole population: divided by n
	N        [components]int
	points   []Components
	cuts     map[[components]bool]cutting
}

type cutting struct {
	cuts     Cuts
	tied, ok bool
}

// NewReference takes one Components for each occupation and period of the
// reference.
func NewReference(points []Components) *Reference {
	r := &Reference{points: points, cuts: map[[components]bool]cutting{}}
	for k := range components {
		for _, p := range points {
			if p.Have[k] {
				r.N[k]++
				r.Mean[k] += (p.C[k] - r.Mean[k]) / float64(r.N[k])
			}
		}
		for _, p := range points {
			if p.Have[k] {
				d := p.C[k] - r.Mean[k]
				r.SD[k] += d * d / float64(r.N[k])
			}
		}
		r.SD[k] = math.Sqrt(r.SD[k])
		if r.SD[k] <= 1e-12*math.Abs(r.Mean[k]) { // rounding is not variance
			r.SD[k] = 0
		}
	}
	return r
}

// Score is the index of one occupation.
type Score struct {
	Z       [components]float64
	Have    [components]bool
	Weights [components]float64 // those that were used: 0 for what is missing, together 1
	T       float64
	OK      bool // there is an index: one component at least
	Flags   []Flag
}

// Score standardises and weighs. A component that is missing, or that does not
// vary in the reference, is left out, and the others' weights grow in proportion.
func (r *Reference) Score(c Components) Score {
	s := Score{Flags: slices.Clone(c.Flags)}
	total := 0.0
	for k := range components {
		switch {
		case !c.Have[k]:
		case r.N[k] == 0:
			s.Flags = append(s.Flags, NoReference)
		case r.SD[k] == 0:
			s.Flags = append(s.Flags, ZeroVariance)
		default:
			s.Z[k], s.Have[k] = (c.C[k]-r.Mean[k])/r.SD[k], true
			total += Weights[k]
		}
	}
	s.Flags = compact(s.Flags)
	if total == 0 {
		s.Flags = append(s.Flags, NothingKnown)
		return s
	}
	s.OK = true
	for k := range components {
		if s.Have[k] {
			s.Weights[k] = Weights[k] / total
			s.T += s.Weights[k] * s.Z[k]
		}
	}
	if s.Have != [components]bool{true, true, true} {
		s.Flags = append(s.Flags, Partial)
	}
	return s
}

// Cuts are the reference quintiles of the index when it is made of these
// components: a partial index is compared with indices that are partial in the
// same way, for it varies more than a whole one.
func (r *Reference) Cuts(have [components]bool) (cuts Cuts, tied, ok bool) {
	c, known := r.cuts[have]
	if !known {
		var values []float64
		for _, p := range r.points {
			only := Components{C: p.C, Have: have}
			whole := true
			for k := range components {
				whole = whole && (!have[k] || p.Have[k])
			}
			if s := r.Score(only); whole && s.OK {
				values = append(values, s.T)
			}
		}
		c.cuts, c.tied, c.ok = Quintiles(values)
		r.cuts[have] = c
	}
	return c.cuts, c.tied, c.ok
}

// Minimum counts below which an occupation gets no class; nil: not configured,
// and then nothing is withheld.
type Minimum struct {
	Offers   *int `json:"offers"`
	Seekers  *int `json:"seekers"`
	Projects *int `json:"projects"`
}

// Configured says whether there is a minimum at all.
func (m Minimum) Configured() bool { return m.Offers != nil || m.Seekers != nil || m.Projects != nil }

// Enough says whether the counts that the present components rest on reach the
// minimum. What a missing component would rest on is not asked for.
func (m Minimum) Enough(in Inputs, have [components]bool) bool {
	for _, x := range []struct {
		least *int
		of    Measure
		k     int
	}{{m.Offers, Offers, C1}, {m.Seekers, SeekersIn, C1}, {m.Seekers, SeekersStock, C2}, {m.Projects, Projects, C3}} {
		if n, _ := in.get(x.of); have[x.k] && x.least != nil && n < float64(*x.least) {
			return false
		}
	}
	return true
}

// Complementary indicators, in this order everywhere (DARES).
var Complementary = [...]string{"intensity", "conditions", "nondurable", "workforce", "training", "geography"}

// NewComplementary computes the six from whatever is given; Have says which there
// are. duncan is nil when the distribution over places is not known. Higher makes
// for more tension.
func NewComplementary(in Inputs, duncan *float64) (values [len(Complementary)]*float64) {
	set := func(i int, v float64) { values[i] = &v }
	ratio := func(a, b Measure) (float64, bool) {
		x, ok1 := in.get(a)
		y, ok2 := in.get(b)
		return x / y, ok1 && ok2 && y != 0
	}
	offers, ok1 := in.get(Offers)
	projects, ok2 := in.get(Projects)
	if e, ok := in.get(Employment); ok && e != 0 && ok1 && ok2 {
		set(0, (offers+projects)/e)
	}
	if v, ok := in.get(Conditions); ok {
		set(1, v)
	}
	// The weights of the three shares are not published: they weigh the same here,
	// and so do those that there are. The opposite of the mean is taken from 1.
	sum, n := 0.0, 0
	for _, r := range [][2]Measure{{Durable, Offers}, {FullTime, Offers}, {Seasonal, Projects}} {
		share, ok := ratio(r[0], r[1])
		if !ok || share > 1 {
			continue
		}
		if r[0] == Seasonal {
			share = 1 - share
		}
		sum, n = sum+share, n+1
	}
	if n > 0 {
		set(2, 1-sum/float64(n))
	}
	if v, ok := ratio(SeekersA, Employment); ok {
		set(3, -v)
	}
	if v, ok := in.get(TrainingLink); ok {
		set(4, v)
	}
	values[5] = duncan
	return values
}

// Duncan is the index of dissimilarity of Duncan and Duncan between offers and
// seekers over places: half the sum of |o_i/O - d_i/D|, from 0 (the same
// everywhere) to 1 (nowhere together). False when there is no offer or no seeker,
// or the lists differ in length.
func Duncan(offers, seekers []float64) (float64, bool) {
	if len(offers) != len(seekers) {
		return 0, false
	}
	var o, d float64
	for i := range offers {
		o, d = o+offers[i], d+seekers[i]
	}
	if !(o > 0) || !(d > 0) || math.IsInf(o, 0) || math.IsInf(d, 0) {
		return 0, false
	}
	sum := 0.0
	for i := range offers {
		sum += math.Abs(offers[i]/o - seekers[i]/d)
	}
	return sum / 2, true
}

func compact(flags []Flag) []Flag {
	slices.Sort(flags)
	return slices.Compact(flags)
}

// Text says what a flag means, in French ("fr") or Arabic ("ar").
func (f Flag) Text(lang string) string {
	t, ok := flagTexts[f]
	if !ok {
		return string(f)
	}
	if lang == "ar" {
		return t[1]
	}
	return t[0]
}

var flagTexts = map[Flag][2]string{
	Partial:          {"une composante manque : le poids des autres est augmenté en proportion", "ينقص أحد المكوّنات: زيد وزن المكوّنات الأخرى بالتناسب"},
	Confidential:     {"une partie des chiffres est confidentielle chez le producteur et comptée pour zéro", "جزء من الأرقام سرّي لدى المنتج وحُسب صفرا"},
	ZeroDenominator:  {"un dénominateur est nul : la composante n'est pas calculée", "مقام يساوي صفرا: لا يُحسب المكوّن"},
	Incoherent:       {"une partie dépasse son total : la composante n'est pas calculée", "جزء يفوق مجموعه: لا يُحسب المكوّن"},
	ZeroVariance:     {"une composante ne varie pas dans la période de référence : elle est laissée de côté", "مكوّن لا يتغير في الفترة المرجعية: تُرك جانبا"},
	NoReference:      {"une composante est absente de la période de référence : elle est laissée de côté", "مكوّن غائب عن الفترة المرجعية: تُرك جانبا"},
	TooFew:           {"effectifs sous le minimum configuré : pas de classe", "الأعداد دون الحد الأدنى المضبوط: لا صنف"},
	NoCuts:           {"moins de cinq métiers dans la référence, ou tous égaux : pas de classe", "أقل من خمس مهن في المرجع، أو كلها متساوية: لا صنف"},
	TiedCuts:         {"des métiers sont ex æquo : les cinq classes ne sont pas de même taille", "مهن متعادلة: الأصناف الخمسة ليست بالحجم نفسه"},
	Spread:           {"effectifs répartis entre métiers par la table de passage (parts égales sauf poids donnés)", "وُزعت الأعداد بين المهن حسب جدول التحويل (حصص متساوية ما لم تُعط أوزان)"},
	Annual:           {"le trimestre reprend l'enquête annuelle auprès des employeurs", "أُخذت للثلاثي نتائج الاستقصاء السنوي لدى المشغّلين"},
	SeveralSources:   {"deux sources donnent la même mesure : la dernière importée est retenue", "مصدران يعطيان المقياس نفسه: اعتُمد آخر ما وُرّد"},
	NoClass:          {"le producteur publie un indice sans classe (emploi trop faible)", "ينشر المنتج مؤشرا دون صنف (عدد المشتغلين ضعيف)"},
	NothingKnown:     {"aucune composante : pas d'indice", "لا مكوّن متوفر: لا مؤشر"},
	ProvisionalRef:   {"années de référence à configurer, ou sans données : toutes les périodes connues servent de référence", "سنوات المرجع تحتاج إلى ضبط أو لا معطيات لها: اعتُمدت كل الفترات المعروفة مرجعا"},
	NoMinimum:        {"effectifs minimaux à configurer : aucun n'est appliqué", "الحد الأدنى للأعداد يحتاج إلى ضبط: لا يُطبّق أي حد"},
	PublishedDiffers: {"la classe publiée n'est pas celle de nos bornes", "الصنف المنشور ليس صنف حدودنا"},
}

// number is a decimal of at most 18 digits before and 20 after the point, so that
// nothing that is read can grow without bound.
func number(text string) (decimal.Decimal, error) {
	if !numberForm.MatchString(text) {
		return decimal.Decimal{}, fmt.Errorf("%q is not a number", clip(text))
	}
	return decimal.NewFromString(text)
}
