// Package cohort draws a synthetic cohort: people, employers, offers, and the
// pathways they walked over the past months. The same seed, size and date give
// the same cohort, to the byte. Every rate and duration here is made up for
// demonstration and testing; none is a figure of the programme.
package cohort

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"masar.local/pkg/reference"
)

// Config says which cohort to draw.
type Config struct {
	People int
	Seed   uint64
	Now    time.Time // the last day of the history
	Months int       // length of the history before Now
	// Jobs say which competences belong to an occupation; nil, or a list that
	// knows none, and nobody has any and no offer asks for any.
	Jobs *reference.Occupations
}

// Person is one candidate record, as the API takes it, and the pathway walked.
type Person struct {
	Record  map[string]any
	Scheme  string
	Opened  time.Time
	Moves   []Move
	Exit    string // exit code; empty when the person did not leave
	ExitAt  time.Time
	OfferNo int // index of the offer the person was placed on, -1 when none
}

// Move is one change of stage.
type Move struct {
	To string
	At time.Time
}

// Offer is one offer as the API takes it, with the day it was received.
type Offer struct {
	Record map[string]any
	At     time.Time
}

// Cohort is a drawn cohort. People are drawn on demand so that a large one
// never sits in memory.
type Cohort struct {
	cfg     Config
	schemes []*reference.Scheme
}

// New returns the cohort of cfg over the current version of each scheme.
func New(cfg Config, schemes []*reference.Scheme) *Cohort {
	if cfg.Months == 0 {
		cfg.Months = 14
	}
	cfg.Now = cfg.Now.UTC().Truncate(24 * time.Hour)
	return &Cohort{cfg: cfg, schemes: schemes}
}

// trades are the occupations drawn for each scheme.
var trades = map[string][]string{
	"agri": {"A1401", "A1402", "A1405", "A1414", "A1416", "A1101"},
	"soin": {"J1501", "K1302", "K1304", "J1301"},
}

// regions are the INSEE regions that offers are drawn in, with one department.
var places = []struct{ departement, postcode, commune string }{
	{"84", "84000", "84007"},
	{"13", "13200", "13004"},
	{"34", "34500", "34032"},
	{"47", "47000", "47001"},
	{"33", "33500", "33243"},
	{"49", "49000", "49007"},
	{"01", "01000", "01053"},
	{"07", "07000", "07186"},
	{"75", "75013", "75113"},
	{"69", "69003", "69383"},
}

// Kinds of things that are drawn, each from numbers of its own, so that what is
// drawn of one does not move the others.
const (
	drawOffer = iota + 1
	drawPerson
	drawSkills // of a person
	drawNeeds  // of an offer
)

func (c *Cohort) rng(kind, n int) *rand.Rand {
	return rand.New(rand.NewPCG(c.cfg.Seed, uint64(kind)<<48|uint64(n)))
}

// start is the first day of the history.
func (c *Cohort) start() time.Time { return c.cfg.Now.AddDate(0, -c.cfg.Months, 0) }

// days returns a duration around mean, log-normal, at least one hour.
func days(r *rand.Rand, mean float64) time.Duration {
	const sigma = 0.6
	d := math.Exp(math.Log(mean) - sigma*sigma/2 + sigma*r.NormFloat64())
	return max(time.Hour, time.Duration(d*24*float64(time.Hour)).Truncate(time.Minute))
}

// Offers returns the cohort's offers, one for every eight people.
func (c *Cohort) Offers() []Offer {
	offers := make([]Offer, max(4, c.cfg.People/8))
	span := c.cfg.Now.Sub(c.start())
	for i := range offers {
		r := c.rng(drawOffer, i)
		scheme := c.schemes[i%len(c.schemes)]
		codes := trades[scheme.Code]
		place := places[r.IntN(len(places))]
		at := c.start().Add(time.Duration(r.Int64N(int64(span)))).Truncate(time.Minute)
		contract, months := "CDI", 0
		if scheme.Sector == "agriculture" {
			contract, months = "SAI", 3+r.IntN(4)
		}
		offers[i] = Offer{At: at, Record: map[string]any{
			"title":             fmt.Sprintf("Offre de démonstration %d", i+1),
			"rome":              codes[r.IntN(len(codes))],
			"scheme":            scheme.Code,
			"contract":          contract,
			"contract_months":   months,
			"posts":             1 + r.IntN(6),
			"departement":       place.departement,
			"postcode":          place.postcode,
			"commune":           place.commune,
			"experience_months": []int{0, 0, 6, 12, 24}[r.IntN(5)],
			"languages":         []map[string]any{{"code": "fr", "cefr": []string{"A1", "A2", "B1"}[r.IntN(3)], "required": true}},
			"hours_week":        35,
			"published_on":      at.Format(time.DateOnly),
		}}
		if needs := c.needs(i, offers[i].Record["rome"].(string)); needs != nil {
			offers[i].Record["competences"] = needs
		}
	}
	return offers
}

// Most competences that a person has and that an offer asks for.
const (
	mostSkills = 15
	mostNeeds  = 5
)

// skills are the OGR codes of competences of an occupation that somebody has:
// more of the core ones, and more the longer they worked; nil when none.
func (c *Cohort) skills(i int, rome string, months int) []string {
	r := c.rng(drawSkills, i)
	var out []string
	for _, item := range c.items(r, rome) {
		chance := 0.03 + 0.07*min(1, float64(months)/48)
		if item.Core {
			chance *= 4
		}
		if r.Float64() < chance && len(out) < mostSkills {
			out = append(out, item.Code)
		}
	}
	slices.Sort(out)
	return out
}

// needs are the competences that an offer asks for, one in four of them
// required, as the API takes them; nil when none.
func (c *Cohort) needs(i int, rome string) []map[string]any {
	r := c.rng(drawNeeds, i)
	var out []map[string]any
	for _, item := range c.items(r, rome) {
		if len(out) == mostNeeds {
			break
		}
		if item.Core || r.IntN(8) == 0 {
			out = append(out, map[string]any{"code": item.Code, "required": r.IntN(4) == 0})
		}
	}
	return out
}

// items are the competences of an occupation, in an order that is drawn.
func (c *Cohort) items(r *rand.Rand, rome string) []reference.Item {
	if c.cfg.Jobs == nil {
		return nil
	}
	job, _ := c.cfg.Jobs.Occupation(rome)
	items := slices.Clone(job.Items)
	r.Shuffle(len(items), func(a, b int) { items[a], items[b] = items[b], items[a] })
	return items
}

// People yields the cohort's people in order.
func (c *Cohort) People() iter.Seq2[int, Person] {
	return func(yield func(int, Person) bool) {
		for i := range c.cfg.People {
			if !yield(i, c.person(i)) {
				return
			}
		}
	}
}

func (c *Cohort) person(i int) Person {
	r := c.rng(drawPerson, i)
	scheme := c.schemes[r.IntN(len(c.schemes))]
	sex, given := "M", men[r.IntN(len(men))]
	if r.IntN(2) == 0 {
		sex, given = "F", women[r.IntN(len(women))]
	}
	family := families[r.IntN(len(families))]
	governorates := reference.Governorates()
	// Two draws, the smaller kept: some governorates send more people than others.
	governorate := governorates[min(r.IntN(len(governorates)), r.IntN(len(governorates)))]
	born := c.cfg.Now.AddDate(-19-r.IntN(22), -r.IntN(12), -r.IntN(28))
	codes := trades[scheme.Code]
	consents := []string{"matching", "statistics", "employer_disclosure", "transfer"}
	if r.IntN(10) > 0 {
		consents = append(consents, "notification")
	}
	p := Person{
		Scheme: scheme.Code, OfferNo: -1,
		Record: map[string]any{
			"ref":         fmt.Sprintf("DEMO-%d-%d-%06d", c.cfg.Seed, c.cfg.People, i),
			"family_name": family.latin, "given_name": given.latin,
			"family_name_ar": family.arabic, "given_name_ar": given.arabic,
			"sex": sex, "birth_date": born.Format(time.DateOnly), "governorate": governorate.Code,
			"language":       []string{"ar", "fr"}[r.IntN(2)],
			"email":          strings.ToLower(fmt.Sprintf("demo%06d@example.tn", i)),
			"phone":          fmt.Sprintf("+216%08d", 20000000+i%9999999),
			"occupations":    []map[string]any{{"rome": codes[r.IntN(len(codes))], "experience_months": 6 * r.IntN(12)}},
			"languages":      []map[string]any{{"code": "ar", "cefr": "C2"}, {"code": "fr", "cefr": []string{"A1", "A2", "A2", "B1", "B1", "B2"}[r.IntN(6)]}},
			"licences":       [][]string{{}, {"B"}, {"B"}, {"B", "C"}}[r.IntN(4)],
			"available_from": c.cfg.Now.AddDate(0, -1, 0).Format(time.DateOnly),
			"schemes":        []string{scheme.Code},
			"consents":       consents,
		},
	}
	work := p.Record["occupations"].([]map[string]any)[0]
	if skills := c.skills(i, work["rome"].(string), work["experience_months"].(int)); skills != nil {
		p.Record["competences"] = skills
	}
	span := c.cfg.Now.Sub(c.start())
	p.Opened = c.start().Add(time.Duration(r.Int64N(int64(span)))).Truncate(time.Minute)
	c.walk(r, &p, scheme)
	return p
}

// walk moves the person along the scheme until today or an exit.
func (c *Cohort) walk(r *rand.Rand, p *Person, scheme *reference.Scheme) {
	at, stage := p.Opened, scheme.First()
	for range 40 { // a seasonal pathway loops; nobody does forty steps
		at = at.Add(days(r, 4+float64(stage.Code[len(stage.Code)-1]%5)*5))
		if !at.Before(c.cfg.Now) {
			return
		}
		if exits := exitsAt(scheme, stage.Code); len(exits) > 0 && r.Float64() < 0.04 {
			p.Exit, p.ExitAt = exits[r.IntN(len(exits))].Code, at
			return
		}
		if len(stage.Next) == 0 {
			return
		}
		next := stage.Next[0]
		if len(stage.Next) > 1 && r.IntN(4) == 0 {
			next = stage.Next[r.IntN(len(stage.Next))]
		}
		stage, _ = scheme.Stage(next)
		p.Moves = append(p.Moves, Move{To: next, At: at})
		if next == scheme.Placement && p.OfferNo < 0 {
			p.OfferNo = r.IntN(max(4, c.cfg.People/8))
		}
	}
}

func exitsAt(scheme *reference.Scheme, stage string) []reference.Exit {
	var out []reference.Exit
	for _, e := range scheme.Exits {
		if e.Code == "DECES" { // not in a demonstration
			continue
		}
		if len(e.Stages) == 0 {
			out = append(out, e)
			continue
		}
		for _, s := range e.Stages {
			if s == stage {
				out = append(out, e)
			}
		}
	}
	return out
}
