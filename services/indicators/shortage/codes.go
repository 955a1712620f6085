// Package shortage says which occupations are in shortage: the method that DARES
// and France Travail publish, for any country's data, and readers for the files
// that the data come in. It is pure: no store, no clock, no network.
//
// The method (source: DARES, "Portraits statistiques des métiers", README of the
// published data; our reading where that is silent is marked so): for each
// occupation in a place and a period, c1 is offers for each new seeker, c2 the
// share of seekers who leave the registers, c3 the share of recruitment projects
// that employers expect to be difficult. Each is standardised over the
// occupations of a reference period, and the index is
// T = 0.30 z1 + 0.20 z2 + 0.50 z3. Cuts make five classes of it.
package shortage

import (
	"fmt"
	"regexp"
	"strings"

	"masar.local/pkg/reference"
)

// Nomenclature is a classification of occupations.
type Nomenclature string

// The nomenclatures. FAP2009 and FAP2021 have codes that look alike and mean
// different occupations, so a code never goes without its nomenclature.
const (
	ROME    Nomenclature = "ROME"
	FAP2009 Nomenclature = "FAP2009"
	FAP2021 Nomenclature = "FAP2021"
	ISCO08  Nomenclature = "ISCO08"
	RTMC    Nomenclature = "RTMC" // Référentiel tunisien des métiers et des compétences
)

// Nomenclatures lists them.
var Nomenclatures = []Nomenclature{ROME, FAP2009, FAP2021, ISCO08, RTMC}

var occupationForms = map[Nomenclature]*regexp.Regexp{
	ROME:    regexp.MustCompile(`^[A-N][0-9]{4}$`),
	FAP2009: regexp.MustCompile(`^[A-Z][0-9][A-Z]([0-9]{2})?$`),
	FAP2021: regexp.MustCompile(`^[A-Z][0-9A-Z][A-Z]([0-9]{2}[a-z]?)?$`),
	ISCO08:  regexp.MustCompile(`^[0-9]{1,4}$`),
	RTMC:    regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,19}$`),
}

// Occupation is a code in its nomenclature. Two occupations are the same when both
// are.
type Occupation struct {
	Nomenclature Nomenclature `json:"nomenclature"`
	Code         string       `json:"code"`
}

// ParseOccupation checks the form of a code. It does not know which codes exist.
func ParseOccupation(n Nomenclature, code string) (Occupation, error) {
	form, ok := occupationForms[n]
	if !ok {
		return Occupation{}, fmt.Errorf("%w %q: want one of %v", errNomenclature, clip(string(n)), Nomenclatures)
	}
	if !form.MatchString(code) {
		return Occupation{}, fmt.Errorf("%q is not a code of %s", clip(code), n)
	}
	return Occupation{n, code}, nil
}

var errNomenclature = fmt.Errorf("unknown nomenclature")

func (o Occupation) String() string { return string(o.Nomenclature) + ":" + o.Code }

// Zone is a place: a country ("TN", "FR"), a governorate ("TN-71", ISO 3166-2), a
// French region ("FR-84", INSEE code) or department ("FR-D01", for FR-01 is a
// region too).
type Zone string

// Level is how large a zone is.
type Level string

// The levels.
const (
	Country    Level = "country"
	Region     Level = "region" // a governorate, a région, or what a country has instead
	Department Level = "department"
)

var zoneForm = regexp.MustCompile(`^([A-Z]{2})(?:-(D)?([0-9A-Z]{1,3}))?$`)

// ParseZone reads a zone. Those of Tunisia and France must exist; of other
// countries the form is checked.
func ParseZone(text string) (Zone, error) {
	m := zoneForm.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%q is not a zone: want a country (TN), a governorate (TN-71), a région (FR-84) or a département (FR-D01)", clip(text))
	}
	z := Zone(text)
	if _, _, known := z.Labels(); !known {
		return "", fmt.Errorf("there is no zone %q in %s", clip(text), m[1])
	}
	return z, nil
}

// Country is the country of the zone, as a zone.
func (z Zone) Country() Zone {
	c, _, _ := strings.Cut(string(z), "-")
	return Zone(c)
}

// Level of the zone.
func (z Zone) Level() Level {
	switch {
	case z.Country() == z:
		return Country
	case strings.HasPrefix(string(z), "FR-D"):
		return Department
	}
	return Region
}

// Within reports whether z lies in another zone, or is it.
func (z Zone) Within(other Zone) bool {
	return z == other || z.Country() == other ||
		z.Level() == Department && Zone("FR-"+reference.Region(string(z[4:]))) == other
}

// Labels are the zone's names in French and Arabic; French régions and
// départements keep their French name in Arabic. ok is false for what does not
// exist.
func (z Zone) Labels() (fr, ar string, ok bool) {
	code := string(z)
	switch z.Country() {
	case "TN":
		if z == "TN" {
			return "Tunisie", "تونس", true
		}
		g, ok := reference.FindGovernorate(code)
		return g.LabelFR, g.LabelAR, ok && g.Code == code
	case "FR":
		switch z.Level() {
		case Country:
			return "France", "فرنسا", true
		case Department:
			d, ok := reference.FindDepartement(code[4:])
			return d.LabelFR, d.LabelFR, ok && "FR-D"+d.Code == code
		}
		for _, r := range reference.Regions() {
			if "FR-"+r.Code == code {
				return r.LabelFR, r.LabelFR, true
			}
		}
		return "", "", false
	}
	return code, code, zoneForm.MatchString(code)
}

// Period is a year ("2026") or a quarter ("2026-Q3").
type Period string

var periodForm = regexp.MustCompile(`^(20[0-9]{2})(-Q[1-4])?$`)

// ParsePeriod reads a period of the years 2000 to 2099.
func ParsePeriod(text string) (Period, error) {
	if !periodForm.MatchString(text) {
		return "", fmt.Errorf("%q is not a period: want a year (2026) or a quarter (2026-Q3)", clip(text))
	}
	return Period(text), nil
}

// Quarterly says whether it is a quarter.
func (p Period) Quarterly() bool { return len(p) == 7 }

// Year is the period's year as a number; 0 when p is not a period.
func (p Period) Year() int {
	y := 0
	if len(p) >= 4 {
		for _, d := range p[:4] {
			y = 10*y + int(d-'0')
		}
	}
	return y
}

// Previous is the quarter or the year before.
func (p Period) Previous() Period {
	switch {
	case !p.Quarterly():
		return Period(fmt.Sprintf("%04d", p.Year()-1))
	case p[6] == '1':
		return Period(fmt.Sprintf("%04d-Q4", p.Year()-1))
	}
	return p[:6] + Period(p[6]-1)
}

// Measure is what an observation counts. Documentation of the plain format:
// ReadSeries.
type Measure string

// The measures. Flows are of the period, stocks are its mean.
const (
	Offers        Measure = "offers"             // offers that came in (online, or collected)
	SeekersIn     Measure = "seekers_in"         // inflow of seekers without a job (category A)
	SeekersStock  Measure = "seekers_stock"      // mean stock of all registered seekers (categories A, B, C)
	Exits         Measure = "exits"              // of them, those who left the registers
	Projects      Measure = "projects"           // recruitment projects of employers
	Difficult     Measure = "projects_difficult" // of them, expected to be difficult
	Seasonal      Measure = "projects_seasonal"  // of them, seasonal
	Employment    Measure = "employment"         // mean employment
	SeekersA      Measure = "seekers_a"          // mean stock of seekers without a job (category A)
	Durable       Measure = "offers_durable"     // of the offers, open-ended or above six months
	FullTime      Measure = "offers_fulltime"    // of the offers, full time
	Conditions    Measure = "conditions"         // an index of hard working conditions, higher is harder
	TrainingLink  Measure = "training_link"      // an index of how closely training and occupation are tied
	Placements    Measure = "placements"         // placements by the employment service; shown, not in the index
	DifficultHole Measure = "projects_difficult_unknown"
	SeasonalHole  Measure = "projects_seasonal_unknown"

	// What a producer has published ready-made.
	Index           Measure = "index"
	Class           Measure = "class"
	LevelIntensity  Measure = "level_intensity"
	LevelConditions Measure = "level_conditions"
	LevelNonDurable Measure = "level_nondurable"
	LevelWorkforce  Measure = "level_workforce"
	LevelTraining   Measure = "level_training"
	LevelGeography  Measure = "level_geography"
)

// SeriesMeasures are those of the plain format.
var SeriesMeasures = []Measure{
	Offers, SeekersIn, SeekersStock, Exits, Projects, Difficult, Seasonal, Employment, SeekersA, Durable, FullTime,
	Conditions, TrainingLink, Placements,
}

// levels are the published complementary indicators, in the order of
// Complementary.
var levels = [...]Measure{LevelIntensity, LevelConditions, LevelNonDurable, LevelWorkforce, LevelTraining, LevelGeography}

// yearly are the measures that a quarter takes from its year when it has none of
// its own: surveys and structures, not flows.
var yearly = []Measure{Projects, Difficult, Seasonal, DifficultHole, SeasonalHole, Employment, Conditions, TrainingLink}

// clip keeps what an error quotes short.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
