package matching

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
		Competences  int32 `yaml:"competences"`
		Language     int32 `yaml:"language"`
		Availability int32 `yaml:"availability"`
		Wishes       int32 `yaml:"wishes"`
		Past         int32 `yaml:"past"`
	} `yaml:"parts"`
	Occupation struct {
		Exact      int32 `yaml:"exact"`
		Family     int32 `yaml:"family"`
		Mobility   int32 `yaml:"mobility"`
		Floor      int32 `yaml:"floor"`
		FullMonths int32 `yaml:"full_months"`
	} `yaml:"occupation"`
	Competences struct {
		None     int32 `yaml:"none"`
		Core     int32 `yaml:"core"`
		Required int32 `yaml:"required"`
		Enough   int32 `yaml:"enough"`
	} `yaml:"competences"`
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
	Past struct {
		Family   int32 `yaml:"family"`
		Mobility int32 `yaml:"mobility"`
		Least    int32 `yaml:"least"`
	} `yaml:"past"`

	unasked []Need // the language taken when an offer names none
}

//go:embed weights/*.yaml
var weightsFiles embed.FS

// presentWeights is the version that new scores are made with.
const presentWeights = "2026-2"

// PresentWeights are the weights that new scores are made with.
func PresentWeights() *Weights {
	w, err := WeightsVersion(presentWeights)
	if err != nil {
		// Compiled in and tested: this cannot happen in a binary that passed its tests.
		panic(err)
	}
	return w
}

// WeightsVersion gives a version of the weights, the present or a past one; an
// error that names those there are when it is none of them.
func WeightsVersion(version string) (*Weights, error) {
	known := WeightsVersions()
	if !slices.Contains(known, version) {
		return nil, fmt.Errorf("matching: weights of version %q are not part of this program, which has %s", version, strings.Join(known, ", "))
	}
	data, err := weightsFiles.ReadFile("weights/" + version + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("matching: weights of version %q: %w", version, err)
	}
	return ParseWeights(data)
}

// WeightsVersions lists the versions of the weights that are part of the
// program, the oldest first.
func WeightsVersions() []string {
	files, err := weightsFiles.ReadDir("weights")
	if err != nil {
		panic(err) // compiled in
	}
	var out []string
	for _, f := range files { // in the order of their names
		out = append(out, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return out
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
	if sum := w.Parts.Occupation + w.Parts.Competences + w.Parts.Language + w.Parts.Availability + w.Parts.Wishes + w.Parts.Past; sum != 1000 {
		fault("parts add up to %d, want 1000", sum)
	}
	if sum := w.Wishes.Region + w.Wishes.Scheme; sum != 1000 {
		fault("wishes.region and wishes.scheme add up to %d, want 1000", sum)
	}
	for name, v := range map[string]int32{
		"parts.occupation": w.Parts.Occupation, "parts.language": w.Parts.Language,
		"parts.availability": w.Parts.Availability, "parts.wishes": w.Parts.Wishes,
		"parts.competences": w.Parts.Competences, "parts.past": w.Parts.Past,
		"competences.none": w.Competences.None, "past.family": w.Past.Family, "past.mobility": w.Past.Mobility, "past.least": w.Past.Least,
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
	// A version without these parts has no figures for them.
	if w.Parts.Competences > 0 {
		for name, v := range map[string]int32{"core": w.Competences.Core, "required": w.Competences.Required} {
			if v < 1000 || v > 10_000 {
				fault("competences.%s is %d, want 1000 to 10000", name, v)
			}
		}
		if w.Competences.Enough < 1 || w.Competences.Enough > 1000 {
			fault("competences.enough is %d, want 1 to 1000", w.Competences.Enough)
		}
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
	PartCompetences  = "competences"
	PartLanguage     = "language"
	PartAvailability = "availability"
	PartWishes       = "wishes"
	PartPast         = "past"
)

// Part is one named part of a score.
type Part struct {
	Name   string
	Value  int32 // 0 to 1000
	Weight int32 // thousandths of the whole
	Why    Reason
}

// Parts are the parts of one score, in the order in which they are shown. A part
// that the version of the weights does not have weighs 0 and is not shown.
type Parts [6]Part

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
		{Name: PartCompetences, Weight: w.Parts.Competences},
		{Name: PartLanguage, Weight: w.Parts.Language},
		{Name: PartAvailability, Weight: w.Parts.Availability},
		{Name: PartWishes, Weight: w.Parts.Wishes},
		{Name: PartPast, Weight: w.Parts.Past},
	}
	parts[0].Value, parts[0].Why = occupationPart(w, d, p)
	if w.Parts.Competences > 0 {
		parts[1].Value, parts[1].Why = competencesPart(w, d, p)
	}
	parts[2].Value, parts[2].Why = languagePart(w, d, p)
	parts[3].Value, parts[3].Why = availabilityPart(w, d, p, today)
	parts[4].Value, parts[4].Why = wishesPart(w, d, p)
	if w.Parts.Past > 0 {
		parts[5].Value, parts[5].Why = pastPart(d, p)
	}
	return parts
}

// occupationPart: the best of the person's occupations that fit, by nearness and
// experience.
func occupationPart(w *Weights, d *Demand, p *Profile) (best int32, why Reason) {
	why = Reason{Key: "occupation_none", A: d.Rome}
	for _, near := range d.Accepts {
		for _, have := range p.Occupations {
			if have.Rome != near.Rome {
				continue
			}
			if value := experience(w, d, w.worth(near.Kind), have.Months); value > best {
				best, why = value, Reason{Key: "part_" + string(near.Kind), A: have.Rome, B: d.Rome, N: have.Months}
			}
		}
	}
	return best, why
}

// worth of an occupation by its nearness to the offer's.
func (w *Weights) worth(kind Nearness) int32 {
	switch kind {
	case Exact:
		return w.Occupation.Exact
	case Family:
		return w.Occupation.Family
	case Mobility:
		return w.Occupation.Mobility
	}
	return 0
}

// experience is what an occupation of some worth counts for after some months.
func experience(w *Weights, d *Demand, worth, months int32) int32 {
	full := w.Occupation.FullMonths
	if d.Experience > 0 {
		full = d.Experience
	}
	grown := w.Occupation.Floor + int32(int64(1000-w.Occupation.Floor)*int64(min(months, full))/int64(full))
	return worth * grown / 1000
}

// competencesPart: which of the competences wanted the person has declared, by
// their weights. Where nothing is declared or nothing wanted the value is in
// the middle, and declaring more never lowers it.
func competencesPart(w *Weights, d *Demand, p *Profile) (int32, Reason) {
	if len(d.Wanted) == 0 {
		return w.Competences.None, Reason{Key: "part_competences_unasked", A: d.Rome}
	}
	if len(p.Competences) == 0 {
		return w.Competences.None, Reason{Key: "part_competences_none"}
	}
	found, weight := int32(0), int64(0)
	for _, item := range p.Competences {
		if i, ok := slices.BinarySearchFunc(d.Wanted, item, func(w Wanted, i Item) int { return cmp.Compare(w.Item, i) }); ok {
			found++
			weight += int64(d.Wanted[i].Weight)
		}
	}
	why := Reason{Key: yesNo(d.Asked, "part_competences_named", "part_competences_sheet"), A: d.Rome, B: strconv.Itoa(len(d.Wanted)), N: found}
	return competences(w, d, weight), why
}

// competences is what a weight of competences counts for.
func competences(w *Weights, d *Demand, weight int64) int32 {
	return w.Competences.None + int32(int64(1000-w.Competences.None)*min(weight, d.Enough)/d.Enough)
}

// pastPart: how much of the offer's sheet the person has met at work, in the
// nearest of the occupations that they have exercised.
func pastPart(d *Demand, p *Profile) (best int32, why Reason) {
	why = Reason{Key: "part_past_none"}
	for _, have := range p.Occupations {
		if have.Months == 0 {
			continue
		}
		if value := d.Past[have.Rome]; value > best || why.A == "" {
			best, why = max(best, value), Reason{Key: "part_past", A: have.Rome, B: d.Rome, N: value / 10}
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
	value, from, to := availableFor(w, d, p.From, p.To, today)
	if value == 0 && to < from {
		return 0, Reason{Key: "part_dates_none"}
	}
	return value, Reason{Key: "part_dates", From: from, To: to}
}

// availableFor is the share of the contract within these days, and the first and last
// of them; the last comes before the first when there are none.
func availableFor(w *Weights, d *Demand, from, to, today Day) (value int32, first, last Day) {
	start := max(d.Start, today)
	end := d.End
	if end == 0 {
		end = start + Day(w.Availability.Horizon) - 1
	}
	first, last = max(start, from), end
	if to != 0 {
		last = min(end, to)
	}
	if end < start || last < first {
		return 0, 1, 0
	}
	return int32(int64(last-first+1) * 1000 / int64(end-start+1)), first, last
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
