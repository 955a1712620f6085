package matching

import (
	"slices"
	"strings"

	"masar.local/pkg/reference"
)

// Change is one thing that would have to be otherwise for a person to fit an
// offer.
type Change struct {
	Condition string
	// About is the code of what is to change: a language, a licence, a scheme, an
	// occupation; "" where the condition says it all.
	About    string
	From, To string // level, code or day, now and then; "" for none
	// By is who can change it: reference.ByCandidate, ByEmployer or ByProgramme;
	// "" for what nobody can.
	By  string
	Why Reason // what would have to be done
}

// Changes are the fewest changes after which every condition holds for a pair,
// in the order of the conditions; none when all hold already. Where there is more
// than one way, it is the one that the offer asks for: its own occupation, the
// very level, the very licence, the very day. A licence that comes with another
// one is left out.
func (r *Rules) Changes(p *Pair) []Change {
	var out []Change
	for _, f := range Failures(p) {
		c := Change{Condition: f.Condition, Why: Reason{Key: "change_" + f.Why.Key}}
		switch f.Condition {
		case CondOffer:
			c.By = reference.ByEmployer
		case CondPosts:
			c.From, c.To, c.By = "0", "1", reference.ByEmployer
		case CondEmployer:
			c.By = reference.ByProgramme
		case CondOccupation:
			var codes []string
			for _, o := range p.Person.Occupations {
				codes = append(codes, o.Rome)
			}
			c.About, c.From, c.To, c.By = p.Offer.Rome, strings.Join(codes, " "), p.Offer.Rome, reference.ByCandidate
		case CondScheme:
			c.About, c.By = p.Offer.Scheme, reference.ByProgramme
			if p.Offer.Scheme != "" {
				c.From, c.To, c.By = strings.Join(p.Person.Schemes, " "), p.Offer.Scheme, reference.ByCandidate
			}
		case CondPathway:
			if p.Offer.Scheme == "" {
				continue // there is no scheme to have a pathway in: see there
			}
			c.About, c.By = p.Offer.Scheme, reference.ByProgramme
			if t := trackIn(p.Person, p.Offer.Scheme); t != nil {
				c.From, c.To = t.Stage, r.stageFor(t, p.Kind)
			}
		case CondFree, CondRefused: // decided, and nobody can undo it
		case CondConsent, CondDisclosure:
			c.By = reference.ByCandidate
		case CondLanguage:
			out = append(out, languageChanges(p)...)
			continue
		case CondLicence:
			out = append(out, licenceChanges(p)...)
			continue
		case CondDates:
			out = append(out, dateChanges(p)...)
			continue
		}
		c.Why.A, c.Why.B, c.Why.C = c.About, c.To, c.From
		out = append(out, c)
	}
	return out
}

// stageFor is the stage of a pathway's scheme that takes a decision: the next
// one from where it is, or else the first; "" when there is none.
func (r *Rules) stageFor(t *Track, kind string) (stage string) {
	s, ok := r.schemes.Get(t.Scheme, t.Version)
	if !ok {
		return ""
	}
	passed := false
	for i := range s.Stages {
		code := s.Stages[i].Code
		passed = passed || code == t.Stage
		if !r.stages[stageKey{s.Code, s.Version, code}].takes.has(kind) {
			continue
		}
		if passed {
			return code
		}
		if stage == "" {
			stage = code
		}
	}
	return stage
}

// languageChanges: each language that falls short, once, to the highest level
// asked for.
func languageChanges(p *Pair) (out []Change) {
	for i := range p.Offer.Languages {
		need := &p.Offer.Languages[i]
		have, knows := level(&p.Person.Profile, need.Code)
		if !need.Required || knows && have >= need.Rank {
			continue
		}
		higher := slices.ContainsFunc(p.Offer.Languages, func(n Need) bool {
			return n.Required && n.Code == need.Code && n.Rank > need.Rank
		})
		if higher || slices.ContainsFunc(out, func(c Change) bool { return c.About == need.Code }) {
			continue
		}
		to := cefr(max(1, need.Rank))
		out = append(out, Change{
			Condition: CondLanguage, About: need.Code, From: cefr(have), To: to, By: reference.ByCandidate,
			Why: Reason{Key: yesNo(have > 0, "change_language_low", "change_language_none"), A: need.Code, B: to, C: cefr(have)},
		})
	}
	return out
}

// licenceChanges: the licences that are missing, without those that come with
// another one of them.
func licenceChanges(p *Pair) (out []Change) {
	var get []string
	for _, need := range p.Offer.Licences {
		if !licenceHeld(p.Person.Licences, need) && !slices.Contains(get, need) {
			get = append(get, need)
		}
	}
	for i := 0; i < len(get); {
		others := slices.Concat(p.Person.Licences, get[:i], get[i+1:])
		if licenceHeld(others, get[i]) {
			get = slices.Delete(get, i, i+1)
			continue
		}
		i++
	}
	for _, need := range get {
		out = append(out, Change{
			Condition: CondLicence, About: need, To: need, By: reference.ByCandidate,
			Why: Reason{Key: "change_licence_none", A: need},
		})
	}
	return out
}

// dateChanges: available on the first day.
func dateChanges(p *Pair) (out []Change) {
	start := max(p.Offer.Start, p.Today)
	late, over := misses(p.Offer, start, p.Person.From, p.Person.To)
	if late {
		out = append(out, Change{
			Condition: CondDates, About: "from", From: p.Person.From.String(), To: start.String(), By: reference.ByCandidate,
			Why: Reason{Key: "change_dates_late", From: p.Person.From, To: start},
		})
	}
	if over {
		out = append(out, Change{
			Condition: CondDates, About: "to", From: p.Person.To.String(), To: start.String(), By: reference.ByCandidate,
			Why: Reason{Key: "change_dates_over", From: p.Person.To, To: start},
		})
	}
	return out
}
