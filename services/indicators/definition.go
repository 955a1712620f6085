package indicators

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed definitions/*.yaml
var definitionFiles embed.FS

// Measure is how facts become a figure.
type Measure string

// The measures.
const (
	DistinctPeople Measure = "distinct_people" // people with at least one selected fact in the period
	Count          Measure = "count"           // selected facts in the period
	Sum            Measure = "sum"             // sum of a number of the selected facts in the period
	MedianDays     Measure = "median_days"     // median, and 90th percentile, of a duration of the selected facts in the period
	Stock          Measure = "stock"           // what is there at the end of the period
)

// Definition is one indicator, as in definitions/*.yaml. It is the single source
// of the figure, its metric and its documentation.
type Definition struct {
	Code    string `yaml:"code" json:"code"`
	Version int    `yaml:"version" json:"version"`
	LabelFR string `yaml:"label_fr" json:"label_fr"`
	LabelAR string `yaml:"label_ar" json:"label_ar"`
	LabelEN string `yaml:"label_en" json:"label_en"`
	// MeaningFR says in a sentence for its readers what is counted.
	MeaningFR string `yaml:"meaning_fr" json:"meaning_fr"`
	// Result is the position in the logframe: "OG", "OS" or a result's number.
	Result string `yaml:"result" json:"result"`
	// Unit is "people", "days", "offers", "posts", "decisions" ...
	Unit string `yaml:"unit" json:"unit"`
	// About is "people" when a figure stands for people, whose small cells are
	// hidden, and "offers" when it does not.
	About   string  `yaml:"about" json:"about"`
	Measure Measure `yaml:"measure" json:"measure"`
	// Of says what a measure adds up: for a stock "people" (each person once),
	// "subjects" (pathways, offers) or a number; for a sum or a median a number.
	Of     string `yaml:"of" json:"of,omitempty"`
	Select Select `yaml:"select" json:"select"`
	// Dimensions it can be cut by.
	Dimensions []string `yaml:"dimensions" json:"dimensions"`
	// From gives a dimension another code of the facts than its own: the stage of
	// a stay is the stage that was left.
	From   map[string]string `yaml:"from" json:"from,omitempty"`
	Grains []Grain           `yaml:"grains" json:"grains"`
	// Gauges are the cuts whose present values are metrics, beside the total.
	Gauges [][]string `yaml:"gauges" json:"gauges"`
	// Headline is the place on the front page, from 1; 0: not there.
	Headline int     `yaml:"headline" json:"headline,omitempty"`
	Target   *Target `yaml:"target" json:"target"`
	// TargetStatus says why there is no target: "à configurer".
	TargetStatus string   `yaml:"target_status" json:"target_status,omitempty"`
	Baseline     *float64 `yaml:"baseline" json:"baseline"`
	Source       string   `yaml:"source" json:"source"`
}

// Target is a value to be reached.
type Target struct {
	Value  float64 `yaml:"value" json:"value"`
	Source string  `yaml:"source" json:"source"`
}

// Select says which facts count.
type Select struct {
	// Kinds of facts, for every measure but a stock.
	Kinds []Kind `yaml:"kinds" json:"kinds,omitempty"`
	// For a stock: a subject is in it from an Enters or Changes fact on, as that
	// fact describes it, and out of it from a Leaves fact on; after that, only
	// another Enters fact brings it back.
	Enters  []Kind `yaml:"enters" json:"enters,omitempty"`
	Changes []Kind `yaml:"changes" json:"changes,omitempty"`
	Leaves  []Kind `yaml:"leaves" json:"leaves,omitempty"`
	// Where keeps what has one of the codes in each of the named dimensions.
	Where map[string][]string `yaml:"where" json:"where,omitempty"`
}

// All lists every kind that the selection looks at.
func (s Select) All() []Kind { return slices.Concat(s.Kinds, s.Enters, s.Changes, s.Leaves) }

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

// Embedded returns the indicators that are part of the program.
func Embedded() (Definitions, error) {
	return LoadDefinitions(definitionFiles, "definitions", Dimensions())
}

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
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a definition in YAML: %w", err)
	}
	if err := d.Check(dimensions); err != nil {
		return nil, err
	}
	return &d, nil
}

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
		"result": d.Result, "unit": d.Unit, "source": d.Source,
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
	if d.Target != nil && strings.TrimSpace(d.Target.Source) == "" {
		fault("target has no source")
	}
	d.checkMeasure(fault)
	d.checkSelect(fault, known)
	d.checkCuts(fault, known)
	return errors.Join(faults...)
}

func (d *Definition) checkMeasure(fault func(string, ...any)) {
	var of []string
	switch d.Measure {
	case DistinctPeople, Count:
		of = []string{""}
	case Sum:
		of = numbers
	case MedianDays:
		of = []string{StaySeconds}
	case Stock:
		of = append([]string{OfPeople, OfSubjects}, numbers...)
	default:
		fault("measure is %q, want %s, %s, %s, %s or %s", d.Measure, DistinctPeople, Count, Sum, MedianDays, Stock)
		return
	}
	if !slices.Contains(of, d.Of) {
		fault("of is %q, which a %s cannot be of; want one of %q", d.Of, d.Measure, of)
	}
}

func (d *Definition) checkSelect(fault func(string, ...any), known dimensionSet) {
	if d.Flow() {
		if len(d.Select.Kinds) == 0 || len(d.Select.All()) != len(d.Select.Kinds) {
			fault("select: a %s takes kinds, and neither enters, changes nor leaves", d.Measure)
		}
	} else if len(d.Select.Enters) == 0 || len(d.Select.Leaves) == 0 || len(d.Select.Kinds) > 0 {
		fault("select: a stock takes enters, changes and leaves, and no kinds")
	}
	seen := map[Kind]bool{}
	for _, k := range d.Select.All() {
		if !slices.Contains(kinds(), k) {
			fault("select: kind %q is not one of %q", k, kinds())
		}
		if seen[k] {
			fault("select: kind %q is named twice", k)
		}
		seen[k] = true
	}
	for name, codes := range d.Select.Where {
		dim, ok := known[name]
		if !ok {
			fault("select.where: dimension %q does not exist", name)
			continue
		}
		if len(codes) == 0 {
			fault("select.where: %s names no code", name)
		}
		for _, c := range codes {
			if dim.Clean(c) != c {
				fault("select.where: %s has no code %q", name, c)
			}
		}
	}
}

func (d *Definition) checkCuts(fault func(string, ...any), known dimensionSet) {
	for i, name := range d.Dimensions {
		if _, ok := known[name]; !ok {
			fault("dimensions: %q does not exist", name)
		}
		if slices.Index(d.Dimensions, name) != i {
			fault("dimensions: %q is named twice", name)
		}
	}
	for name, column := range d.From {
		if !slices.Contains(d.Dimensions, name) {
			fault("from: %q is not one of its dimensions", name)
		}
		if _, ok := known[column]; !ok {
			fault("from: %s is read from %q, which does not exist", name, column)
		}
	}
	if len(d.Grains) == 0 {
		fault("grains are missing")
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
