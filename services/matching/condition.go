package matching

import (
	"slices"

	"masar.local/pkg/reference"
)

// Pair is one offer and one person, and all else that a condition may look at.
type Pair struct {
	Offer  *Demand
	Person *Person
	Today  Day    // the day that availability is judged on
	Kind   string // the decision in question; Shortlisted for a proposal
	// Disclose says that an employer is to see the person.
	Disclose bool
	// State is that of the pair's case, "" when nothing was decided yet.
	State string
}

// Finding is what a condition found: whether it holds, and why.
type Finding struct {
	OK  bool
	Why Reason
}

// Condition is one hard rule. Check is pure. Whole says that it looks at the
// offer alone, so that it holds for all people or for none.
type Condition struct {
	Name  string
	Check func(*Pair) Finding
	Whole bool
}

// Names of the conditions.
const (
	CondOffer      = "offer"
	CondPosts      = "posts"
	CondEmployer   = "employer"
	CondOccupation = "occupation"
	CondScheme     = "scheme"
	CondPathway    = "pathway"
	CondFree       = "free"
	CondConsent    = "consent"
	CondDisclosure = "disclosure"
	CondRefused    = "not_refused"
	CondLanguage   = "language"
	CondLicence    = "licence"
	CondDates      = "dates"
)

// Conditions are all of them, in the order in which people are counted out: who
// fails several is counted under the first. Occupation comes first of those
// about the person because the index answers it without looking at anybody.
var Conditions = []Condition{
	{CondOffer, offerOpen, true},
	{CondPosts, postsLeft, true},
	{CondEmployer, employerActive, true},
	{CondOccupation, occupationFits, false},
	{CondScheme, schemeWished, false},
	{CondPathway, pathwayTakes, false},
	{CondFree, personFree, false},
	{CondConsent, consentGiven, false},
	{CondDisclosure, disclosureGiven, false},
	{CondRefused, notRefused, false},
	{CondLanguage, languagesReached, false},
	{CondLicence, licencesHeld, false},
	{CondDates, availableAtStart, false},
}

// failed gives the place of the first condition, from the given one on, that
// does not hold; len(Conditions) when all hold.
func failed(p *Pair, from int) int {
	for i := from; i < len(Conditions); i++ {
		if !Conditions[i].Check(p).OK {
			return i
		}
	}
	return len(Conditions)
}

// Failure is a condition that does not hold for a pair.
type Failure struct {
	Condition string
	Why       Reason
}

// Failures lists every condition that does not hold for the pair.
func Failures(p *Pair) []Failure {
	var out []Failure
	for _, c := range Conditions {
		if f := c.Check(p); !f.OK {
			out = append(out, Failure{c.Name, f.Why})
		}
	}
	return out
}

// offerOpen: the offer takes candidates.
func offerOpen(p *Pair) Finding {
	if !p.Offer.Open {
		return Finding{Why: Reason{Key: "offer_closed"}}
	}
	return Finding{OK: true, Why: Reason{Key: "offer_open"}}
}

// postsLeft: at least one post is not filled.
func postsLeft(p *Pair) Finding {
	return Finding{OK: p.Offer.Left > 0, Why: Reason{Key: "posts_left", N: int32(p.Offer.Left)}}
}

// employerActive: the employer is not suspended. An employer that has not been
// heard of yet is taken for active: its events may come after its offer's.
func employerActive(p *Pair) Finding {
	if p.Offer.Suspended {
		return Finding{Why: Reason{Key: "employer_suspended"}}
	}
	return Finding{OK: true, Why: Reason{Key: "employer_active"}}
}

// occupationFits: the person has the offer's occupation, or one that ROME puts
// beside it: of the same family of sheets, or with a known move to it.
func occupationFits(p *Pair) Finding {
	near, at := nearest(p.Offer, &p.Person.Profile)
	if at < 0 {
		return Finding{Why: Reason{Key: "occupation_none", A: p.Offer.Rome}}
	}
	return Finding{OK: true, Why: Reason{Key: "occupation_" + string(near.Kind), A: p.Person.Occupations[at].Rome, B: p.Offer.Rome}}
}

// nearest finds the person's occupation that is nearest to the offer's; at is
// its place in the profile, -1 when none fits.
func nearest(d *Demand, p *Profile) (near Near, at int) {
	for _, near := range d.Accepts {
		for i := range p.Occupations {
			if p.Occupations[i].Rome == near.Rome {
				return near, i
			}
		}
	}
	return Near{}, -1
}

// schemeWished: the offer falls under a scheme, and the person wishes it or has
// no wish.
func schemeWished(p *Pair) Finding {
	switch {
	case p.Offer.Scheme == "":
		return Finding{Why: Reason{Key: "scheme_none"}}
	case len(p.Person.Schemes) > 0 && !slices.Contains(p.Person.Schemes, p.Offer.Scheme):
		return Finding{Why: Reason{Key: "scheme_other", A: p.Offer.Scheme}}
	}
	return Finding{OK: true, Why: Reason{Key: "scheme_wished", A: p.Offer.Scheme}}
}

// pathwayTakes: the person has an open pathway in the offer's scheme, at a stage
// at which the scheme allows the decision.
func pathwayTakes(p *Pair) Finding {
	t := trackIn(p.Person, p.Offer.Scheme)
	switch {
	case t == nil:
		return Finding{Why: Reason{Key: "pathway_none", A: p.Offer.Scheme}}
	case !t.Known:
		return Finding{Why: Reason{Key: "pathway_unknown", A: t.Stage, B: t.Version}}
	case !t.Takes.has(p.Kind):
		return Finding{Why: Reason{Key: "pathway_stage", A: t.Stage, B: p.Kind}}
	}
	return Finding{OK: true, Why: Reason{Key: "pathway_takes", A: t.Stage}}
}

// trackIn finds the person's open pathway in a scheme; there is at most one.
func trackIn(p *Person, scheme string) *Track {
	for i := range p.Tracks {
		if p.Tracks[i].Scheme == scheme {
			return &p.Tracks[i]
		}
	}
	return nil
}

// personFree: the person is not hired or placed in an open pathway, of any
// scheme.
func personFree(p *Pair) Finding {
	if p.State == Accepted || p.State == Hired {
		return Finding{Why: Reason{Key: "hired_here"}}
	}
	for i := range p.Person.Tracks {
		if t := &p.Person.Tracks[i]; t.Engaged {
			return Finding{Why: Reason{Key: "hired_elsewhere", A: t.Stage}}
		}
	}
	return Finding{OK: true, Why: Reason{Key: "free"}}
}

// consentGiven: the person's consent to be matched is in force.
func consentGiven(p *Pair) Finding {
	return Finding{OK: p.Person.Matching, Why: Reason{Key: yesNo(p.Person.Matching, "consent", "consent_none")}}
}

// disclosureGiven: an employer sees only those who consent to it.
func disclosureGiven(p *Pair) Finding {
	if p.Disclose && !p.Person.Disclosure {
		return Finding{Why: Reason{Key: "disclosure_none"}}
	}
	return Finding{OK: true, Why: Reason{Key: yesNo(p.Person.Disclosure, "disclosure", "disclosure_later")}}
}

// notRefused: the person was not refused for this very offer, and did not stay away.
func notRefused(p *Pair) Finding {
	switch p.State {
	case Refused:
		return Finding{Why: Reason{Key: "refused_here"}}
	case NoShow:
		return Finding{Why: Reason{Key: "no_show_here"}}
	}
	return Finding{OK: true, Why: Reason{Key: "not_refused"}}
}

// languagesReached: every required language is known at the required level. A
// language that is required without a level is reached by any level of it.
func languagesReached(p *Pair) Finding {
	for i := range p.Offer.Languages {
		need := &p.Offer.Languages[i]
		if !need.Required {
			continue
		}
		have, knows := level(&p.Person.Profile, need.Code)
		if !knows {
			return Finding{Why: Reason{Key: "language_none", A: need.Code, B: cefr(need.Rank)}}
		}
		if have < need.Rank {
			return Finding{Why: Reason{Key: "language_low", A: need.Code, B: cefr(need.Rank), C: cefr(have)}}
		}
	}
	return Finding{OK: true, Why: Reason{Key: "language_reached"}}
}

func level(p *Profile, code string) (rank int8, knows bool) {
	for i := range p.Languages {
		if p.Languages[i].Code == code {
			return p.Languages[i].Rank, true
		}
	}
	return 0, false
}

// licencesHeld: every required driving licence is held, or one that stands for
// it.
func licencesHeld(p *Pair) Finding {
	for _, need := range p.Offer.Licences {
		if !licenceHeld(p.Person.Licences, need) {
			return Finding{Why: Reason{Key: "licence_none", A: need}}
		}
	}
	return Finding{OK: true, Why: Reason{Key: "licence_held"}}
}

// licenceHeld says whether licences include the required one, or one that stands for it.
func licenceHeld(licences []string, need string) bool {
	// The category itself, as nearly always, without asking the table.
	return slices.Contains(licences, need) || reference.LicencesCover(licences, need)
}

// availableAtStart: the person is available on the first day of work. That is
// the offer's start, or the day in question when the start is past or not
// stated.
func availableAtStart(p *Pair) Finding {
	start := max(p.Offer.Start, p.Today)
	switch late, over := misses(p.Offer, start, p.Person.From, p.Person.To); {
	case late:
		return Finding{Why: Reason{Key: "dates_late", From: p.Person.From, To: start}}
	case over:
		return Finding{Why: Reason{Key: "dates_over", From: p.Person.To, To: start}}
	}
	return Finding{OK: true, Why: Reason{Key: "dates_fit", From: start}}
}

// misses says whether whoever is available from and to these days comes too late
// for the first day, and whether they are no longer available on it. When the
// offer does not say when it starts, whoever is free later is free for it.
func misses(d *Demand, start, from, to Day) (late, over bool) {
	return d.Start != 0 && from > start, to != 0 && to < start
}

func yesNo(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

var cefrNames = append([]string{""}, reference.CEFRLevels()...)

// cefr is the level of a rank, "" for an unknown one.
func cefr(rank int8) string { return cefrNames[rank] }
