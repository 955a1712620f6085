package matching

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"masar.local/pkg/reference"
	candidatesv1 "masar.local/proto/masar/candidates/v1"

	"masar.local/pkg/opendata"
)

func TestScoreParts(t *testing.T) {
	w, rules := PresentWeights(), testRules()
	tests := []struct {
		name   string
		change func(*Seeker, *Offer)
		part   string
		want   int32
	}{
		// 12 of 24 months: 500 + half of 500.
		{"half the experience", func(*Seeker, *Offer) {}, PartOccupation, 750},
		{"none", func(s *Seeker, _ *Offer) { s.Occupations[0].Months = 0 }, PartOccupation, 500},
		{"full", func(s *Seeker, _ *Offer) { s.Occupations[0].Months = 24 }, PartOccupation, 1000},
		{"more than full", func(s *Seeker, _ *Offer) { s.Occupations[0].Months = 240 }, PartOccupation, 1000},
		{"the offer says how much", func(_ *Seeker, o *Offer) { o.Experience = 12 }, PartOccupation, 1000},
		{"family", func(s *Seeker, _ *Offer) { s.Occupations[0] = Occupation{"A1444", 24} }, PartOccupation, 800},
		{"mobility", func(s *Seeker, _ *Offer) { s.Occupations[0] = Occupation{"A1210", 24} }, PartOccupation, 600},
		{"the best of two", func(s *Seeker, _ *Offer) {
			s.Occupations = []Occupation{{"A1401", 0}, {"A1444", 24}}
		}, PartOccupation, 800},
		{"none that fits", func(s *Seeker, _ *Offer) { s.Occupations = nil }, PartOccupation, 0},

		// The sheet weighs 1000 + 2000 + 2 x 3000 + 3000 = 12000; 300 of 1000 are enough: 3600.
		{"nothing declared", func(*Seeker, *Offer) {}, PartCompetences, 500},
		{"what everybody has", func(s *Seeker, _ *Offer) { s.Competences = []string{"1"} }, PartCompetences, 638},
		{"what few have", func(s *Seeker, _ *Offer) { s.Competences = []string{"2"} }, PartCompetences, 777},
		{"what nobody else has", func(s *Seeker, _ *Offer) { s.Competences = []string{"4"} }, PartCompetences, 916},
		{"a core one", func(s *Seeker, _ *Offer) { s.Competences = []string{"3"} }, PartCompetences, 1000},
		{"twice the same", func(s *Seeker, _ *Offer) { s.Competences = []string{"1", "1"} }, PartCompetences, 638},
		{"others", func(s *Seeker, _ *Offer) { s.Competences = []string{"5", "99", "x"} }, PartCompetences, 500},
		{"a sheet without any", func(s *Seeker, o *Offer) { s.Competences = []string{"1"}; o.Rome = "J1501" }, PartCompetences, 500},
		// Named by the offer: 2 x 3000 required, and 1000.
		{"the required one of two", func(s *Seeker, o *Offer) {
			s.Competences, o.Competences = []string{"5"}, []CompetenceNeed{{"5", true}, {"1", false}}
		}, PartCompetences, 928},
		{"the other", func(s *Seeker, o *Offer) {
			s.Competences, o.Competences = []string{"1"}, []CompetenceNeed{{"5", true}, {"1", false}}
		}, PartCompetences, 571},

		{"the same work", func(*Seeker, *Offer) {}, PartPast, 1000},
		{"never worked", func(s *Seeker, _ *Offer) { s.Occupations[0].Months = 0 }, PartPast, 0},
		{"work of the family", func(s *Seeker, _ *Offer) { s.Occupations[0].Rome = "A1444" }, PartPast, 600},
		{"work with a move to it", func(s *Seeker, _ *Offer) { s.Occupations[0].Rome = "A1210" }, PartPast, 400},
		{"work with something in common", func(s *Seeker, _ *Offer) { s.Occupations[0].Rome = "A1402" }, PartPast, 83},
		{"work with more in common than the floor", func(_ *Seeker, o *Offer) { o.Rome = "A1444" }, PartPast, 600},
		{"work of another kind", func(s *Seeker, _ *Offer) { s.Occupations[0].Rome = "J1501" }, PartPast, 0},

		{"a level above", func(*Seeker, *Offer) {}, PartLanguage, 750},
		{"just reached", func(s *Seeker, _ *Offer) { s.Languages[1].CEFR = "A1" }, PartLanguage, 500},
		{"two above", func(s *Seeker, _ *Offer) { s.Languages[1].CEFR = "B1" }, PartLanguage, 1000},
		{"five above", func(s *Seeker, _ *Offer) { s.Languages[1].CEFR = "C2" }, PartLanguage, 1000},
		{"half way to a wish", func(s *Seeker, o *Offer) { o.Languages[0] = LanguageNeed{"fr", "B2", false} }, PartLanguage, 250},
		{"not known", func(s *Seeker, _ *Offer) { s.Languages = nil }, PartLanguage, 0},
		{"mean of two", func(_ *Seeker, o *Offer) {
			o.Languages = append(o.Languages, LanguageNeed{"en", "A1", false})
		}, PartLanguage, 375},
		{"nobody asked: French A2", func(_ *Seeker, o *Offer) { o.Languages = nil }, PartLanguage, 500},

		{"the whole contract", func(*Seeker, *Offer) {}, PartAvailability, 1000},
		// 1 May to 1 September is 124 days; to 30 June 61.
		{"half of it", func(s *Seeker, _ *Offer) { s.AvailableTo = "2026-06-30" }, PartAvailability, 491},
		{"none of it", func(s *Seeker, _ *Offer) { s.AvailableTo = "2026-04-30" }, PartAvailability, 0},
		{"no end: a year", func(s *Seeker, o *Offer) { o.Months = 0; s.AvailableTo = "2026-09-30" }, PartAvailability, 419},
		{"it is over", func(_ *Seeker, o *Offer) { o.StartsOn, o.EndsOn = "2025-05-01", "2025-06-01" }, PartAvailability, 0},

		{"both wishes", func(*Seeker, *Offer) {}, PartWishes, 1000},
		{"other region", func(s *Seeker, _ *Offer) { s.Regions = []string{"93"} }, PartWishes, 300},
		{"no wishes", func(s *Seeker, _ *Offer) { s.Regions, s.Schemes = nil, nil }, PartWishes, 500},
		{"region not stated", func(_ *Seeker, o *Offer) { o.Region = "" }, PartWishes, 650},
	}
	for _, tt := range tests {
		t.Run(tt.part+" "+tt.name, func(t *testing.T) {
			s, o := aSeeker(), anOffer()
			tt.change(s, o)
			p, d := rules.Person(s), rules.Demand(o, false)
			parts := Score(w, &d, &p.Profile, today)
			i := slices.IndexFunc(parts[:], func(p Part) bool { return p.Name == tt.part })
			if parts[i].Value != tt.want {
				t.Errorf("%s is %d, want %d", tt.part, parts[i].Value, tt.want)
			}
			if text := parts[i].Why.Text(); strings.Contains(text.FR+text.AR, "_") || strings.Contains(text.FR+text.AR, "{") {
				t.Errorf("its reason is %q", text)
			}
		})
	}
}

func TestTotalIsTheWeightedMean(t *testing.T) {
	p, d := testRules().Person(aSeeker()), testRules().Demand(anOffer(), false)
	parts := Score(PresentWeights(), &d, &p.Profile, today)
	// 750 x 0.3 + 500 x 0.15 + 750 x 0.2 + 1000 x 0.125 + 1000 x 0.125 + 1000 x 0.1
	if got := parts.Total(); got != 800 {
		t.Errorf("total %d, want 800", got)
	}
}

// What was scored with a past version can be scored with it again.
func TestPastVersionsOfWeights(t *testing.T) {
	versions := WeightsVersions()
	if versions[len(versions)-1] != PresentWeights().Version {
		t.Errorf("versions %v, present %s", versions, PresentWeights().Version)
	}
	for _, v := range versions {
		if w, err := WeightsVersion(v); err != nil || w.Version != v {
			t.Errorf("weights/%s.yaml: version %q, error %v", v, w.Version, err)
		}
	}
	if _, err := WeightsVersion("1999-1"); err == nil || !strings.Contains(err.Error(), "1999-1") || !strings.Contains(err.Error(), "2026-1") {
		t.Errorf("an unknown version: %v", err)
	}
	w, err := WeightsVersion("2026-1")
	if err != nil {
		t.Fatal(err)
	}
	rules := NewRules(w, reference.Schemes(), jobs)
	s := aSeeker()
	s.Competences = []string{"1", "3"}
	p, d := rules.Person(s), rules.Demand(anOffer(), false)
	parts := Score(w, &d, &p.Profile, today)
	// 750 x 0.45 + 750 x 0.25 + 1000 x 0.15 + 1000 x 0.15, and nothing else
	if got := parts.Total(); got != 825 {
		t.Errorf("total %d, want 825", got)
	}
	if shown := scored(&Match{Parts: parts}).Parts; len(shown) != 4 {
		t.Errorf("%d parts are shown, want the four of that version", len(shown))
	}
}

// To declare one competence more never lowers a score.
func TestScoreIsMonotoneInCompetences(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		s, d := genSeeker(t), rules.Demand(genOffer(t), false)
		p := rules.Person(s)
		s.Competences = append(s.Competences, rapid.SampledFrom(ogrs).Draw(t, "more"))
		more := rules.Person(s)
		before, after := Score(rules.Weights, &d, &p.Profile, today), Score(rules.Weights, &d, &more.Profile, today)
		if after.Total() < before.Total() {
			t.Fatalf("%v: %d; %v: %d", p.Competences, before.Total(), more.Competences, after.Total())
		}
	})
}

// Over the whole of ROME: every sheet has competences, rare ones weigh more, and
// what is near by them is plausible.
func TestCompetencesOverTheWholeOfROME(t *testing.T) {
	all, err := reference.ImportROME(opendata.Path(t, "rome"))
	if err != nil {
		t.Fatal(err)
	}
	rules := NewRules(PresentWeights(), reference.Schemes(), all)
	for code := range all.Jobs {
		if d := rules.Demand(&Offer{Rome: code}, false); len(d.Wanted) == 0 || d.Past[code] != 1000 {
			t.Errorf("%s: %d competences, nearness to itself %d", code, len(d.Wanted), d.Past[code])
		}
	}
	few, many := Item(0), Item(0)
	for item, on := range rules.having {
		if many == 0 || len(on) > len(rules.having[many]) {
			many = item
		}
		if len(on) == 1 {
			few = item
		}
	}
	if rare, common := rules.weigh(few, false, 0), rules.weigh(many, false, 0); rare != 11_000 || common != 1000 {
		t.Errorf("a competence of one sheet of 1584 weighs %d, one of %d weighs %d; want 11000 and 1000", rare, len(rules.having[many]), common)
	}
	near := rules.nearTo("A1401")
	if near["A1402"] <= near["M1805"] {
		t.Errorf("to A1401 (growing crops) A1402 is as near as %d, M1805 (computing) %d", near["A1402"], near["M1805"])
	}
}

// A score stays within 0 and 1000, and so does every part.
func TestScoreIsBounded(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		p, d := genProfile(t), rules.Demand(genOffer(t), false)
		parts := Score(rules.Weights, &d, &p, today)
		for _, part := range parts {
			if part.Value < 0 || part.Value > 1000 {
				t.Fatalf("part %s is %d", part.Name, part.Value)
			}
		}
		if total := parts.Total(); total < 0 || total > 1000 {
			t.Fatalf("total %d", total)
		}
	})
}

// More experience never lowers a score, and beyond what counts as full it
// changes nothing.
func TestScoreIsMonotoneInExperience(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		p, d := genProfile(t), rules.Demand(genOffer(t), false)
		if len(p.Occupations) == 0 {
			p.Occupations = []Experience{{"A1401", 3}}
		}
		i := rapid.IntRange(0, len(p.Occupations)-1).Draw(t, "which")
		more := p
		more.Occupations = slices.Clone(p.Occupations)
		more.Occupations[i].Months += rapid.Int32Range(0, 200).Draw(t, "more")
		before, after := Score(rules.Weights, &d, &p, today), Score(rules.Weights, &d, &more, today)
		if after.Total() < before.Total() {
			t.Fatalf("%d months: %d; %d months: %d", p.Occupations[i].Months, before.Total(), more.Occupations[i].Months, after.Total())
		}
		full := rules.Weights.Occupation.FullMonths
		if d.Experience > 0 {
			full = d.Experience
		}
		if p.Occupations[i].Months >= full && after.Total() != before.Total() {
			t.Fatalf("experience beyond %d months moved the score from %d to %d", full, before.Total(), after.Total())
		}
	})
}

// Knowing one language more, or one better, never lowers a score.
func TestScoreIsMonotoneInLanguages(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		s, d := genSeeker(t), rules.Demand(genOffer(t), false)
		p := rules.Person(s)
		s.Languages = append(s.Languages, Language{rapid.SampledFrom(tongs).Draw(t, "code"), rapid.SampledFrom(cefrs).Draw(t, "level")})
		more := rules.Person(s)
		before, after := Score(rules.Weights, &d, &p.Profile, today), Score(rules.Weights, &d, &more.Profile, today)
		if after.Total() < before.Total() {
			t.Fatalf("%v: %d; %v: %d", p.Languages, before.Total(), more.Languages, after.Total())
		}
	})
}

// The score function is given nothing that could tell sex, age, name or origin:
// by its types...
func TestScoreCannotSeeWhoSomebodyIs(t *testing.T) {
	forbidden := []string{"sex", "gender", "age", "birth", "name", "governorate", "origin", "nationality", "person", "photo", "diploma"}
	seen := map[reflect.Type]bool{}
	var look func(path string, of reflect.Type)
	look = func(path string, of reflect.Type) {
		if seen[of] {
			return
		}
		seen[of] = true
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			look(path, of.Elem())
		case reflect.Interface, reflect.Func, reflect.Chan:
			t.Errorf("%s: a %s could hide anything", path, of.Kind())
		case reflect.Struct:
			for i := range of.NumField() {
				f := of.Field(i)
				lower := strings.ReplaceAll(strings.ToLower(f.Name), "language", "tongue") // no age in it
				for _, word := range forbidden {
					if strings.Contains(lower, word) {
						t.Errorf("%s.%s: the score could see it", path, f.Name)
					}
				}
				look(path+"."+f.Name, f.Type)
			}
		}
	}
	score := reflect.TypeOf(Score)
	if got := score.NumIn(); got != 4 {
		t.Fatalf("Score takes %d things, want 4: look at each of them here", got)
	}
	look("Demand", score.In(1))
	look("Profile", score.In(2))
	if score.In(3).Kind() != reflect.Int32 {
		t.Errorf("the fourth is a %s, want a day", score.In(3))
	}
	// Of the weights only that they are figures of the programme.
	if score.In(0) != reflect.TypeFor[*Weights]() {
		t.Errorf("the first is a %s, want the weights", score.In(0))
	}
	look("Weights", score.In(0))
}

// ... and by what happens when two people differ in nothing else.
func TestWhoSomebodyIsMovesNothing(t *testing.T) {
	rules := testRules()
	rapid.Check(t, func(t *rapid.T) {
		profile := func(sex, governorate, diploma string, year int32) *candidatesv1.Profile {
			return &candidatesv1.Profile{
				Sex: sex, Governorate: governorate, BirthYear: year, DiplomaLevel: diploma,
				Occupations: []*candidatesv1.Occupation{{Rome: "A1401", ExperienceMonths: 7}},
				Languages:   []*candidatesv1.Language{{Code: "fr", Cefr: "A2"}},
				Consents:    []string{ConsentMatching},
			}
		}
		d := rules.Demand(genOffer(t), false)
		var first Parts
		for i := range 4 {
			var s Seeker
			s.profile(1, profile(
				rapid.SampledFrom([]string{"F", "M", ""}).Draw(t, "sex"),
				rapid.SampledFrom(govs).Draw(t, "governorate"),
				rapid.SampledFrom([]string{"", "cap", "master"}).Draw(t, "diploma"),
				rapid.Int32Range(1950, 2010).Draw(t, "year"),
			))
			p := rules.Person(&s)
			parts := Score(rules.Weights, &d, &p.Profile, today)
			if i == 0 {
				first = parts
			} else if parts != first {
				t.Fatalf("%v became %v", first, parts)
			}
		}
	})
}

func TestWeightsAreChecked(t *testing.T) {
	data, err := weightsFiles.ReadFile("weights/" + presentWeights + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, bad := range map[string]string{
		"parts do not add up": strings.Replace(good, "occupation: 300", "occupation: 299", 1),
		"negative":            strings.Replace(good, "floor: 500", "floor: -1", 1),
		"no version":          strings.Replace(good, `version: "2026-2"`, `version: ""`, 1),
		"unknown field":       good + "\nluck: 3\n",
		"no level":            strings.Replace(good, "cefr: A2", "cefr: Z9", 1),
		"weight of core":      strings.Replace(good, "core: 2000", "core: 0", 1),
		"not YAML":            "{",
	} {
		if bad == good {
			t.Fatalf("%s: the test changed nothing", name)
		}
		if _, err := ParseWeights([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseWeights(f *testing.F) {
	for _, version := range WeightsVersions() {
		data, err := weightsFiles.ReadFile("weights/" + version + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("version: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ParseWeights(data)
		if err != nil {
			return
		}
		if p := w.Parts; p.Occupation+p.Competences+p.Language+p.Availability+p.Wishes+p.Past != 1000 {
			t.Errorf("accepted weights that do not add up: %+v", w.Parts)
		}
	})
}
