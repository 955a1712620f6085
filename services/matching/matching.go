// Package matching proposes candidates for offers, says why, and records what
// people decide.
//
// The contract: everything it knows comes from the topics of candidates and
// employers, folded once whatever is repeated, in any order between aggregates;
// hard conditions decide who may be proposed (condition.go), a score made of
// named parts decides in which order (score.go), and neither can see a person's
// sex, age, name or origin; a decision is one write of one document, which no
// race, replica or crash can make twice or one too many (decision.go).
package matching

import (
	"cmp"
	mathbits "math/bits"
	"slices"
	"strconv"
	"sync"
	"time"
	"unique"

	"masar.local/pkg/reference"
)

// Day is a day of the calendar, counted from 1970-01-01. The zero Day is none.
type Day int32

// ParseDay reads YYYY-MM-DD; whatever is not a date is none.
func ParseDay(s string) Day {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0
	}
	return DayOf(t)
}

// DayOf is the day of an instant in UTC.
func DayOf(t time.Time) Day { return Day(t.UTC().Unix() / 86400) }

// String gives YYYY-MM-DD, "" for none.
func (d Day) String() string {
	if d == 0 {
		return ""
	}
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// AddMonths gives the day n months later.
func (d Day) AddMonths(n int) Day {
	return DayOf(time.Unix(int64(d)*86400, 0).UTC().AddDate(0, n, 0))
}

// Purposes of consent that matching asks for.
const (
	ConsentMatching   = "matching"
	ConsentDisclosure = "employer_disclosure"
)

// Kinds of decisions, and so the states of a case; how they follow each other:
// decision.go. What each does to a pathway is the scheme's rule.
const (
	Shortlisted = reference.DecisionShortlisted
	Disclosed   = reference.DecisionDisclosed
	Interview   = reference.DecisionInterview
	Offered     = reference.DecisionOffered
	Accepted    = reference.DecisionAccepted
	Hired       = reference.DecisionHired
	Refused     = reference.DecisionRefused
	NoShow      = reference.DecisionNoShow
)

// Kinds lists the kinds of decisions in the order in which they may follow.
var Kinds = reference.Decisions()

// Profile is everything that the score may see of a person. It has no sex, no
// age, no name and no place of origin, so that none can move a score.
type Profile struct {
	Occupations []Experience // each ROME code once
	Languages   []Level      // each language once, at its best level
	Licences    []string
	Competences []Item   // in order, each once
	From, To    Day      // available from, to; 0: no limit
	Schemes     []string // wished schemes; none: any
	Regions     []string // wished regions; none: any
}

// Experience is an occupation that the person can exercise, and for how long
// they have.
type Experience struct {
	Rome   string
	Months int32
}

// Item is a competence of ROME: the number that is its OGR code.
type Item uint32

// itemOf reads an OGR code; false when it is none.
func itemOf(code string) (Item, bool) {
	code, ok := reference.ItemCode(code)
	n, err := strconv.ParseUint(code, 10, 32)
	return Item(n), ok && err == nil
}

// Level is a language that the person knows.
type Level struct {
	Code string
	Rank int8 // 1 (A1) to 6 (C2), 0 when the level is not known
}

// Person is what the conditions may see of a person: the profile, and what the
// programme itself knows of them. The governorate is there for the scope of
// those who ask; no condition and no score reads it.
type Person struct {
	Profile
	Governorate string
	Matching    bool // consent to be matched is in force
	Disclosure  bool // consent to be shown to employers is in force
	Tracks      []Track
}

// Track is an open pathway and what may be decided about it at its stage.
type Track struct {
	Pathway string // its id
	Scheme  string
	Version string
	Stage   string
	Known   bool // the scheme's version and the stage are known to this program
	Takes   bits // kinds of decisions that the scheme allows at the stage
	Engaged bool // hired or placed: at the stage "hired" leads to, or further
}

// bits is a small set of kinds of decisions.
type bits uint8

func bit(kind string) bits { return 1 << slices.Index(Kinds, kind) }

func (b bits) has(kind string) bool { return b&bit(kind) != 0 }

// Demand is what conditions and score see of an offer.
type Demand struct {
	Rome       string
	Accepts    []Near // the occupations that fit, the offer's own first
	Scheme     string
	Region     string
	Experience int32 // months asked for, 0 when none
	Languages  []Need
	Licences   []string // required categories
	// Wanted are the competences that count for the offer: those that it names, or
	// else those of its occupation's sheet. Asked says which.
	Wanted     []Wanted // by item, each once
	Asked      bool
	Enough     int64            // the weight of them that counts as all; at least 1
	Past       map[string]int32 // how near past occupations are, in thousandths; those not in it are 0
	Start, End Day              // 0: not stated; End also 0 for an open-ended contract
	Open       bool
	Left       int  // posts not filled
	Suspended  bool // the employer is
}

// Wanted is a competence and its weight.
type Wanted struct {
	Item   Item
	Weight int32
}

// Near is an occupation that fits an offer, and how near it is.
type Near struct {
	Rome string
	Kind Nearness
}

// Nearness says why an occupation fits: the same, one of the same ROME sheet
// family (parent), or one from which ROME knows a move.
type Nearness string

// Nearness of occupations, the nearest first.
const (
	Exact    Nearness = "exact"
	Family   Nearness = "family"
	Mobility Nearness = "mobility"
)

// Need is a language that an offer asks for.
type Need struct {
	Code     string
	Rank     int8 // 0: the offer does not say which level
	Required bool
}

// Rules is all reference data that a match depends on. It is immutable.
type Rules struct {
	Weights   *Weights
	Reference string // version of the list of occupations
	schemes   reference.SchemeSet
	accepts   map[string][]Near
	stages    map[stageKey]stageRule

	sheets map[string][]Wanted // competences of each occupation's sheet, by item
	having map[Item][]string   // the occupations on whose sheets a competence is
	listed int                 // how many occupations have competences
	near   sync.Map            // see nearTo: from the code of an occupation to map[string]int32
}

type stageKey struct{ scheme, version, stage string }

type stageRule struct {
	takes   bits
	engaged bool
}

// NewRules works out, once, what the schemes and the list of occupations say:
// which decisions each stage takes, and which occupations fit which offer.
func NewRules(w *Weights, schemes reference.SchemeSet, jobs *reference.Occupations) *Rules {
	r := &Rules{
		Weights: w, Reference: jobs.Version, schemes: schemes,
		accepts: map[string][]Near{}, stages: map[stageKey]stageRule{},
	}
	for _, s := range schemes.All() {
		for i := range s.Stages {
			stage := s.Stages[i].Code
			rule := stageRule{engaged: s.Engaged(stage)}
			for _, kind := range Kinds {
				if _, ok := s.Decide(stage, kind, false); ok {
					rule.takes |= bit(kind)
				}
			}
			r.stages[stageKey{s.Code, s.Version, stage}] = rule
		}
	}
	r.readSheets(jobs)
	families := map[string][]string{}
	for _, code := range jobs.Codes() {
		families[jobs.Jobs[code].Parent] = append(families[jobs.Jobs[code].Parent], code)
	}
	for _, code := range jobs.Codes() {
		for _, other := range families[jobs.Jobs[code].Parent] {
			r.accept(code, other, Family)
		}
	}
	for _, code := range jobs.Codes() {
		// ROME lists where holders of `code` may go: an offer there accepts them.
		for _, target := range jobs.Jobs[code].Mobility {
			r.accept(target, code, Mobility)
		}
	}
	return r
}

// readSheets weighs the competences of every occupation.
func (r *Rules) readSheets(jobs *reference.Occupations) {
	r.sheets, r.having = map[string][]Wanted{}, map[Item][]string{}
	for _, code := range jobs.Codes() {
		for _, i := range jobs.Jobs[code].Items {
			if item, ok := itemOf(i.Code); ok {
				r.having[item] = append(r.having[item], intern(code))
			}
		}
		if len(jobs.Jobs[code].Items) > 0 {
			r.listed++
		}
	}
	for _, code := range jobs.Codes() {
		var sheet []Wanted
		for _, i := range jobs.Jobs[code].Items {
			if item, ok := itemOf(i.Code); ok {
				sheet = append(sheet, Wanted{item, r.weigh(item, i.Core, r.Weights.Competences.Core)})
			}
		}
		if len(sheet) > 0 {
			r.sheets[code] = ordered(sheet)
		}
	}
}

// weigh gives the weight of a competence: one for each time that the number of
// sheets can be halved until only those are left that have it, and one; times
// the factor when it is a special one.
func (r *Rules) weigh(item Item, special bool, factor int32) int32 {
	weight := int32(mathbits.Len(uint(r.listed / max(1, len(r.having[item])))))
	weight = 1000 * max(1, weight)
	if special {
		weight = weight / 1000 * factor
	}
	return weight
}

// ordered puts wanted competences in order, each once, at its highest weight.
func ordered(list []Wanted) []Wanted {
	slices.SortFunc(list, func(a, b Wanted) int { return cmp.Or(cmp.Compare(a.Item, b.Item), cmp.Compare(b.Weight, a.Weight)) })
	return slices.CompactFunc(list, func(a, b Wanted) bool { return a.Item == b.Item })
}

func weightOf(list []Wanted) (sum int64) {
	for _, w := range list {
		sum += int64(w.Weight)
	}
	return sum
}

// nearTo says of every occupation near another one how near it is: the share of
// the other's competences, by weight, that its own sheet has too; and at least
// what the weights say for one of the same family or with a known move. Without
// competences only families and moves are left.
func (r *Rules) nearTo(rome string) map[string]int32 {
	if have, ok := r.near.Load(rome); ok {
		return have.(map[string]int32)
	}
	shared := map[string]int64{}
	for _, w := range r.sheets[rome] {
		for _, other := range r.having[w.Item] {
			shared[other] += int64(w.Weight)
		}
	}
	all := max(1, weightOf(r.sheets[rome]))
	out := map[string]int32{}
	for other, weight := range shared {
		if value := int32(weight * 1000 / all); value >= r.Weights.Past.Least {
			out[other] = value
		}
	}
	for _, n := range r.accepts[rome] {
		switch n.Kind {
		case Family:
			out[n.Rome] = max(out[n.Rome], r.Weights.Past.Family)
		case Mobility:
			out[n.Rome] = max(out[n.Rome], r.Weights.Past.Mobility)
		}
	}
	out[rome] = 1000
	if len(out) == 1 {
		return out // whatever code an offer may have is not kept
	}
	have, _ := r.near.LoadOrStore(rome, out)
	return have.(map[string]int32)
}

func (r *Rules) accept(offer, candidate string, kind Nearness) {
	if offer != candidate && !slices.ContainsFunc(r.accepts[offer], func(n Near) bool { return n.Rome == candidate }) {
		r.accepts[offer] = append(r.accepts[offer], Near{intern(candidate), kind})
	}
}

// track is an open pathway at a stage, with what its scheme says of it.
func (r *Rules) track(p Pathway) Track {
	rule, known := r.stages[stageKey{p.Scheme, p.Version, p.Stage}]
	return Track{
		Pathway: p.ID, Scheme: intern(p.Scheme), Version: intern(p.Version), Stage: intern(p.Stage),
		Known: known, Takes: rule.takes, Engaged: rule.engaged,
	}
}

// Person reads a seeker's document.
func (r *Rules) Person(s *Seeker) Person {
	p := Person{
		Profile: Profile{
			From: ParseDay(s.AvailableFrom), To: ParseDay(s.AvailableTo),
			Licences: interned(s.Licences), Schemes: interned(s.Schemes), Regions: interned(s.Regions),
		},
		Governorate: intern(s.Governorate),
		Matching:    slices.Contains(s.Consents, ConsentMatching),
		Disclosure:  slices.Contains(s.Consents, ConsentDisclosure),
	}
	for _, code := range s.Competences {
		if item, ok := itemOf(code); ok {
			p.Competences = append(p.Competences, item)
		}
	}
	slices.Sort(p.Competences)
	p.Competences = slices.Compact(p.Competences)
	for _, o := range s.Occupations {
		if i := slices.IndexFunc(p.Occupations, func(e Experience) bool { return e.Rome == o.Rome }); i >= 0 {
			p.Occupations[i].Months = max(p.Occupations[i].Months, o.Months)
			continue
		}
		p.Occupations = append(p.Occupations, Experience{intern(o.Rome), max(0, o.Months)})
	}
	for _, l := range s.Languages {
		rank, _ := reference.CEFR(l.CEFR)
		if i := slices.IndexFunc(p.Languages, func(e Level) bool { return e.Code == l.Code }); i >= 0 {
			p.Languages[i].Rank = max(p.Languages[i].Rank, int8(rank))
			continue
		}
		p.Languages = append(p.Languages, Level{intern(l.Code), int8(rank)})
	}
	for _, w := range s.Pathways {
		if w.Open {
			p.Tracks = append(p.Tracks, r.track(w))
		}
	}
	return p
}

// Demand reads an offer's document; suspended says whether its employer is.
func (r *Rules) Demand(o *Offer, suspended bool) Demand {
	d := Demand{
		Rome: o.Rome, Accepts: append([]Near{{o.Rome, Exact}}, r.accepts[o.Rome]...),
		Scheme: o.Scheme, Region: o.Region, Experience: max(0, o.Experience),
		Start: ParseDay(o.StartsOn), End: ParseDay(o.EndsOn),
		Open: o.Open, Left: max(0, int(o.Posts)-int(o.Filled)), Suspended: suspended,
	}
	d.Wanted, d.Enough = r.sheets[o.Rome], weightOf(r.sheets[o.Rome])*int64(r.Weights.Competences.Enough)/1000
	if len(o.Competences) > 0 {
		d.Wanted, d.Asked = nil, true
		for _, c := range o.Competences {
			if item, ok := itemOf(c.Code); ok {
				d.Wanted = append(d.Wanted, Wanted{item, r.weigh(item, c.Required, r.Weights.Competences.Required)})
			}
		}
		d.Wanted = ordered(d.Wanted)
		d.Enough = weightOf(d.Wanted)
	}
	d.Enough = max(1, d.Enough)
	if o.Rome == "" {
		d.Accepts = nil // nobody's occupation is "", and an offer that names none fits nobody
	} else if r.Weights.Parts.Past > 0 {
		d.Past = r.nearTo(o.Rome)
	}
	if d.End == 0 && d.Start != 0 && o.Months > 0 {
		d.End = d.Start.AddMonths(int(min(o.Months, longestContract)))
	}
	for _, l := range o.Languages {
		rank, _ := reference.CEFR(l.CEFR)
		d.Languages = append(d.Languages, Need{l.Code, int8(rank), l.Required})
	}
	for _, l := range o.Licences {
		if l.Required {
			d.Licences = append(d.Licences, l.Category)
		}
	}
	return d
}

// longestContract bounds, in months, what is taken for the length of a contract.
const longestContract = 1200

// intern gives the one copy of a code, so that a hundred thousand people do not
// carry a hundred thousand copies of "A1401".
func intern(s string) string { return unique.Make(s).Value() }

func interned(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = intern(s)
	}
	return out
}
