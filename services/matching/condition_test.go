package matching

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/reference"

	"masar.local/pkg/opendata"
)

// Every condition, with what makes it fail and what nearly does. The pair of
// aSeeker and anOffer meets all.
func TestConditions(t *testing.T) {
	type situation struct {
		seeker    *Seeker
		offer     *Offer
		suspended bool
		pair      Pair
	}
	tests := []struct {
		name   string
		change func(*situation)
		fails  []string // conditions that fail, in order; none: all hold
		why    string   // key of the first reason
	}{
		{name: "all met", change: func(*situation) {}},

		{"closed offer", func(s *situation) { s.offer.Open = false }, []string{CondOffer}, "offer_closed"},
		{"no posts left", func(s *situation) { s.offer.Filled = 2 }, []string{CondPosts}, "posts_left"},
		{"more filled than posts", func(s *situation) { s.offer.Filled = 5 }, []string{CondPosts}, "posts_left"},
		{name: "last post", change: func(s *situation) { s.offer.Filled = 1 }},
		{"employer suspended", func(s *situation) { s.suspended = true }, []string{CondEmployer}, "employer_suspended"},

		{"other occupation", func(s *situation) { s.seeker.Occupations[0].Rome = "J1501" }, []string{CondOccupation}, "occupation_none"},
		{"no occupation", func(s *situation) { s.seeker.Occupations = nil }, []string{CondOccupation}, "occupation_none"},
		{name: "same family", change: func(s *situation) { s.seeker.Occupations[0].Rome = "A1444" }},
		{name: "known move to it", change: func(s *situation) { s.seeker.Occupations[0].Rome = "A1210" }},
		{"move the other way", func(s *situation) { s.seeker.Occupations[0].Rome = "A1402" }, []string{CondOccupation}, "occupation_none"},
		{"offer without a code", func(s *situation) { s.offer.Rome = "" }, []string{CondOccupation}, "occupation_none"},
		{name: "code out of the table", change: func(s *situation) { s.offer.Rome = "Z0000"; s.seeker.Occupations[0].Rome = "Z0000" }},

		{"offer without a scheme", func(s *situation) { s.offer.Scheme = "" }, []string{CondScheme, CondPathway}, "scheme_none"},
		{"wishes another scheme", func(s *situation) { s.seeker.Schemes = []string{"soin"} }, []string{CondScheme}, "scheme_other"},
		{name: "wishes any scheme", change: func(s *situation) { s.seeker.Schemes = nil }},

		{"no pathway", func(s *situation) { s.seeker.Pathways = nil }, []string{CondPathway}, "pathway_none"},
		{"pathway ended", func(s *situation) { s.seeker.Pathways[0].Open = false }, []string{CondPathway}, "pathway_none"},
		{"pathway of another scheme", func(s *situation) { s.seeker.Pathways[0].Scheme = "soin" }, []string{CondPathway}, "pathway_none"},
		{"version not known here", func(s *situation) { s.seeker.Pathways[0].Version = "99" }, []string{CondPathway}, "pathway_unknown"},
		{name: "shortlisted for another offer", change: func(s *situation) { s.seeker.Pathways[0].Stage = "P04" }},
		{name: "after another interview", change: func(s *situation) { s.seeker.Pathways[0].Stage = "P07" }},
		{"interview without a shortlist", func(s *situation) { s.pair.Kind = Interview }, []string{CondPathway}, "pathway_stage"},
		{name: "interview, the optional test skipped", change: func(s *situation) { s.seeker.Pathways[0].Stage, s.pair.Kind = "P04", Interview }},
		{"hire, the interview skipped", func(s *situation) { s.seeker.Pathways[0].Stage, s.pair.Kind = "P04", Hired }, []string{CondPathway}, "pathway_stage"},
		{name: "hire after the interview", change: func(s *situation) { s.seeker.Pathways[0].Stage, s.pair.Kind = "P07", Hired }},

		{"contract signed", func(s *situation) { s.seeker.Pathways[0].Stage = "P08" }, []string{CondPathway, CondFree}, "pathway_stage"},
		{"placed", func(s *situation) { s.seeker.Pathways[0].Stage = "P16" }, []string{CondPathway, CondFree}, "pathway_stage"},
		{"hired in another scheme", func(s *situation) {
			s.seeker.Pathways = append(s.seeker.Pathways, Pathway{ID: id(901), Scheme: "soin", Version: "1", Stage: "P10", Open: true})
		}, []string{CondFree}, "hired_elsewhere"},
		{name: "was hired in a pathway that ended", change: func(s *situation) {
			s.seeker.Pathways = append(s.seeker.Pathways, Pathway{ID: id(901), Scheme: "soin", Version: "1", Stage: "P10"})
		}},
		{"hired for this offer, the pathway has not followed yet", func(s *situation) { s.pair.State = Hired }, []string{CondFree}, "hired_here"},

		{"no consent", func(s *situation) { s.seeker.Consents = []string{"statistics", ConsentDisclosure} }, []string{CondConsent}, "consent_none"},
		{"not to be shown to an employer", func(s *situation) { s.seeker.Consents, s.pair.Disclose = []string{ConsentMatching}, true }, []string{CondDisclosure}, "disclosure_none"},
		{name: "not to be shown, and not shown", change: func(s *situation) { s.seeker.Consents = []string{ConsentMatching} }},
		{"refused for this offer", func(s *situation) { s.pair.State = Refused }, []string{CondRefused}, "refused_here"},

		{"language too low", func(s *situation) { s.offer.Languages[0].CEFR = "B1" }, []string{CondLanguage}, "language_low"},
		{name: "language just reached", change: func(s *situation) { s.offer.Languages[0].CEFR = "A2" }},
		{"language not known", func(s *situation) { s.seeker.Languages = s.seeker.Languages[:1] }, []string{CondLanguage}, "language_none"},
		{name: "any level will do", change: func(s *situation) { s.offer.Languages[0].CEFR = ""; s.seeker.Languages[1].CEFR = "A1" }},
		{name: "any level, level not stated", change: func(s *situation) { s.offer.Languages[0].CEFR = ""; s.seeker.Languages[1].CEFR = "" }},
		{"a level, level not stated", func(s *situation) { s.seeker.Languages[1].CEFR = "" }, []string{CondLanguage}, "language_low"},
		{name: "wished, not required", change: func(s *situation) { s.offer.Languages[0] = LanguageNeed{"fr", "C2", false} }},
		{name: "the better of two statements", change: func(s *situation) {
			s.offer.Languages[0].CEFR = "B2"
			s.seeker.Languages = append(s.seeker.Languages, Language{"fr", "B2"})
		}},

		{"no licence", func(s *situation) { s.seeker.Licences = nil }, []string{CondLicence}, "licence_none"},
		{name: "a higher licence", change: func(s *situation) { s.seeker.Licences = []string{"CE"} }},
		{"a lower licence", func(s *situation) { s.offer.Licences[0].Category = "C" }, []string{CondLicence}, "licence_none"},
		{name: "licence wished, not required", change: func(s *situation) { s.offer.Licences[0] = LicenceNeed{"D", false} }},

		{"free a day late", func(s *situation) { s.seeker.AvailableFrom = "2026-05-02" }, []string{CondDates}, "dates_late"},
		{name: "free on the day", change: func(s *situation) { s.seeker.AvailableFrom, s.seeker.AvailableTo = "2026-05-01", "2026-05-01" }},
		{"free until the day before", func(s *situation) { s.seeker.AvailableTo = "2026-04-30" }, []string{CondDates}, "dates_over"},
		{"start is past: today counts", func(s *situation) { s.offer.StartsOn, s.seeker.AvailableFrom = "2026-02-01", "2026-03-02" }, []string{CondDates}, "dates_late"},
		{name: "start is past, free now", change: func(s *situation) { s.offer.StartsOn, s.seeker.AvailableFrom = "2026-02-01", "2026-03-01" }},
		{name: "no start, free later", change: func(s *situation) { s.offer.StartsOn, s.seeker.AvailableFrom = "", "2026-09-01" }},
		{"no start, no longer free", func(s *situation) { s.offer.StartsOn, s.seeker.AvailableTo = "", "2026-02-28" }, []string{CondDates}, "dates_over"},

		{"several at once", func(s *situation) { s.seeker.Consents, s.seeker.Licences = nil, nil }, []string{CondConsent, CondLicence}, "consent_none"},
	}
	rules := testRules()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &situation{seeker: aSeeker(), offer: anOffer(), pair: Pair{Today: today, Kind: Shortlisted}}
			tt.change(s)
			person, demand := rules.Person(s.seeker), rules.Demand(s.offer, s.suspended)
			s.pair.Person, s.pair.Offer = &person, &demand
			var fails []string
			out := Failures(&s.pair)
			for _, f := range out {
				fails = append(fails, f.Condition)
			}
			if !slices.Equal(fails, tt.fails) {
				t.Fatalf("conditions that fail: %v, want %v", fails, tt.fails)
			}
			if len(out) > 0 && out[0].Why.Key != tt.why {
				t.Fatalf("first reason is %q, want %q", out[0].Why.Key, tt.why)
			}
			if first := failed(&s.pair, 0); len(tt.fails) > 0 && Conditions[first].Name != tt.fails[0] || len(tt.fails) == 0 && first != len(Conditions) {
				t.Fatalf("failed stops at condition %d, want %v", first, tt.fails)
			}
			for _, c := range Conditions { // whatever is found can be said
				text := c.Check(&s.pair).Why.Text()
				for _, said := range []string{text.FR, text.AR} {
					if said == "" || strings.Contains(said, "_") || strings.Contains(said, "{") {
						t.Errorf("condition %s says %q", c.Name, said)
					}
				}
			}
		})
	}
}

// Conditions about the offer alone come first: Index.Candidates relies on it.
func TestWholeConditionsComeFirst(t *testing.T) {
	person := false
	for _, c := range Conditions {
		if c.Whole && person {
			t.Errorf("condition %s is about the offer alone, but comes after one about the person", c.Name)
		}
		if !c.Whole && !person && c.Name != CondOccupation {
			t.Errorf("the first condition about the person is %s, want %s", c.Name, CondOccupation)
		}
		person = person || !c.Whole
	}
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// Both languages of a text speak of the same things.
func TestTextsAreWhole(t *testing.T) {
	known := []string{"{a}", "{b}", "{c}", "{n}", "{from}", "{to}", "{lang}", "{stage}", "{kind}", "{state}"}
	for key, text := range texts {
		fr, ar := placeholder.FindAllString(text.FR, -1), placeholder.FindAllString(text.AR, -1)
		slices.Sort(fr)
		slices.Sort(ar)
		if !slices.Equal(fr, ar) {
			t.Errorf("%s: %v in French, %v in Arabic", key, fr, ar)
		}
		for _, p := range fr {
			if !slices.Contains(known, p) {
				t.Errorf("%s: unknown placeholder %s", key, p)
			}
		}
	}
	for _, name := range append(slices.Clone(Kinds), PartOccupation, PartCompetences, PartLanguage, PartAvailability, PartWishes, PartPast) {
		if l := Label(name); l.FR == name || l.AR == "" {
			t.Errorf("%s has no label", name)
		}
	}
	for _, c := range Conditions {
		if l := Label(c.Name); l.FR == c.Name || l.AR == "" {
			t.Errorf("condition %s has no label", c.Name)
		}
	}
}

func TestReasonInBothLanguages(t *testing.T) {
	got := Reason{Key: "language_low", A: "fr", B: "B1", C: "A2"}.Text()
	if want := "français : B1 exigé, niveau A2"; got.FR != want {
		t.Errorf("French: %q, want %q", got.FR, want)
	}
	if want := "الفرنسية: المطلوب \u2068B1\u2069، المستوى \u2068A2\u2069"; got.AR != want {
		t.Errorf("Arabic: %q, want %q", got.AR, want)
	}
	got = Reason{Key: "pathway_stage", A: "P08", B: Shortlisted}.Text()
	if !strings.Contains(got.FR, "P08") || !strings.Contains(got.FR, "présélection") {
		t.Errorf("French: %q, want stage and decision by name", got.FR)
	}
}

// The whole of ROME: the occupations that fit are those that its sheets say.
func TestRulesOverTheWholeOfROME(t *testing.T) {
	all, err := reference.ImportROME(opendata.Path(t, "rome"))
	if err != nil {
		t.Fatal(err)
	}
	rules := NewRules(PresentWeights(), reference.Schemes(), all)
	near := rules.Demand(&Offer{Rome: "A1401"}, false).Accepts
	if len(near) == 0 || near[0] != (Near{"A1401", Exact}) {
		t.Fatalf("the offer's own occupation is not the first: %v", near)
	}
	kinds := map[string]Nearness{}
	for _, n := range near {
		if _, twice := kinds[n.Rome]; twice {
			t.Errorf("%s is there twice", n.Rome)
		}
		kinds[n.Rome] = n.Kind
	}
	if kinds["A1444"] != Family {
		t.Errorf("A1444 shares the parent of A1401, found as %q", kinds["A1444"])
	}
	for code, kind := range kinds {
		if kind == Mobility && !slices.Contains(all.Jobs[code].Mobility, "A1401") {
			t.Errorf("%s is said to lead to A1401, but its sheet does not", code)
		}
	}
	for code, job := range all.Jobs {
		if slices.Contains(job.Mobility, "A1401") && kinds[code] == "" {
			t.Errorf("the sheet of %s leads to A1401, but it does not fit", code)
		}
	}
}
