package matching

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"masar.local/pkg/reference"
)

// Weights is one version of how the parts of a score are weighed. All values
// are in thousandths, so that a score is exact, the same on every machine.
type Weights struct {
	Version string `yaml:"version"`
	Status  string `yaml:"status"` // "à_confirmer" until the programme has confirmed it
	// Parts are what each part counts for; they add up to 1000.
	Parts struct {
		Occupation   int32 `yaml:"occupation"`
		Language     int32 `yaml:"language"`
		Availability int32 `yaml:"availability"`
		Wishes       int32 `yaml:"wishes"`
	} `yaml:"parts"`
	Occupation struct {
		Exact      int32 `yaml:"exact"`
		Family     int32 `yaml:"family"`
		Mobility   int32 `yaml:"mobility"`
		Floor      int32 `yaml:"floor"`
		FullMonths int32 `yaml:"full_months"`
	} `yaml:"occupation"`
	Language struct {
		Reached int32 `yaml:"reached"`
		Above   int32 `yaml:"above"`
		Default struct {
			Code string `yaml:"code"`
			CEFR string `yaml:"cefr"`
		} `yaml:"default"`
	} `yaml:"language"`
	Availability struct {
		Horizon int32 `yaml:"horizon"` // days
	} `yaml:"availability"`
	Wishes struct {
		Region int32 `yaml:"region"`
		Scheme int32 `yaml:"scheme"`
		None   int32 `yaml:"none"`
	} `yaml:"wishes"`

	unasked []Need // the language taken when an offer names none
}

//go:embed weights.yaml
var weightsFile []byte

// PresentWeights are the weights that are part of the program.
func PresentWeights() *Weights {
	w, err := ParseWeights(weightsFile)
	if err != nil {
		// Compiled in and tested: this cannot happen in a binary that passed its tests.
		panic(err)
	}
	return w
}

// ParseWeights reads weights from YAML, strictly, and checks them.
func ParseWeights(data []byte) (*Weights, error) {
	var w Weights
	if err := yaml.UnmarshalWithOptions(data, &w, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("weights: not weights in YAML: %w", err)
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("weights: "+format, args...)) }
	if strings.TrimSpace(w.Version) == "" {
		fault("version is missing")
	}
	if sum := w.Parts.Occupation + w.Parts.Language + w.Parts.Availability + w.Parts.Wishes; sum != 1000 {
		fault("parts add up to %d, want 1000", sum)
	}
	if sum := w.Wishes.Region + w.Wishes.Scheme; sum != 1000 {
		fault("wishes.region and wishes.scheme add up to %d, want 1000", sum)
	}
	for name, v := range map[string]int32{
		"parts.occupation": w.Parts.Occupation, "parts.language": w.Parts.Language,
		"parts.availability": w.Parts.Availability, "parts.wishes": w.Parts.Wishes,
		"occupation.exact": w.Occupation.Exact, "occupation.family": w.Occupation.Family,
		"occupation.mobility": w.Occupation.Mobility, "occupation.floor": w.Occupation.Floor,
		"language.reached": w.Language.Reached, "language.above": w.Language.Above,
		"wishes.region": w.Wishes.Region, "wishes.scheme": w.Wishes.Scheme, "wishes.none": w.Wishes.None,
	} {
		if v < 0 || v > 1000 {
			fault("%s is %d, want 0 to 1000", name, v)
		}
	}
	if w.Occupation.FullMonths < 1 || w.Availability.Horizon < 1 {
		fault("occupation.full_months and availability.horizon must be at least 1")
	}
	rank, ok := reference.CEFR(w.Language.Default.CEFR)
	if !ok || w.Language.Default.Code == "" {
		fault("language.default must be a language code and a CEFR level")
	}
	w.unasked = []Need{{Code: w.Language.Default.Code, Rank: int8(rank)}}
	return &w, errors.Join(faults...)
}

// Names of the parts of a score.
const (
	PartOccupation   = "occupation"
	PartLanguage     = "language"
	PartAvailability = "availability"
	PartWishes       = "wishes"
)

// Part is one named part of a score.
type Part struct {
	Name   string
	Value  int32 // 0 to 1000
	Weight int32 // thousandths of the whole
	Why    Reason
}

// Parts are the parts of one score, in the order in which they are shown.
type Parts [4]Part

// Total is the score in thousandths: the parts' weighted mean, rounded down.
func (p *Parts) Total() int32 {
	var sum int32
	for i := range p {
		sum += p[i].Value * p[i].Weight
	}
	return sum / 1000
}

// Score weighs a profile for an offer on a day. It sees nothing of a person but
// the Profile. It is defined for every pair, eligible or not.
func Score(w *Weights, d *Demand, p *Profile, today Day) Parts {
	parts := Parts{
		{Name: PartOccupation, Weight: w.Parts.Occupation},
		{Name: PartLanguage, Weight: w.Parts.Language},
		{Name: PartAvailability, Weight: w.Parts.Availability},
		{Name: PartWishes, Weight: w.Parts.Wishes},
	}
	parts[0].Value, parts[0].Why = occupationPart(w, d, p)
	parts[1].Value, parts[1].Why = languagePart(w, d, p)
	parts[2].Value, parts[2].Why = availabilityPart(w, d, p, today)
	parts[3].Value, parts[3].Why = wishesPart(w, d, p)
	return parts
}

// occupationPart: the best of the person's occupations that fit, by nearness and
// experience.
func occupationPart(w *Weights, d *Demand, p *Profile) (best int32, why Reason) {
	why = Reason{Key: "occupation_none", A: d.Rome}
	full := w.Occupation.FullMonths
	if d.Experience > 0 {
		full = d.Experience
	}
	for _, near := range d.Accepts {
		var worth int32
		key := ""
		switch near.Kind {
		case Exact:
			worth, key = w.Occupation.Exact, "part_exact"
		case Family:
			worth, key = w.Occupation.Family, "part_family"
		case Mobility:
			worth, key = w.Occupation.Mobility, "part_mobility"
		}
		for _, have := range p.Occupations {
			if have.Rome != near.Rome {
				continue
			}
			grown := w.Occupation.Floor + int32(int64(1000-w.Occupation.Floor)*int64(min(have.Months, full))/int64(full))
			if value := worth * grown / 1000; value > best {
				best, why = value, Reason{Key: key, A: have.Rome, B: d.Rome, N: have.Months}
			}
		}
	}
	return best, why
}

// languagePart: by how much the languages that the offer names are known; their
// mean when there are several. Languages that nobody asked for do not count.
func languagePart(w *Weights, d *Demand, p *Profile) (int32, Reason) {
	needs := d.Languages
	if len(needs) == 0 {
		needs = w.unasked
	}
	var sum, least int32
	var why Reason
	for i := range needs {
		need := &needs[i]
		have, knows := level(p, need.Code)
		want := max(1, need.Rank) // any level will do: from A1 on
		var value int32
		switch {
		case !knows:
		case have < want:
			value = w.Language.Reached * int32(have) / int32(want)
		default:
			value = min(1000, w.Language.Reached+w.Language.Above*int32(have-want))
		}
		sum += value
		if i == 0 || value < least { // the weakest is the one to tell
			least = value
			why = Reason{Key: yesNo(knows, "part_language", "part_language_none"), A: need.Code, B: cefr(need.Rank), C: cefr(have)}
		}
	}
	return sum / int32(len(needs)), why
}

// availabilityPart: the share of the contract during which the person is
// available.
func availabilityPart(w *Weights, d *Demand, p *Profile, today Day) (int32, Reason) {
	start := max(d.Start, today)
	end := d.End
	if end == 0 {
		end = start + Day(w.Availability.Horizon) - 1
	}
	from, to := max(start, p.From), end
	if p.To != 0 {
		to = min(end, p.To)
	}
	why := Reason{Key: "part_dates", From: from, To: to}
	if end < start || to < from {
		return 0, Reason{Key: "part_dates_none"}
	}
	return int32(int64(to-from+1) * 1000 / int64(end-start+1)), why
}

// wishesPart: whether the offer is where, and under which scheme, the person
// wishes to work.
func wishesPart(w *Weights, d *Demand, p *Profile) (int32, Reason) {
	region := wish(w, p.Regions, d.Region)
	scheme := wish(w, p.Schemes, d.Scheme)
	value := (region*w.Wishes.Region + scheme*w.Wishes.Scheme) / 1000
	why := Reason{Key: "part_wishes_none", A: d.Region, B: d.Scheme}
	switch {
	case len(p.Regions) > 0 && d.Region != "" && region == 0:
		why.Key = "part_wishes_against"
	case wished(p.Regions, d.Region) && wished(p.Schemes, d.Scheme):
		why.Key = "part_wishes_both"
	case wished(p.Regions, d.Region):
		why.Key = "part_wishes_region"
	case wished(p.Schemes, d.Scheme):
		why.Key = "part_wishes_scheme"
	}
	return value, why
}

func wished(wishes []string, code string) bool { return code != "" && slices.Contains(wishes, code) }

func wish(w *Weights, wishes []string, code string) int32 {
	switch {
	case len(wishes) == 0 || code == "":
		return w.Wishes.None
	case slices.Contains(wishes, code):
		return 1000
	}
	return 0
}
