package matching

import (
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"masar.local/pkg/reference"
)

// today is the day on which most tests happen.
var today = ParseDay("2026-03-01")

// at is noon of a day.
func at(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t.Add(12 * time.Hour)
}

// jobs is a small list of occupations: A1401 and A1444 are one family, and from
// A1210 one may move to A1401. Of the competences 1 is on all sheets, 2 on two, the
// others on one.
var jobs = &reference.Occupations{Version: "test", Jobs: map[string]reference.Job{
	"A1401": {Code: "A1401", Parent: "A1401", Mobility: []string{"A1402"}, Items: items("1", "2", "*3", "4")},
	"A1444": {Code: "A1444", Parent: "A1401", Items: items("1", "2", "5")},
	"A1210": {Code: "A1210", Parent: "A1210", Mobility: []string{"A1401"}, Items: items("1", "6")},
	"A1402": {Code: "A1402", Parent: "A1402", Items: items("1", "*7")},
	"J1501": {Code: "J1501", Parent: "J1501"},
}}

// items are competences of a sheet; a star marks a core one.
func items(codes ...string) (out []reference.Item) {
	for _, code := range codes {
		name, core := strings.CutPrefix(code, "*")
		out = append(out, reference.Item{Code: name, Core: core})
	}
	return out
}

func testRules() *Rules { return NewRules(PresentWeights(), reference.Schemes(), jobs) }

// id makes the n-th id of a test.
func id(n int) string {
	var u ulid.ULID
	copy(u[:], fmt.Sprintf("test%012d", n))
	return u.String()
}

// seeker is a person who meets every condition of anOffer.
func aSeeker() *Seeker {
	return &Seeker{
		Seq: 1, Governorate: "TN-71",
		Occupations: []Occupation{{"A1401", 12}},
		Languages:   []Language{{"ar", "C2"}, {"fr", "A2"}},
		Licences:    []string{"B"},
		Schemes:     []string{"agri"}, Regions: []string{"84"},
		Consents: []string{ConsentMatching, ConsentDisclosure},
		Pathways: []Pathway{{ID: id(900), Seq: 1, Scheme: "agri", Version: "1", Stage: "P02", EnteredAt: at("2026-01-10"), Open: true}},
	}
}

func anOffer() *Offer {
	return &Offer{
		Seq: 1, EmployerID: id(500), Rome: "A1401", Scheme: "agri", Region: "84", Months: 4, Posts: 2,
		Languages: []LanguageNeed{{"fr", "A1", true}}, Licences: []LicenceNeed{{"B", true}},
		StartsOn: "2026-05-01", Open: true,
	}
}

var (
	romes = []string{"A1401", "A1444", "A1210", "A1402", "J1501", "X9999"}
	ogrs  = []string{"1", "2", "3", "4", "5", "6", "7", "8", "300000", "not a code"}
	tongs = []string{"fr", "ar", "en"}
	cefrs = []string{"", "A1", "A2", "B1", "B2", "C1", "C2"}
	govs  = []string{"", "TN-11", "TN-71", "TN-81"}
	days  = []string{"", "2026-01-15", "2026-03-01", "2026-04-30", "2026-05-01", "2026-05-02", "2026-08-31", "2027-01-01"}
	stags = []string{"P02", "P04", "P05", "P07", "P08", "P12", "P16", "P19", "P99"}
)

func some[T any](t *rapid.T, from []T, most int, label string) []T {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, label)
}

func genProfile(t *rapid.T) Profile {
	s := genSeeker(t)
	return testRules().Person(s).Profile
}

func genSeeker(t *rapid.T) *Seeker {
	s := &Seeker{
		Seq:         1,
		Governorate: rapid.SampledFrom(govs).Draw(t, "governorate"),
		Licences:    some(t, []string{"B", "C", "CE", "D"}, 2, "licences"),
		Schemes:     some(t, []string{"agri", "soin"}, 2, "schemes"), Regions: some(t, []string{"84", "93"}, 2, "regions"),
		AvailableFrom: rapid.SampledFrom(days).Draw(t, "from"), AvailableTo: rapid.SampledFrom(days).Draw(t, "to"),
		Consents: some(t, []string{ConsentMatching, ConsentMatching, ConsentDisclosure, "statistics"}, 4, "consents"),
	}
	s.Competences = some(t, ogrs, 4, "competences")
	for _, rome := range some(t, romes, 3, "occupations") {
		s.Occupations = append(s.Occupations, Occupation{rome, rapid.Int32Range(-1, 100).Draw(t, "months")})
	}
	for _, code := range some(t, tongs, 3, "languages") {
		s.Languages = append(s.Languages, Language{code, rapid.SampledFrom(cefrs).Draw(t, "cefr")})
	}
	for i, scheme := range some(t, []string{"agri", "soin"}, 2, "pathways") {
		s.pathway(Pathway{
			ID: id(900 + i), Seq: 1, Scheme: scheme, Version: rapid.SampledFrom([]string{"1", "1", "1", "9"}).Draw(t, "version"),
			Stage: rapid.SampledFrom(stags).Draw(t, "stage"), Open: rapid.IntRange(0, 4).Draw(t, "open") > 0,
		})
	}
	return s
}

func genOffer(t *rapid.T) *Offer {
	o := &Offer{
		Seq: 1, EmployerID: rapid.SampledFrom([]string{id(500), id(501)}).Draw(t, "employer"),
		Rome: rapid.SampledFrom(romes).Draw(t, "rome"), Scheme: rapid.SampledFrom([]string{"agri", "agri", "soin", ""}).Draw(t, "scheme"),
		Region: rapid.SampledFrom([]string{"", "84", "93"}).Draw(t, "region"),
		Months: rapid.Int32Range(0, 12).Draw(t, "length"), Experience: rapid.Int32Range(0, 60).Draw(t, "experience"),
		Posts: rapid.Int32Range(0, 3).Draw(t, "posts"), Filled: rapid.Int32Range(0, 2).Draw(t, "filled"),
		StartsOn: rapid.SampledFrom(days).Draw(t, "starts"), EndsOn: rapid.SampledFrom(days).Draw(t, "ends"),
		Open: rapid.IntRange(0, 9).Draw(t, "open") > 0,
	}
	for _, code := range some(t, tongs, 2, "needs") {
		o.Languages = append(o.Languages, LanguageNeed{code, rapid.SampledFrom(cefrs).Draw(t, "need"), rapid.Bool().Draw(t, "required")})
	}
	for _, category := range some(t, []string{"B", "C"}, 1, "licence needs") {
		o.Licences = append(o.Licences, LicenceNeed{category, rapid.Bool().Draw(t, "licence required")})
	}
	for _, code := range some(t, ogrs, 2, "competence needs") {
		o.Competences = append(o.Competences, CompetenceNeed{code, rapid.Bool().Draw(t, "competence required")})
	}
	return o
}

// said is a shortlist without the name of those looked at, which is an index's own.
func said(l *Shortlist) *Shortlist {
	if l == nil {
		return nil
	}
	out := *l
	out.Among = ""
	return &out
}
