package matching

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"masar.local/pkg/reference"
)

// The fairness report compares, group by group, how many of those who could be
// selected were. It is computed after a selection and read by people; nothing
// that selects can see it or what it is made from (fairness_reach_test.go proves
// it). It says how large a difference is and how far chance could explain it; it
// does not say why there is one.

// Groups are the groups that a person belongs to, as codes; "" is not stated.
type Groups struct {
	Sex         string `bson:"sex"`         // "F" or "M"
	Governorate string `bson:"governorate"` // ISO 3166-2
	Diploma     string `bson:"diploma"`     // code of reference.Diplomas
}

// Attributes of people by which the report compares them.
const (
	BySex         = "sex"
	ByGovernorate = "governorate"
	ByDiploma     = "diploma_level"
)

// DefaultSmallest is the number of people below which a cell of the report is
// hidden. Source: DOMAIN §2, "suppress cells <5", to be confirmed with the data
// protection authority.
const DefaultSmallest = 5

// fourFifths is the ratio of selection rates below which the four-fifths rule
// asks for a look. Source: Uniform Guidelines on Employee Selection Procedures,
// 29 CFR 1607.4(D). It is a rule of thumb of another country's law and is given as
// information only.
const fourFifths = 0.8

// referenceShare is the share of the pool that a group must have to be the one
// that others are compared with: the best of many groups is otherwise the one
// that a few lucky people make up. Source: 29 CFR 1607.15(A)(2)(a), 2 %.
const referenceShare = 0.02

// FairnessOptions are the choices of who asks for a report.
type FairnessOptions struct {
	Smallest  int               // cells below are hidden, 3 or more; 0: DefaultSmallest, 1: nothing is hidden
	Reference map[string]string // by attribute, the code of the group to compare with; none: the best
}

// FairnessReport compares the groups of a pool of people.
type FairnessReport struct {
	Eligible   HiddenCount   `json:"eligible"` // who could be selected
	Selected   HiddenCount   `json:"selected"` // who was
	Smallest   int           `json:"smallest_cell"`
	Confidence float64       `json:"confidence"` // of every interval
	MethodFR   string        `json:"method_fr"`
	MethodAR   string        `json:"method_ar"`
	ReasonFR   string        `json:"reason_fr"`
	ReasonAR   string        `json:"reason_ar"`
	Cuts       []FairnessCut `json:"cuts"` // by sex, governorate, diploma level; none when the pool is too small
}

// HiddenCount is a number of people, or, where the number itself would be one
// cell too small, the bounds within which it lies.
type HiddenCount struct {
	Min int `json:"min"`
	Max int `json:"max"` // the same as min when the number is shown
}

func (c HiddenCount) exact() bool { return c.Min == c.Max }

// FairnessCut compares the groups of one attribute.
type FairnessCut struct {
	Attribute string         `json:"attribute"`
	LabelFR   string         `json:"label_fr"`
	LabelAR   string         `json:"label_ar"`
	ReasonFR  string         `json:"reason_fr"`
	ReasonAR  string         `json:"reason_ar"`
	Lines     []FairnessLine `json:"lines"`
}

// FairnessLine is one group, or several that are too small to be shown alone.
type FairnessLine struct {
	Codes    []string    `json:"codes"` // none: those of whom it is not stated
	LabelFR  string      `json:"label_fr"`
	LabelAR  string      `json:"label_ar"`
	Eligible int         `json:"eligible"`
	Selected HiddenCount `json:"selected"`
	Rate     Estimate    `json:"rate"` // selected / eligible
	// Ratio is the rate divided by that of the reference; null for the reference,
	// for those of whom it is not stated, and when nothing can be compared.
	Ratio     *Estimate `json:"ratio"`
	Reference bool      `json:"reference"`
	// FourFifths is "below" or "met" when the ratio is below 0.8 or not, "unclear"
	// when hidden numbers leave both possible, "" when there is no ratio.
	FourFifths string `json:"four_fifths"`
	ReasonFR   string `json:"reason_fr"`
	ReasonAR   string `json:"reason_ar"`
}

// Estimate is a rate or a ratio of rates with its confidence interval. Where
// numbers are hidden the interval covers all that they can be.
type Estimate struct {
	Value *float64 `json:"value"` // null when a number is hidden
	Low   float64  `json:"low"`
	High  *float64 `json:"high"` // null: no bound
}

// fairnessAttribute is how one attribute is cut into groups, in an order in which
// neighbours have something in common.
type fairnessAttribute struct {
	name   string
	label  Text
	groups []labelledGroup
	of     func(Groups) string // the code, "" when not stated or not known
}

type labelledGroup struct {
	code  string
	label Text
}

var fairnessAttributes = sync.OnceValue(func() []fairnessAttribute {
	sex := fairnessAttribute{
		name: BySex, label: Text{"sexe", "الجنس"},
		groups: []labelledGroup{{"F", Text{"Femmes", "النساء"}}, {"M", Text{"Hommes", "الرجال"}}},
		of:     func(g Groups) string { return g.Sex },
	}
	// Codes run by region: 71 to 73 are the south-west, 81 to 83 the south-east.
	governorate := fairnessAttribute{
		name: ByGovernorate, label: Text{"gouvernorat de résidence", "ولاية الإقامة"},
		of: func(g Groups) string { return g.Governorate },
	}
	for _, g := range reference.Governorates() {
		governorate.groups = append(governorate.groups, labelledGroup{g.Code, Text{g.LabelFR, g.LabelAR}})
	}
	diploma := fairnessAttribute{
		name: ByDiploma, label: Text{"niveau de diplôme", "مستوى الشهادة"},
		of: func(g Groups) string {
			if level, ok := reference.DiplomaLevel(g.Diploma); ok && g.Diploma != "" {
				return strconv.Itoa(level)
			}
			return ""
		},
	}
	for _, d := range reference.Diplomas() { // lowest level first; the first names its level
		code := strconv.Itoa(d.Level)
		if n := len(diploma.groups); n == 0 || diploma.groups[n-1].code != code {
			diploma.groups = append(diploma.groups, labelledGroup{code, Text{
				fmt.Sprintf("%s (niveau %d)", d.LabelFR, d.Level),
				fmt.Sprintf("%s (المستوى %s)", d.LabelAR, isolate(code)),
			}})
		}
	}
	all := []fairnessAttribute{sex, governorate, diploma}
	for i := range all {
		of, groups := all[i].of, all[i].groups
		all[i].of = func(g Groups) string {
			code := of(g)
			if slices.ContainsFunc(groups, func(l labelledGroup) bool { return l.code == code }) {
				return code
			}
			return ""
		}
	}
	return all
})

// ErrFairnessPool is wrapped by the error of a pool that is none: somebody is in it
// twice, or is selected without being in it.
var ErrFairnessPool = errors.New("not a pool of people and a selection of it")

// Fairness compares selection rates by group. Eligible are the ids of everybody
// who could be selected, selected of those who were; groups says which groups a
// person belongs to. The error wraps ErrFairnessPool.
//
// Small cells are hidden as follows, so that nothing that is shown, nor the
// totals, nor the knowledge of this very rule, gives away a hidden number
// (fairness_attack_test.go tries):
//
// Groups with fewer than Smallest people in the pool are put together with their
// neighbours in the order of the reference list, until a line has so many
// (gatherGroups).
//
// The number selected of a line is shown as bounds when it, or the rest of the
// line, is below Smallest; and so are as many other lines as it takes that the
// total does not narrow these bounds (concealSelected). Bounds are given rather
// than nothing, for what must not be hidden is that a group was left out: "0 to 4
// of 40 women, 26 to 30 of 60 men" shows that.
//
// Reports of two pools that differ in one person can still be subtracted from
// each other: give reports of whole campaigns, not of lists that the asker
// composes.
func Fairness(selected, eligible []string, groups func(id string) Groups, o FairnessOptions) (FairnessReport, error) {
	if o.Smallest == 0 {
		o.Smallest = DefaultSmallest
	}
	r := FairnessReport{Smallest: o.Smallest, Confidence: 0.95, Cuts: []FairnessCut{}}
	r.MethodFR, r.MethodAR = fairnessFill(fairnessTexts["method"], "{n}", strconv.Itoa(o.Smallest))
	in := make(map[string]bool, len(eligible)) // eligible, and then whether selected
	for _, id := range eligible {
		if _, twice := in[id]; twice {
			return r, fmt.Errorf("%w: somebody is eligible twice", ErrFairnessPool)
		}
		in[id] = false
	}
	for _, id := range selected {
		if was, ok := in[id]; !ok || was {
			return r, fmt.Errorf("%w: somebody is selected twice, or is not eligible", ErrFairnessPool)
		}
		in[id] = true
	}
	all := headcount{len(eligible), len(selected)}
	r.Eligible, r.Selected = HiddenCount{all.eligible, all.eligible}, all.hide(o.Smallest)
	if all.eligible < o.Smallest {
		r.Eligible = HiddenCount{0, o.Smallest - 1}
		r.Selected = r.Eligible
		r.ReasonFR, r.ReasonAR = fairnessFill(fairnessTexts["too_few"], "{n}", strconv.Itoa(o.Smallest))
		return r, nil
	}
	r.ReasonFR, r.ReasonAR = fairnessFill(fairnessTexts["reading"])
	alike := map[Groups]headcount{} // there are far fewer kinds of people than people
	for _, id := range eligible {
		g := groups(id)
		c := alike[g].plus(headcount{eligible: 1})
		if in[id] {
			c.selected++
		}
		alike[g] = c
	}
	for _, a := range fairnessAttributes() {
		counts := map[string]headcount{}
		for g, c := range alike {
			counts[a.of(g)] = counts[a.of(g)].plus(c)
		}
		r.Cuts = append(r.Cuts, a.cut(counts, all, o))
	}
	return r, nil
}

// headcount counts people.
type headcount struct{ eligible, selected int }

func (t headcount) plus(o headcount) headcount {
	return headcount{t.eligible + o.eligible, t.selected + o.selected}
}

// hide gives the number selected as it may be shown on its own.
func (t headcount) hide(smallest int) HiddenCount {
	switch {
	case smallest <= 1:
	case t.eligible < 2*smallest: // whatever is selected, it or the rest may be too small
		return HiddenCount{0, t.eligible}
	case t.selected < smallest:
		return HiddenCount{0, smallest - 1}
	case t.eligible-t.selected < smallest:
		return HiddenCount{t.eligible - smallest + 1, t.eligible}
	}
	return HiddenCount{t.selected, t.selected}
}

// gatherGroups puts groups that are too small together with the next ones, until
// they are enough; what is left at the end goes to the line before. A line is a
// stretch of the order: groups with nobody are in it where they lie between
// others, so that who is nobody is not told. Nil when all together are too few.
func gatherGroups(order []string, counts map[string]headcount, smallest int) (lines [][]string) {
	type stretch struct{ first, last int }
	var whole []stretch
	first, last, people := -1, -1, 0
	for i, code := range order {
		n := counts[code].eligible
		if n == 0 {
			continue
		}
		if last = i; first < 0 {
			first = i
		}
		if people += n; people >= smallest {
			whole, first, people = append(whole, stretch{first, last}), -1, 0
		}
	}
	if len(whole) > 0 && people > 0 {
		whole[len(whole)-1].last = last
	}
	for _, w := range whole {
		lines = append(lines, order[w.first:w.last+1])
	}
	return lines
}

// concealSelected gives for each line the number selected as it may be shown
// beside the others and their total.
//
// The two largest lines have a part of their own. The largest is what remains of
// the total and is shown as that. Of what the second can have, as the others are
// shown, the first and the last few values are not told apart: these are those at
// which it, or the largest, is too small, or which would leave so little, or so
// much, to all others that their bounds would be narrowed. When it can have only a
// few values at all, or when hardly anybody or nearly everybody is selected, no
// line is told.
//
// So whoever knows how it is done finds that other values of a hidden number would
// have looked the same.
func concealSelected(lines []headcount, total HiddenCount, smallest int) []HiddenCount {
	all := 0
	own := make([]HiddenCount, len(lines))
	bySize := make([]int, len(lines)) // largest first; of equals, the first
	for i, l := range lines {
		own[i], bySize[i] = l.hide(smallest), i
		all += l.eligible
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return lines[b].eligible - lines[a].eligible })
	switch {
	case smallest <= 1:
		return own
	case !total.exact():
		return narrowBounds(own, total) // nobody knows what they add up to
	case len(lines) < 2:
		return slices.Repeat([]HiddenCount{total}, len(lines))
	}
	untold := make([]HiddenCount, len(lines))
	for i, l := range lines {
		untold[i] = HiddenCount{0, l.eligible}
	}
	untold = narrowBounds(untold, total)
	if min(total.Max, all-total.Max) < 2*smallest {
		return untold
	}
	// What the second line can have, given all others as they are shown.
	var others HiddenCount
	for _, i := range bySize[2:] {
		others.Min, others.Max = others.Min+own[i].Min, others.Max+own[i].Max
	}
	bounds := slices.Clone(own)
	first, second := bySize[0], bySize[1]
	bounds[first] = untold[first]
	least := max(0, total.Max-lines[first].eligible-others.Max)
	most := min(lines[second].eligible, total.Max-others.Min)
	if most-least+1 < min(smallest, lines[second].eligible+1) {
		return untold
	}
	switch n := lines[second].selected; {
	case most-least+1 < 2*smallest: // both ends are one
		bounds[second] = HiddenCount{least, most}
	case n < least+smallest:
		bounds[second] = HiddenCount{least, least + smallest - 1}
	case n > most-smallest:
		bounds[second] = HiddenCount{most - smallest + 1, most}
	default:
		bounds[second] = HiddenCount{n, n}
	}
	return narrowBounds(bounds, total)
}

// narrowBounds works out from bounds and the bounds of their sum what each can be.
func narrowBounds(bounds []HiddenCount, total HiddenCount) []HiddenCount {
	var sum HiddenCount
	for _, b := range bounds {
		sum.Min, sum.Max = sum.Min+b.Min, sum.Max+b.Max
	}
	out := make([]HiddenCount, len(bounds))
	for i, b := range bounds {
		out[i] = HiddenCount{max(b.Min, total.Min-(sum.Max-b.Max)), min(b.Max, total.Max-(sum.Min-b.Min))}
	}
	return out
}

// lines are the lines of a table: the groups of each, in order, and their people.
// The last has no group: those of whom it is not stated, which says how good the
// data is, and with them all others when they are too few for a line.
func (a fairnessAttribute) lines(counts map[string]headcount, smallest int) (codes [][]string, people []headcount) {
	var order []string
	var rest headcount
	for _, g := range a.groups {
		order = append(order, g.code)
	}
	for _, c := range counts {
		rest = rest.plus(c)
	}
	codes = gatherGroups(order, counts, smallest)
	for _, line := range codes {
		var sum headcount
		for _, code := range line {
			sum = sum.plus(counts[code])
		}
		people = append(people, sum)
		rest = headcount{rest.eligible - sum.eligible, rest.selected - sum.selected}
	}
	if rest.eligible > 0 {
		codes, people = append(codes, []string{}), append(people, rest)
	}
	return codes, people
}

// cut makes the table of one attribute. Of the numbers selected, only what
// concealSelected lets through goes into it.
func (a fairnessAttribute) cut(counts map[string]headcount, all headcount, o FairnessOptions) FairnessCut {
	out := FairnessCut{Attribute: a.name, LabelFR: a.label.FR, LabelAR: a.label.AR, Lines: []FairnessLine{}}
	lines, people := a.lines(counts, o.Smallest)
	for i, codes := range lines {
		var fr, ar []string
		for _, g := range a.groups {
			if slices.Contains(codes, g.code) {
				fr, ar = append(fr, g.label.FR), append(ar, g.label.AR)
			}
		}
		if len(codes) == 0 {
			fr, ar = []string{fairnessTexts["not_stated"].FR}, []string{fairnessTexts["not_stated"].AR}
		}
		out.Lines = append(out.Lines, FairnessLine{
			Codes: codes, LabelFR: strings.Join(fr, ", "), LabelAR: strings.Join(ar, "، "), Eligible: people[i].eligible,
		})
	}
	shown := concealSelected(people, all.hide(o.Smallest), o.Smallest)
	for i := range shown {
		l := &out.Lines[i]
		l.Selected = shown[i]
		low, _ := wilson(shown[i].Min, l.Eligible)
		_, high := wilson(shown[i].Max, l.Eligible)
		l.Rate = *rateEstimate(selectionRate(shown[i].Min, l.Eligible), selectionRate(shown[i].Max, l.Eligible), low, high)
	}
	a.compare(&out, all, o)
	return out
}

// compare fills in the ratios and says what they mean.
func (a fairnessAttribute) compare(c *FairnessCut, all headcount, o FairnessOptions) {
	best, groups := -1, 0
	given := o.Reference[a.name]
	for i := range c.Lines {
		l := &c.Lines[i]
		if len(l.Codes) == 0 {
			continue
		}
		groups++
		switch {
		case l.Selected.Min == 0:
		case given != "":
			if slices.Contains(l.Codes, given) {
				best = i
			}
		case float64(l.Eligible) < referenceShare*float64(all.eligible):
		case best < 0 || selectionRate(l.Selected.Min, l.Eligible) > selectionRate(c.Lines[best].Selected.Min, c.Lines[best].Eligible):
			best = i
		}
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		what := fairnessTexts["line_plain"]
		if !l.Selected.exact() {
			what = fairnessTexts["line_hidden"]
		}
		verdict := Text{}
		switch {
		case len(l.Codes) == 0:
			verdict = fairnessTexts["line_not_stated"]
		case best < 0 || groups < 2:
		case i == best && given != "":
			l.Reference, verdict = true, fairnessTexts["line_chosen"]
		case i == best:
			l.Reference, verdict = true, fairnessTexts["line_best"]
		default:
			verdict = l.against(&c.Lines[best])
			ratio := fairnessTexts["ratio"]
			if l.Ratio.Value == nil {
				ratio = fairnessTexts["ratio_hidden"]
			}
			verdict = Text{sentences(ratio.FR, verdict.FR), sentences(ratio.AR, verdict.AR)}
		}
		l.ReasonFR, l.ReasonAR = fairnessFill(Text{sentences(what.FR, verdict.FR), sentences(what.AR, verdict.AR)}, l.figures()...)
	}
	key, reference := "cut_compared", Text{}
	switch {
	case groups == 0:
		key = "cut_nobody"
	case groups == 1:
		key = "cut_one"
	case best < 0:
		key = "cut_no_reference"
	default:
		reference = Text{c.Lines[best].LabelFR, c.Lines[best].LabelAR}
	}
	c.ReasonFR, c.ReasonAR = fairnessFill(fairnessTexts[key], "{n}", strconv.Itoa(groups-1))
	c.ReasonFR = strings.ReplaceAll(c.ReasonFR, "{reference}", reference.FR)
	c.ReasonAR = strings.ReplaceAll(c.ReasonAR, "{reference}", reference.AR)
}

// against compares a line with the reference and says what the ratio means.
func (l *FairnessLine) against(ref *FairnessLine) Text {
	s, r := l.Selected, ref.Selected
	low, _ := koopman(s.Min, l.Eligible, r.Max, ref.Eligible)
	_, high := koopman(s.Max, l.Eligible, r.Min, ref.Eligible)
	least, most := l.ratioTo(ref)
	l.Ratio = rateEstimate(least, most, low, high)
	certain := high < 1
	switch {
	case most < fourFifths:
		l.FourFifths = "below"
		if certain {
			return fairnessTexts["line_below"]
		}
		return fairnessTexts["line_below_chance"]
	case least < fourFifths:
		l.FourFifths = "unclear"
		return fairnessTexts["line_unclear"]
	}
	l.FourFifths = "met"
	if certain {
		return fairnessTexts["line_less"]
	}
	return fairnessTexts["line_met"]
}

// ratioTo gives what the ratio of a line's rate to that of the reference can be.
func (l *FairnessLine) ratioTo(ref *FairnessLine) (least, most float64) {
	return selectionRate(l.Selected.Min, l.Eligible) / selectionRate(ref.Selected.Max, ref.Eligible),
		selectionRate(l.Selected.Max, l.Eligible) / selectionRate(ref.Selected.Min, ref.Eligible)
}

func selectionRate(selected, eligible int) float64 { return float64(selected) / float64(eligible) }

// rateEstimate makes an estimate; least and most are what the point can be.
func rateEstimate(least, most, low, high float64) *Estimate {
	e := &Estimate{Low: fourDigits(low)}
	if least == most {
		v := fourDigits(least)
		e.Value = &v
	}
	if !math.IsInf(high, 1) {
		v := fourDigits(high)
		e.High = &v
	}
	return e
}

// fourDigits keeps four digits after the point: more would be noise.
func fourDigits(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// normal95 is the 97.5 % point of the normal distribution: intervals hold 95 %.
const normal95 = 1.959963984540054

// wilson gives the 95 % score interval of a rate. Source: Wilson, "Probable
// inference, the law of succession, and statistical inference", Journal of the
// American Statistical Association 22 (1927); recommended for small numbers by
// Brown, Cai and DasGupta, Statistical Science 16 (2001).
func wilson(selected, eligible int) (low, high float64) {
	n, p := float64(eligible), selectionRate(selected, eligible)
	middle := p + normal95*normal95/(2*n)
	half := normal95 * math.Sqrt(p*(1-p)/n+normal95*normal95/(4*n*n))
	low, high = (middle-half)/(1+normal95*normal95/n), (middle+half)/(1+normal95*normal95/n)
	if selected == 0 {
		low = 0
	}
	if selected == eligible {
		high = 1
	}
	return low, high
}

// koopman gives the 95 % score interval of the ratio of two rates, x of m to y of
// n: all ratios that a test does not refuse. high is infinite when y is 0. Unlike
// the interval of logarithms (Katz and others, 1978) it needs no added halves for
// small numbers. Source: Koopman, "Confidence intervals for the ratio of two
// binomial proportions", Biometrics 40 (1984); recommended by Fagerland, Lydersen
// and Laake, Statistical Methods in Medical Research 24 (2015).
func koopman(x, m, y, n int) (low, high float64) {
	// refused says whether a ratio is refused, with the rates that fit it best.
	refused := func(ratio float64) bool {
		fx, fm, fy, fn := float64(x), float64(m), float64(y), float64(n)
		a, b, c := (fm+fn)*ratio, fm*ratio+fx+fn+fy*ratio, fx+fy
		p := 2 * c / (b + math.Sqrt(max(0, b*b-4*a*c))) // of the second group, without cancellation
		q := min(1, ratio*p)
		off := fx/fm - ratio*fy/fn
		return off*off > normal95*normal95*(q*(1-q)/fm+ratio*ratio*p*(1-p)/fn)
	}
	// Between a ratio that is refused and one that is not, by halving.
	edge := func(out, in float64) float64 {
		for range 200 {
			if middle := math.Sqrt(out * in); refused(middle) {
				out = middle
			} else {
				in = middle
			}
		}
		return in
	}
	// A ratio that is not refused: what was observed, with halves where it is 0 or
	// infinite.
	inside := selectionRate(x, m) / selectionRate(y, n)
	if x == 0 || y == 0 {
		inside = (float64(x) + 0.5) / float64(m) / ((float64(y) + 0.5) / float64(n))
	}
	const far = 1e12
	high = math.Inf(1)
	if x > 0 {
		low = edge(inside/far, inside)
	}
	if y > 0 {
		high = edge(inside*far, inside)
	}
	return low, high
}

// figures are the figures of a line for its text.
func (l *FairnessLine) figures() []string {
	out := []string{
		"{eligible}", strconv.Itoa(l.Eligible), "{min}", strconv.Itoa(l.Selected.Min), "{max}", strconv.Itoa(l.Selected.Max),
		"{rate_low}", frenchPercent(l.Rate.Low), "{rate_high}", frenchPercent(*l.Rate.High),
	}
	if l.Rate.Value != nil {
		out = append(out, "{rate}", frenchPercent(*l.Rate.Value))
	}
	if l.Ratio != nil {
		out = append(out, "{low}", frenchDecimal(l.Ratio.Low))
		if l.Ratio.High != nil {
			out = append(out, "{high}", frenchDecimal(*l.Ratio.High))
		} else {
			out = append(out, "{high}", "∞")
		}
		if l.Ratio.Value != nil {
			out = append(out, "{ratio}", frenchDecimal(*l.Ratio.Value))
		}
	}
	return out
}

func frenchPercent(v float64) string {
	return strings.ReplaceAll(strconv.FormatFloat(100*v, 'f', 1, 64), ".", ",") + "\u00a0%"
}

func frenchDecimal(v float64) string {
	return strings.ReplaceAll(strconv.FormatFloat(v, 'f', 2, 64), ".", ",")
}

func sentences(a, b string) string {
	if b == "" {
		return a
	}
	return a + " " + b
}

// fairnessFill puts figures into a text; in Arabic each is isolated.
func fairnessFill(t Text, pairs ...string) (fr, ar string) {
	isolated := slices.Clone(pairs)
	for i := 1; i < len(isolated); i += 2 {
		isolated[i] = isolate(isolated[i])
	}
	return strings.NewReplacer(pairs...).Replace(t.FR), strings.NewReplacer(isolated...).Replace(t.AR)
}

// ParityVariant solves a selection again under the condition that at least so many of
// the members are placed, everything else as before; least 0 is no condition. Its
// error is ErrParityUnattainable when that cannot be. It is given ids and nothing else:
// it need not know what the members have in common.
type ParityVariant func(ctx context.Context, members []string, least int) (ParityOutcome, error)

// ParityOutcome is what a variant comes to.
type ParityOutcome struct {
	Placed  int   // people placed in all
	Members int   // of them members
	Score   int64 // total score
}

// ErrParityUnattainable is the error of a variant that has no solution.
var ErrParityUnattainable = errors.New("so many of the group cannot be placed")

// ParityPrice says what it would cost to place more people of one group: its
// share among those placed is raised point by point (hundredths of those placed
// today) towards its share in the pool.
type ParityPrice struct {
	Attribute string       `json:"attribute"`
	Code      string       `json:"code"`
	LabelFR   string       `json:"label_fr"`
	LabelAR   string       `json:"label_ar"`
	Placed    int          `json:"placed"`     // without any condition
	Share     float64      `json:"share"`      // of the group among those placed, without any condition
	PoolShare float64      `json:"pool_share"` // of the group in the pool: parity
	Steps     []ParityStep `json:"steps"`      // none when there is parity already
	ReasonFR  string       `json:"reason_fr"`
	ReasonAR  string       `json:"reason_ar"`
}

// ParityStep is the price of one more point.
type ParityStep struct {
	Points     int   `json:"points"`     // above the share without condition; the last may be less than a whole one
	Least      int   `json:"least"`      // people of the group that must be placed
	Attainable bool  `json:"attainable"` // false: no selection does that, and none further
	Placed     int   `json:"placed"`
	Lost       int   `json:"lost"`       // placements fewer than without condition
	ScoreLost  int64 `json:"score_lost"` // total score less than without condition
	// PerPoint is placements lost per point of parity, on average so far.
	PerPoint float64 `json:"lost_per_point"`
}

// Parity works out the price of parity for a group: at most so many points, and
// not beyond parity. pool is how many people could be placed.
//
// In a campaign whose only other limits are the posts, a floor for one group never
// costs a placement: the sets of people who can be placed together are the
// independent sets of a matroid (a transversal one: Edmonds and Fulkerson, 1965),
// and any of them grows to one of the greatest size. What it costs then is score.
// Placements are lost where quotas already bind, or preferences must stay stable.
func Parity(ctx context.Context, members []string, pool, points int, solve ParityVariant) (ParityPrice, error) {
	p := ParityPrice{Steps: []ParityStep{}}
	free, err := solve(ctx, members, 0)
	if err != nil {
		return p, fmt.Errorf("matching: the selection without a quota: %w", err)
	}
	p.Placed = free.Placed
	if free.Placed == 0 || pool == 0 {
		p.ReasonFR, p.ReasonAR = fairnessFill(fairnessTexts["price_nobody"])
		return p, nil
	}
	p.Share, p.PoolShare = fourDigits(selectionRate(free.Members, free.Placed)), fourDigits(selectionRate(len(members), pool))
	parity := (len(members)*free.Placed + pool - 1) / pool // people, rounded up
	for point := 1; point <= points; point++ {
		before := free.Members + ((point-1)*free.Placed+99)/100
		if before >= parity {
			break
		}
		step := ParityStep{Points: point, Least: min(parity, free.Members+(point*free.Placed+99)/100)}
		got, err := solve(ctx, members, step.Least)
		if errors.Is(err, ErrParityUnattainable) {
			p.Steps = append(p.Steps, step)
			break
		}
		if err != nil {
			return p, fmt.Errorf("matching: the selection with a quota of %d: %w", step.Least, err)
		}
		if got.Placed > free.Placed || got.Placed == free.Placed && got.Score > free.Score || got.Members < step.Least {
			return p, fmt.Errorf("matching: the selection with a quota of %d is not a variant of the one without: %+v and %+v",
				step.Least, got, free)
		}
		step.Attainable, step.Placed, step.Lost = true, got.Placed, free.Placed-got.Placed
		step.ScoreLost = free.Score - got.Score
		step.PerPoint = fourDigits(float64(step.Lost) / float64(point))
		p.Steps = append(p.Steps, step)
	}
	p.explain()
	return p, nil
}

// explain says what the steps come to.
func (p *ParityPrice) explain() {
	key, last := "price_parity", ParityStep{}
	if n := len(p.Steps); n > 0 {
		key = "price_free"
		last = p.Steps[n-1]
		if !last.Attainable {
			key = "price_none"
			if n > 1 {
				key, last = "price_until", p.Steps[n-2]
			}
		} else if last.Lost > 0 {
			key = "price_lost"
		}
	}
	p.ReasonFR, p.ReasonAR = fairnessFill(fairnessTexts[key],
		"{share}", frenchPercent(p.Share), "{pool}", frenchPercent(p.PoolShare), "{points}", strconv.Itoa(last.Points),
		"{lost}", strconv.Itoa(last.Lost), "{per}", frenchDecimal(last.PerPoint), "{score}", strconv.FormatInt(last.ScoreLost, 10))
}

// fairnessTexts are the sentences of the report, for people who steer a programme.
var fairnessTexts = map[string]Text{
	"method": {
		"Taux de sélection = personnes retenues / personnes éligibles. Intervalles de confiance à 95 % : Wilson pour un taux, Koopman pour un rapport de taux. " +
			"Les groupes de moins de {n} personnes sont réunis à leurs voisins ; un nombre de retenus (ou de non-retenus) inférieur à {n} est remplacé par une fourchette, et d'autres aussi quand le total le ferait connaître.",
		"نسبة الانتقاء = المقبولون / المؤهلون. مجالات الثقة بنسبة 95 % : ويلسون للنسبة، كوبمان لمعدّل النسبتين. " +
			"المجموعات التي يقل عددها عن {n} تُجمع مع مجاوريها، وكل عدد مقبولين (أو غير مقبولين) أقل من {n} يُعوَّض بمجال، وكذلك أعداد أخرى إذا كان المجموع يكشفه.",
	},
	"reading": {
		"Ce rapport informe : il n'entre dans aucun classement. Un écart se regarde de près ; il n'est pas, à lui seul, une preuve de discrimination, et son absence n'est pas une preuve d'égalité. Le seuil des quatre cinquièmes est un repère.",
		"هذا التقرير للإعلام فقط ولا يدخل في أي ترتيب. الفارق يستدعي التثبّت وليس وحده دليلا على التمييز، وغيابه ليس دليلا على المساواة. عتبة الأربعة أخماس مجرّد معيار.",
	},
	"too_few": {
		"Moins de {n} personnes éligibles : aucun chiffre n'est donné, pour ne désigner personne.",
		"عدد المؤهلين أقل من {n}: لا تُعطى أي أرقام حتى لا يُعرف أحد.",
	},
	"not_stated": {"Non renseigné, ou trop peu nombreux", "غير مصرّح به أو عدد قليل جدا"},

	"cut_compared": {
		"Comparaison à « {reference} » de chaque autre groupe (au nombre de {n}). Sur vingt comparaisons, une paraît nette par le seul hasard.",
		"مقارنة بقية المجموعات (عددها {n}) بمجموعة « {reference} ». من بين عشرين مقارنة تبدو واحدة واضحة بمحض الصدفة.",
	},
	"cut_one": {
		"Un seul groupe atteint l'effectif minimal : il n'y a rien à comparer.",
		"مجموعة واحدة فقط تبلغ العدد الأدنى: لا شيء للمقارنة.",
	},
	"cut_nobody": {
		"Cette information manque pour toutes les personnes : il n'y a rien à comparer.",
		"هذه المعلومة غير متوفّرة لأي شخص: لا شيء للمقارنة.",
	},
	"cut_no_reference": {
		"Aucun groupe ne peut servir de référence : trop peu de personnes, ou trop peu de retenus.",
		"لا توجد مجموعة تصلح مرجعا: العدد أو عدد المقبولين ضعيف جدا.",
	},

	"line_plain": {
		"{min} retenus sur {eligible} éligibles, soit {rate} (entre {rate_low} et {rate_high}).",
		"{min} مقبولون من {eligible} مؤهلين، أي {rate} (بين {rate_low} و{rate_high}).",
	},
	"line_hidden": {
		"Entre {min} et {max} retenus sur {eligible} éligibles : le nombre est masqué pour protéger les personnes.",
		"بين {min} و{max} مقبولين من {eligible} مؤهلين: العدد محجوب لحماية الأشخاص.",
	},
	"line_not_stated": {
		"L'information manque pour ces personnes : elles ne sont comparées à aucun groupe.",
		"المعلومة غير متوفّرة لهؤلاء الأشخاص: لا تتم مقارنتهم بأي مجموعة.",
	},
	"line_best": {
		"Groupe de référence : la part de retenus y est la plus forte parmi les groupes assez nombreux.",
		"المجموعة المرجعية: نسبة المقبولين فيها هي الأعلى بين المجموعات الكافية العدد.",
	},
	"line_chosen": {"Groupe de référence, choisi d'avance.", "المجموعة المرجعية، مختارة مسبقا."},
	"ratio": {
		"Rapport à la référence : {ratio} (entre {low} et {high}).",
		"المعدّل مقارنة بالمرجع: {ratio} (بين {low} و{high}).",
	},
	"ratio_hidden": {
		"Rapport à la référence : entre {low} et {high}.",
		"المعدّل مقارنة بالمرجع: بين {low} و{high}.",
	},
	"line_below": {
		"Moins des quatre cinquièmes, et le hasard l'explique mal : à examiner.",
		"أقل من أربعة أخماس، ويصعب تفسيره بالصدفة: يستدعي التثبّت.",
	},
	"line_below_chance": {
		"Moins des quatre cinquièmes, mais le hasard peut l'expliquer : les effectifs ne permettent pas de trancher.",
		"أقل من أربعة أخماس، لكن الصدفة قد تفسّره: الأعداد لا تسمح بالحسم.",
	},
	"line_unclear": {
		"Les nombres masqués ne permettent pas de dire si les quatre cinquièmes sont atteints.",
		"الأعداد المحجوبة لا تسمح بمعرفة بلوغ الأربعة أخماس.",
	},
	"line_less": {
		"Au-dessus des quatre cinquièmes ; l'écart est petit, mais le hasard l'explique mal.",
		"فوق الأربعة أخماس؛ الفارق صغير لكن يصعب تفسيره بالصدفة.",
	},
	"line_met": {
		"Pas d'écart marqué.",
		"لا فارق واضح.",
	},

	"price_nobody": {"Personne n'est placé : il n'y a rien à répartir.", "لم يقع إلحاق أحد: لا شيء للتوزيع."},
	"price_parity": {
		"Le groupe a {share} des placements et {pool} des personnes éligibles : la parité est atteinte sans quota.",
		"للمجموعة {share} من الإلحاقات و{pool} من المؤهلين: التكافؤ محقّق دون حصة.",
	},
	"price_free": {
		"Le groupe a {share} des placements et {pool} des personnes éligibles. Relever cette part de {points} pt ne coûte aucun placement ; le score total baisse de {score}.",
		"للمجموعة {share} من الإلحاقات و{pool} من المؤهلين. الرفع من هذه النسبة بـ{points} نقطة لا يكلّف أي إلحاق؛ المجموع العام ينخفض بـ{score}.",
	},
	"price_lost": {
		"Le groupe a {share} des placements et {pool} des personnes éligibles. Relever cette part de {points} pt coûte {lost} placements, soit {per} par point ; le score total baisse de {score}.",
		"للمجموعة {share} من الإلحاقات و{pool} من المؤهلين. الرفع من هذه النسبة بـ{points} نقطة يكلّف {lost} إلحاقات، أي {per} لكل نقطة؛ المجموع العام ينخفض بـ{score}.",
	},
	"price_until": {
		"Le groupe a {share} des placements et {pool} des personnes éligibles. Relever cette part jusqu'à {points} pt coûte {lost} placements, soit {per} par point ; au-delà, aucun choix des personnes et des postes ne le permet.",
		"للمجموعة {share} من الإلحاقات و{pool} من المؤهلين. الرفع من هذه النسبة إلى حد {points} نقطة يكلّف {lost} إلحاقات، أي {per} لكل نقطة؛ وبعد ذلك لا يسمح به أي اختيار.",
	},
	"price_none": {
		"Le groupe a {share} des placements et {pool} des personnes éligibles. Aucun choix des personnes et des postes n'en place davantage : il faut d'autres offres ou d'autres compétences, pas un quota.",
		"للمجموعة {share} من الإلحاقات و{pool} من المؤهلين. لا يوجد أي اختيار يلحق عددا أكبر منها: المطلوب عروض أو كفاءات أخرى وليس حصة.",
	},
}
