package indicators

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed programme.yaml
var defaultProgramme []byte

// Programme is what the programme's managers decide: seasons, values to be
// reached, promised delays, and what makes a shortage. See programme.yaml.
type Programme struct {
	SeasonStarts string                     `yaml:"season_starts" json:"season_starts"` // "MM-DD"
	SeasonSource string                     `yaml:"season_source" json:"season_source"`
	Indicators   map[string]IndicatorValues `yaml:"indicators" json:"indicators"` // by code
	DelayBudgets []DelayBudget              `yaml:"delay_budgets" json:"delay_budgets"`
	Shortage     ShortageSettings           `yaml:"shortage" json:"shortage"`
}

// IndicatorValues replace those of a definition; what is nil stays.
type IndicatorValues struct {
	Target     *Target     `yaml:"target" json:"target,omitempty"`
	Baseline   *Target     `yaml:"baseline" json:"baseline,omitempty"`
	Milestones []Milestone `yaml:"milestones" json:"milestones,omitempty"`
}

// DelayBudget promises that within Days, counted from the entry into stage From,
// a Share of the people enter stage To.
type DelayBudget struct {
	Code    string   `yaml:"code" json:"code"`
	LabelFR string   `yaml:"label_fr" json:"label_fr"`
	LabelAR string   `yaml:"label_ar" json:"label_ar"`
	LabelEN string   `yaml:"label_en" json:"label_en"`
	Scheme  string   `yaml:"scheme" json:"scheme,omitempty"` // "": every scheme
	From    string   `yaml:"from" json:"from"`
	To      string   `yaml:"to" json:"to"`
	Days    *int     `yaml:"days" json:"days"`   // nil: à configurer
	Share   *float64 `yaml:"share" json:"share"` // between 0 and 1; nil: à configurer
	Source  string   `yaml:"source" json:"source"`
}

// ShortageSettings say when an occupation gets a class, and which years cut the
// classes of a country's own series; nil: à configurer.
type ShortageSettings struct {
	MinimumOffers   *int   `yaml:"minimum_offers" json:"minimum_offers"`
	MinimumSeekers  *int   `yaml:"minimum_seekers" json:"minimum_seekers"`
	MinimumProjects *int   `yaml:"minimum_projects" json:"minimum_projects"`
	ReferenceFrom   *int   `yaml:"reference_from" json:"reference_from"` // years
	ReferenceTo     *int   `yaml:"reference_to" json:"reference_to"`
	Source          string `yaml:"source" json:"source"`
}

// mostProgrammeBytes is the largest settings file.
const mostProgrammeBytes = 1 << 20

// LoadProgramme reads the file that MASAR_PROGRAMME names, or the default when it
// names none. The error names every fault with its place; a program that starts
// with half of its targets is worse than one that does not start.
func LoadProgramme(getenv func(string) string) (*Programme, error) {
	name := ""
	if getenv != nil {
		name = getenv("MASAR_PROGRAMME")
	}
	if name == "" {
		return ParseProgramme(defaultProgramme, Dimensions())
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("MASAR_PROGRAMME: %w", err)
	}
	p, err := ParseProgramme(data, Dimensions())
	if err != nil {
		return nil, fmt.Errorf("MASAR_PROGRAMME, file %s: %w", name, err)
	}
	return p, nil
}

// ParseProgramme reads settings from YAML, strictly, and checks them.
func ParseProgramme(data []byte, dims []Dimension) (*Programme, error) {
	if len(data) > mostProgrammeBytes {
		return nil, fmt.Errorf("settings of %d bytes are too long; at most %d", len(data), mostProgrammeBytes)
	}
	var p Programme
	if err := yaml.UnmarshalWithOptions(data, &p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not settings in YAML: %w", err)
	}
	return &p, p.check(newDimensionSet(dims))
}

func (p *Programme) check(dims dimensionSet) error {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	// 29 February comes once in four years, and a season begins every year.
	if _, err := time.Parse("2006-01-02", "2001-"+p.SeasonStarts); err != nil {
		fault("season_starts is %q, want the month and the day on which every season begins, such as \"09-01\"", p.SeasonStarts)
	}
	for _, code := range slices.Sorted(maps.Keys(p.Indicators)) {
		v := p.Indicators[code]
		checkValues("indicators."+code+".", v.Target, v.Baseline, v.Milestones, fault)
	}
	seen := map[string]bool{}
	for i, b := range p.DelayBudgets {
		where := fmt.Sprintf("delay_budgets, number %d (%q): ", i+1, b.Code)
		if !codeForm.MatchString(b.Code) {
			fault("%scode: want small letters, digits and single underscores, beginning with a letter", where)
		}
		if seen[b.Code] {
			fault("%scode: there are two of it", where)
		}
		seen[b.Code] = true
		for name, text := range map[string]string{"label_fr": b.LabelFR, "label_ar": b.LabelAR, "label_en": b.LabelEN} {
			if strings.TrimSpace(text) == "" {
				fault("%s%s is missing", where, name)
			}
		}
		for name, stage := range map[string]string{"from": b.From, "to": b.To} {
			if !slices.Contains(dims["stage"].Codes, stage) {
				fault("%s%s: there is no stage %q; there are %s", where, name, stage, strings.Join(dims["stage"].Codes, ", "))
			}
		}
		if b.From == b.To {
			fault("%sfrom and to are the same stage", where)
		}
		if b.Scheme != "" && !slices.Contains(dims["scheme"].Codes, b.Scheme) {
			fault("%sscheme: there is no scheme %q; there are %s", where, b.Scheme, strings.Join(dims["scheme"].Codes, ", "))
		}
		if b.Days != nil && (*b.Days < 1 || *b.Days > 3650) {
			fault("%sdays is %d, want 1 to 3650, or null while it is not decided", where, *b.Days)
		}
		if b.Share != nil && !(*b.Share > 0 && *b.Share < 1) {
			fault("%sshare is %v, want a number between 0 and 1, such as 0.9, or null while it is not decided", where, *b.Share)
		}
		if (b.Days == nil) != (b.Share == nil) {
			fault("%sdays and share: want both, or null for both", where)
		}
		if b.Days != nil && strings.TrimSpace(b.Source) == "" {
			fault("%ssource is missing: who promised it, and where", where)
		}
	}
	s := p.Shortage
	for name, n := range map[string]*int{"minimum_offers": s.MinimumOffers, "minimum_seekers": s.MinimumSeekers, "minimum_projects": s.MinimumProjects} {
		if n != nil && *n < 0 {
			fault("shortage.%s is %d, want 0 or more, or null", name, *n)
		}
	}
	if (s.ReferenceFrom == nil) != (s.ReferenceTo == nil) || s.ReferenceFrom != nil && *s.ReferenceFrom > *s.ReferenceTo {
		fault("shortage.reference_from and reference_to: want the first and the last year, or null for both")
	}
	return errors.Join(faults...)
}

// checkValues checks what is to be reached; the faults begin with where.
func checkValues(where string, target, baseline *Target, milestones []Milestone, fault func(string, ...any)) {
	for name, t := range map[string]*Target{"target": target, "baseline": baseline} {
		if t != nil && strings.TrimSpace(t.Source) == "" {
			fault("%s%s has no source", where, name)
		}
	}
	last := ""
	for i, m := range milestones {
		if _, err := time.Parse(time.DateOnly, m.Date); err != nil {
			fault("%smilestones: %q is not a day, want YYYY-MM-DD", where, m.Date)
		} else if m.Date <= last {
			fault("%smilestones: %s comes after %s, want them by date, each once", where, m.Date, last)
		}
		if strings.TrimSpace(m.Source) == "" {
			fault("%smilestones: number %d has no source", where, i+1)
		}
		last = m.Date
	}
}

// Apply gives the definitions with the programme's values; those given stay as
// they are. The error names the indicators that do not exist.
func (p *Programme) Apply(defs Definitions) (Definitions, error) {
	var faults []error
	for _, code := range slices.Sorted(maps.Keys(p.Indicators)) {
		if _, ok := defs.Get(code); !ok {
			faults = append(faults, fmt.Errorf("programme settings: indicators.%s: there is no such indicator; there are %s", code, strings.Join(defs.Codes(), ", ")))
		}
	}
	out := make(Definitions, len(defs))
	for i, d := range defs {
		with := *d
		v := p.Indicators[d.Code]
		if v.Target != nil {
			with.Target, with.TargetStatus = v.Target, ""
		}
		if v.Baseline != nil {
			with.Baseline = v.Baseline
		}
		if v.Milestones != nil {
			with.Milestones = v.Milestones
		}
		out[i] = &with
	}
	return out, errors.Join(faults...)
}
