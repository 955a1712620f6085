package matching

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"masar.local/pkg/reference"
)

// apply makes a change come true in the documents.
func (c *Change) apply(t *rapid.T, s *Seeker, o *Offer, suspended *bool) {
	switch c.Condition {
	case CondOffer:
		o.Open = true
	case CondPosts:
		o.Posts = o.Filled + 1
	case CondEmployer:
		*suspended = false
	case CondOccupation:
		s.Occupations = append(s.Occupations, Occupation{c.To, 0})
	case CondScheme:
		s.Schemes = append(slices.Clone(s.Schemes), c.To)
	case CondPathway:
		stage := c.To
		if c.From == "" {
			stage = "P02"
		}
		i := slices.IndexFunc(s.Pathways, func(p Pathway) bool { return p.Open && p.Scheme == c.About })
		s.Pathways = slices.Clone(s.Pathways)
		if i < 0 {
			s.Pathways = append(s.Pathways, Pathway{ID: id(999), Seq: 1, Scheme: c.About, Version: "1", Stage: stage, Open: true})
			return
		}
		s.Pathways[i].Stage = stage
	case CondConsent:
		s.Consents = append(slices.Clone(s.Consents), ConsentMatching)
	case CondDisclosure:
		s.Consents = append(slices.Clone(s.Consents), ConsentDisclosure)
	case CondLanguage:
		s.Languages = append(slices.Clone(s.Languages), Language{c.About, c.To})
	case CondLicence:
		s.Licences = append(slices.Clone(s.Licences), c.To)
	case CondDates:
		switch c.About {
		case "from":
			s.AvailableFrom = c.To
		case "to":
			s.AvailableTo = c.To
		}
	default:
		t.Fatalf("nobody can change %s", c.Condition)
	}
}

// After the changes that are said to be enough a person fits, and after all but
// one of them they do not.
func TestChangesAreEnoughAndNoneIsTooMany(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		seeker, offer, suspended := genSeeker(t), genOffer(t), rapid.IntRange(0, 5).Draw(t, "suspended") == 0
		if offer.Filled > offer.Posts {
			offer.Filled = offer.Posts
		}
		own := rapid.Bool().Draw(t, "employer asks")
		fits := func(s Seeker, o Offer, suspended bool) (*Pair, bool) {
			p, d := rules.Person(&s), rules.Demand(&o, suspended)
			pair := &Pair{Offer: &d, Person: &p, Today: today, Kind: Shortlisted, Disclose: own}
			return pair, failed(pair, 0) == len(Conditions)
		}
		pair, ok := fits(*seeker, *offer, suspended)
		changes := rules.Changes(pair)
		if ok != (len(changes) == 0) {
			t.Fatalf("fits: %v, changes %v", ok, changes)
		}
		for _, c := range changes {
			text := c.Why.Text()
			if strings.ContainsAny(text.FR+text.AR, "{}_") || text.FR == c.Why.Key {
				t.Fatalf("a change says %q", text)
			}
		}
		unknown := slices.ContainsFunc(changes, func(c Change) bool { return c.Why.Key == "change_pathway_unknown" || c.Why.Key == "change_scheme_none" })
		if !possible(changes) || unknown || offer.Rome == "" {
			return
		}
		for without := -1; without < len(changes); without++ {
			s, o, barred := *seeker, *offer, suspended
			for i := range changes {
				if i != without {
					changes[i].apply(t, &s, &o, &barred)
				}
			}
			if after, ok := fits(s, o, barred); ok != (without < 0) {
				t.Fatalf("changes %v without number %d: fits %v, fails %v", changes, without, ok, Failures(after))
			}
		}
	})
}

func TestChangesSaySpecifically(t *testing.T) {
	rules := testRules()
	s, o := aSeeker(), anOffer()
	o.Languages = []LanguageNeed{{"fr", "B1", true}, {"fr", "B2", true}, {"en", "", true}}
	o.Licences = []LicenceNeed{{"C", true}, {"CE", true}, {"D", false}}
	s.AvailableFrom, s.Consents = "2026-06-01", nil
	p, d := rules.Person(s), rules.Demand(o, false)
	var got []string
	for _, c := range rules.Changes(&Pair{Offer: &d, Person: &p, Today: today, Kind: Shortlisted}) {
		got = append(got, strings.Join([]string{c.Condition, c.About, c.From, c.To, c.By, c.Why.Text().FR}, "|"))
	}
	want := []string{
		"consent||||candidate|consentir à la mise en relation",
		"language|fr|A2|B2|candidate|français : passer de A2 à B2",
		"language|en||A1|candidate|anglais : atteindre le niveau A1",
		"licence|CE||CE|candidate|obtenir le permis CE",
		"dates|from|2026-06-01|2026-05-01|candidate|être disponible dès le 2026-05-01 au lieu du 2026-06-01",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.Pathways[0].Stage = "P16"
	o.Open = false
	p, d = rules.Person(s), rules.Demand(o, false)
	changes := rules.Changes(&Pair{Offer: &d, Person: &p, Today: today, Kind: Shortlisted})
	if changes[0].By != reference.ByEmployer || !strings.Contains(changes[0].Why.Text().FR, "n'y peut rien") || possible(changes) {
		t.Errorf("a closed offer and a person who is placed: %v", changes)
	}
}
