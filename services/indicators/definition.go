package indicators

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed definitions/*.yaml definitions/definitions.lock
var definitionFiles embed.FS

// Measure is how facts become a figure.
type Measure string

// The measures.
const (
	DistinctPeople    Measure = "distinct_people"    // people with at least one selected fact in the period
	DistinctEmployers Measure = "distinct_employers" // employers with at least one selected fact in the period
	Count             Measure = "count"              // selected facts in the period
	Sum               Measure = "sum"                // sum of a number of the selected facts in the period
	Ratio             Measure = "ratio"              // one of these four, divided by another
	MedianDays        Measure = "median_days"        // median, and 90th percentile, of a duration of the selected facts in the period
	Stock             Measure = "stock"              // what is there at the end of the period
)

// Definition is one indicator, as in definitions/*.yaml. It is the single source
// of the figure, its metric and its documentation.
type Definition struct {
	Code    string `yaml:"code" json:"code"`
	Version int    `yaml:"version" json:"version"`
	LabelFR string `yaml:"label_fr" json:"label_fr"`
	LabelAR string `yaml:"label_ar" json:"label_ar"`
	LabelEN string `yaml:"label_en" json:"label_en"`
	// MeaningFR and MeaningAR say in a sentence for its readers what is counted.
	MeaningFR string `yaml:"meaning_fr" json:"meaning_fr"`
	MeaningAR string `yaml:"meaning_ar" json:"meaning_ar"`
	// Result is the position in the logframe: "OG", "OS" or a result's number.
	Result string `yaml:"result" json:"result"`
	// Unit is "people", "days", "offers", "posts", "decisions", "share" ...
	Unit string `yaml:"unit" json:"unit"`
	// About is "people" when a figure stands for people, whose small cells are
	// hidden, and "offers" when it does not.
	About   string  `yaml:"about" json:"about"`
	Measure Measure `yaml:"measure" json:"measure"`
	// Of says what a measure adds up: for a stock "people" (each person once),
	// "subjects" (pathways, offers) or a number; for a sum or a median a number.
	Of string `yaml:"of" json:"of,omitempty"`
	// Select says which facts count; not of a ratio, whose two parts say it.
	Select `yaml:",inline"`
	// From gives a dimension another code of the facts than its own: the stage of
	// a stay is the stage that was left. Selectors read the facts' own codes.
	From map[string]string `yaml:"from" json:"from,omitempty"`
	// Numerator and Denominator are the parts of a ratio, and of nothing else.
	Numerator   *Part `yaml:"numerator" json:"numerator,omitempty"`
	Denominator *Part `yaml:"denominator" json:"denominator,omitempty"`
	// Dimensions it can be cut by. Each of them alone is a declared cut; Cuts are
	// those of several that are asked for often.
	Dimensions []string   `yaml:"dimensions" json:"dimensions"`
	Cuts       [][]string `yaml:"cuts" json:"cuts,omitempty"`
	// Grains it has; all of them where the file names none.
	Grains []Grain `yaml:"grains" json:"grains"`
	// Gauges are the cuts whose present values are metrics, beside the total.
	Gauges [][]string `yaml:"gauges" json:"gauges"`
	// Headline is the place on the front page, from 1; 0: not there.
	Headline int     `yaml:"headline" json:"headline,omitempty"`
	Target   *Target `yaml:"target" json:"target"`
	// TargetStatus says why there is no target: "à configurer".
	TargetStatus string      `yaml:"target_status" json:"target_status,omitempty"`
	Milestones   []Milestone `yaml:"milestones" json:"milestones"`
	Baseline     *Target     `yaml:"baseline" json:"baseline"`
	// Owner is who answers for the figure; Frequency is the grain at which it is
	// reported.
	Owner     string `yaml:"owner" json:"owner"`
	Frequency Grain  `yaml:"frequency" json:"frequency"`
	// GERF and SDG are candidate codes of the EU's results framework and of the
	// sustainable development goals, "à confirmer" until somebody has.
	GERF   string `yaml:"gerf" json:"gerf,omitempty"`
	SDG    string `yaml:"sdg" json:"sdg,omitempty"`
	Source string `yaml:"source" json:"source"`
	// Tests are small histories with the figures that they must give.
	Tests []DefinitionTest `yaml:"tests" json:"-"`
}

// Target is a value to be reached, or the one from which a programme starts.
type Target struct {
	Value  float64 `yaml:"value" json:"value"`
	Source string  `yaml:"source" json:"source"`
}

// Milestone is a value to be reached by a day.
type Milestone struct {
	Date   string  `yaml:"date" json:"date"` // YYYY-MM-DD
	Value  float64 `yaml:"value" json:"value"`
	Source string  `yaml:"source" json:"source"`
}

// Part is what one count of a definition is made of: the whole definition, or the
// numerator or the denominator of a ratio.
type Part struct {
	Measure Measure `yaml:"measure" json:"measure"`
	Of      string  `yaml:"of" json:"of,omitempty"`
	Select  `yaml:",inline"`
	From    map[string]string `yaml:"from" json:"from,omitempty"`
}

// due is the last milestone whose day has passed on the day today. A ratio or a
// median has none: no definition says whether more of it is better.
func (d *Definition) due(today string) (m Milestone, ok bool) {
	if d.Measure == Ratio || d.Measure == MedianDays {
		return m, false
	}
	for _, next := range d.Milestones { // by date
		if next.Date < today {
			m, ok = next, true
		}
	}
	return m, ok
}

// Parts are the counts that the definition is made of: the numerator and the
// denominator of a ratio, or one for any other measure.
func (d *Definition) Parts() []Part {
	if d.Measure == Ratio && d.Numerator != nil && d.Denominator != nil {
		return []Part{*d.Numerator, *d.Denominator}
	}
	return []Part{{Measure: d.Measure, Of: d.Of, Select: d.Select, From: d.From}}
}

// Kinds lists every kind of facts that the definition looks at, each once.
func (d *Definition) Kinds() (all []Kind) {
	for _, p := range d.Parts() {
		all = append(all, p.Select.Kinds()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Column is the code of the facts that a dimension is read from.
func (p Part) Column(dimension string) string {
	if c, ok := p.From[dimension]; ok {
		return c
	}
	return dimension
}

// Columns lists the codes of the facts that the definition needs, for its cuts and
// for its selectors, each once.
func (d *Definition) Columns() (all []string) {
	for _, p := range d.Parts() {
		for _, name := range d.Dimensions {
			all = append(all, p.Column(name))
		}
		all = append(all, p.Select.Names()...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return name == KindName })
}

// Column is the code of the facts that a dimension is read from.
func (d *Definition) Column(dimension string) string {
	if c, ok := d.From[dimension]; ok {
		return c
	}
	return dimension
}

// Flow says whether the figure counts what happened in a period; a stock counts
// what is there at its end.
func (d *Definition) Flow() bool { return d.Measure != Stock }

// Additive says whether the cells of any cut add up to the total.
func (d *Definition) Additive() bool {
	return d.Measure == Count || d.Measure == Sum || d.Measure == Stock && d.Of != OfPeople
}

// What a stock may add up, beside a number.
const (
	OfPeople   = "people"
	OfSubjects = "subjects"
)

// Whom a figure is about.
const (
	AboutPeople = "people"
	AboutOffers = "offers"
)

// Definitions is the set of indicators, in the order of the front page, then by
// code.
type Definitions []*Definition

// Get returns the definition with this code.
func (ds Definitions) Get(code string) (*Definition, bool) {
	for _, d := range ds {
		if d.Code == code {
			return d, true
		}
	}
	return nil, false
}

// Codes lists the codes.
func (ds Definitions) Codes() (codes []string) {
	for _, d := range ds {
		codes = append(codes, d.Code)
	}
	return codes
}

// Embedded returns the indicators that are part of the program. They are read
// once: nobody may change them.
func Embedded() (Definitions, error) {
	defs, err := ownDefinitions()
	return slices.Clone(defs), err
}

var ownDefinitions = sync.OnceValues(func() (Definitions, error) {
	return LoadDefinitions(definitionFiles, "definitions", Dimensions())
})

// LoadDefinitions reads and checks every *.yaml file of a directory. The error
// names every fault with its file.
func LoadDefinitions(fsys fs.FS, dir string, dimensions []Dimension) (Definitions, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	var all Definitions
	var faults []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			faults = append(faults, fmt.Errorf("definition file %s: %w", name, err))
			continue
		}
		d, err := ParseDefinition(data, dimensions)
		if err != nil {
			faults = append(faults, fmt.Errorf("definition file %s: %w", name, err))
			continue
		}
		if _, twice := all.Get(d.Code); twice {
			faults = append(faults, fmt.Errorf("definition file %s: indicator %s is defined twice", name, d.Code))
			continue
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Definition) int {
		place := func(d *Definition) int {
			if d.Headline == 0 {
				return len(names) + 1
			}
			return d.Headline
		}
		if c := place(a) - place(b); c != 0 {
			return c
		}
		return strings.Compare(a.Code, b.Code)
	})
	return all, errors.Join(faults...)
}

// ParseDefinition reads one definition from YAML, strictly, and checks it.
func ParseDefinition(data []byte, dimensions []Dimension) (*Definition, error) {
	var d Definition
	if len(data) > mostDefinitionBytes {
		return nil, fmt.Errorf("a definition of %d bytes is too long; at most %d", len(data), mostDefinitionBytes)
	}
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a definition in YAML: %w", err)
	}
	if len(d.Grains) == 0 {
		d.Grains = slices.Clone(Grains)
	}
	if err := d.Check(dimensions); err != nil {
		return nil, err
	}
	return &d, nil
}

// mostDefinitionBytes is the largest file of a definition, its tests included.
const mostDefinitionBytes = 64 << 10

var codeForm = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// Check says everything that is wrong with the definition.
func (d *Definition) Check(dimensions []Dimension) error {
	var faults []error
	fault := func(format string, a ...any) {
		faults = append(faults, fmt.Errorf("indicator %q: "+format, append([]any{d.Code}, a...)...))
	}
	known := newDimensionSet(dimensions)
	if !codeForm.MatchString(d.Code) {
		fault("code: want small letters, digits and single underscores, beginning with a letter")
	}
	if d.Version < 1 {
		fault("version is %d, want 1 or more", d.Version)
	}
	for name, text := range map[string]string{
		"label_fr": d.LabelFR, "label_ar": d.LabelAR, "label_en": d.LabelEN, "meaning_fr": d.MeaningFR,
		"meaning_ar": d.MeaningAR, "owner": d.Owner, "frequency": string(d.Frequency), "result": d.Result, "unit": d.Unit, "source": d.Source,
	} {
		if strings.TrimSpace(text) == "" {
			fault("%s is missing", name)
		}
	}
	if d.About != AboutPeople && d.About != AboutOffers {
		fault("about is %q, want %s or %s", d.About, AboutPeople, AboutOffers)
	}
	if d.Target == nil && d.TargetStatus == "" {
		fault(`target is null: say why in target_status ("à configurer")`)
	}
	checkValues("", d.Target, d.Baseline, d.Milestones, fault)
	if d.Measure == Ratio {
		d.checkRatio(fault, known)
	} else {
		if d.Numerator != nil || d.Denominator != nil {
			fault("numerator and denominator: only a %s has them", Ratio)
		}
		d.Parts()[0].check("", fault)
		d.checkFrom("", d.From, fault, known)
	}
	for _, err := range d.compile(dimensions) {
		fault("%w", err)
	}
	if d.About == AboutOffers && len(faults) == 0 && d.ofPeople() {
		fault("about is %s, and it counts events of people, whose small cells are hidden: want %s", AboutOffers, AboutPeople)
	}
	d.checkCuts(fault, known)
	return errors.Join(faults...)
}

// ofPeople says whether the definition looks at facts of somebody.
func (d *Definition) ofPeople() bool {
	return slices.ContainsFunc(d.Kinds(), func(k Kind) bool { return (&Fact{Kind: k}).aboutSomebody() })
}

func (d *Definition) checkRatio(fault func(string, ...any), known dimensionSet) {
	if d.Of != "" || len(d.Select.selectors()) > 0 || len(d.From) > 0 {
		fault("a %s takes numerator and denominator; of, select and from are theirs", Ratio)
	}
	for name, p := range map[string]*Part{"numerator": d.Numerator, "denominator": d.Denominator} {
		if p == nil {
			fault("%s is missing: a %s takes a numerator and a denominator", name, Ratio)
			continue
		}
		if !slices.Contains([]Measure{Count, DistinctPeople, DistinctEmployers, Sum}, p.Measure) {
			fault("%s: measure is %q, want %s, %s, %s or %s", name, p.Measure, Count, DistinctPeople, DistinctEmployers, Sum)
			continue
		}
		p.check(name+": ", fault)
		d.checkFrom(name+": ", p.From, fault, known)
	}
}

// check checks one part, which the faults begin with.
func (p Part) check(where string, fault func(string, ...any)) {
	var of []string
	switch p.Measure {
	case DistinctPeople, DistinctEmployers, Count:
		of = []string{""}
	case Sum:
		of = numbers
	case MedianDays:
		of = durations
	case Stock:
		of = append([]string{OfPeople, OfSubjects}, numbers...)
	default:
		fault("%smeasure is %q, want %s, %s, %s, %s, %s, %s or %s", where, p.Measure, DistinctPeople, DistinctEmployers, Count, Sum, Ratio, MedianDays, Stock)
		return
	}
	if !slices.Contains(of, p.Of) {
		fault("%sof is %q, which a %s cannot be of; want one of %q", where, p.Of, p.Measure, of)
	}
	if p.Measure == Stock {
		if p.Enters == nil || p.Leaves == nil || p.Facts != nil {
			fault("%sa stock takes enters, leaves and, if it has any, changes; and no select", where)
		}
	} else if p.Facts == nil || len(p.selectors()) != 1 {
		fault("%sa %s takes select, and neither enters, changes nor leaves", where, p.Measure)
	}
}

func (d *Definition) checkFrom(where string, from map[string]string, fault func(string, ...any), known dimensionSet) {
	for name, column := range from {
		if !slices.Contains(d.Dimensions, name) {
			fault("%sfrom: %q is not one of its dimensions", where, name)
		}
		if _, ok := known[column]; !ok {
			fault("%sfrom: %s is read from %q, which does not exist", where, name, column)
		}
	}
}

// compile makes the selectors ready.
func (d *Definition) compile(dimensions []Dimension) (faults []error) {
	all := map[string]*Selector{}
	for place, p := range map[string]*Part{"": {Select: d.Select}, "numerator.": d.Numerator, "denominator.": d.Denominator} {
		if p != nil {
			for name, s := range p.selectors() {
				all[place+name] = s
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(all[name].text) > mostSelectorBytes {
			faults = append(faults, fmt.Errorf("%s: %w", name, all[name].tooLong()))
		} else if err := all[name].compile(dimensions); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return faults
}

// reported are the grains at which an indicator may be reported.
var reported = []Grain{"day", "month", "quarter", "half_year", "year", "season"}

func (d *Definition) checkCuts(fault func(string, ...any), known dimensionSet) {
	for i, name := range d.Dimensions {
		if _, ok := known[name]; !ok {
			fault("dimensions: %q does not exist", name)
		}
		if slices.Index(d.Dimensions, name) != i {
			fault("dimensions: %q is named twice", name)
		}
	}
	for i, cut := range d.Cuts {
		if len(cut) < 2 {
			fault("cuts: number %d names %d dimensions, want two or more: each single one is declared already", i+1, len(cut))
		}
		for _, name := range cut {
			if !slices.Contains(d.Dimensions, name) {
				fault("cuts: %q is not one of its dimensions", name)
			}
		}
	}
	if d.Frequency != "" && (d.Frequency == All || !slices.Contains(reported, d.Frequency)) {
		fault("frequency: %q is not one of %q", d.Frequency, reported)
	}
	for _, g := range d.Grains {
		if !slices.Contains(Grains, g) {
			fault("grains: %q is not one of %q", g, Grains)
		}
	}
	for _, cut := range d.Gauges {
		if len(cut) == 0 {
			fault("gauges: an empty cut; the total is always a metric")
		}
		for _, name := range cut {
			if !slices.Contains(d.Dimensions, name) {
				fault("gauges: %q is not one of its dimensions", name)
			} else if known[name].Codes == nil {
				fault("gauges: %q has no closed list of codes, the number of series would have no bound", name)
			}
		}
	}
}
