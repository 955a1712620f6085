package cohort

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"masar.local/pkg/reference"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func drawn(people int, jobs *reference.Occupations) *Cohort {
	var schemes []*reference.Scheme
	for _, code := range reference.Schemes().Codes() {
		if s, ok := reference.Schemes().Current(code, now); ok {
			schemes = append(schemes, s)
		}
	}
	return New(Config{People: people, Seed: 7, Now: now, Jobs: jobs}, schemes)
}

// jobs is the embedded list with made-up items on every sheet, the first ten core.
func jobs() *reference.Occupations {
	o := &reference.Occupations{Version: "test", Jobs: maps.Clone(reference.EmbeddedOccupations().Jobs), Items: map[string]string{}}
	for n, code := range o.Codes() {
		job := o.Jobs[code]
		for i := range 40 {
			item := reference.Item{Code: fmt.Sprint(100000 + 100*n + i), Core: i < 10}
			job.Items = append(job.Items, item)
			o.Items[item.Code] = "x"
		}
		o.Jobs[code] = job
	}
	return o
}

// record is one drawn record as the API gets it.
type record struct {
	ROME        string `json:"rome"`
	Occupations []struct {
		ROME   string `json:"rome"`
		Months int    `json:"experience_months"`
	} `json:"occupations"`
	Competences json.RawMessage `json:"competences"`
}

func read(t *testing.T, from map[string]any) (r record, text string) {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r, string(data)
}

func TestTheSameSeedDrawsTheSame(t *testing.T) {
	text := func(c *Cohort) (all string) {
		for _, o := range c.Offers() {
			_, s := read(t, o.Record)
			all += s
		}
		for _, p := range c.People() {
			_, s := read(t, p.Record)
			all += s + fmt.Sprint(p.Opened, p.Moves, p.Exit, p.ExitAt, p.OfferNo)
		}
		return all
	}
	one, other := drawn(200, jobs()), drawn(200, jobs())
	if text(one) != text(other) {
		t.Error("two cohorts of one seed differ")
	}
	if text(drawn(200, nil)) != text(drawn(200, reference.EmbeddedOccupations())) {
		t.Error("the embedded list, which knows no competences, changes the cohort")
	}
}

// Competences belong to the occupation, grow with experience, and move nothing
// else of the cohort.
func TestCompetences(t *testing.T) {
	list := jobs()
	owns := func(rome, code string) bool {
		job, _ := list.Occupation(rome)
		return slices.ContainsFunc(job.Items, func(i reference.Item) bool { return i.Code == code })
	}
	with, without := drawn(2000, list), drawn(2000, nil)
	bare := map[int]string{}
	for i, p := range without.People() {
		_, bare[i] = read(t, p.Record)
	}
	var beginners, experienced, beginnersHave, experiencedHave int
	for i, p := range with.People() {
		r, _ := read(t, p.Record)
		var codes []string
		if r.Competences != nil {
			if err := json.Unmarshal(r.Competences, &codes); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.IsSorted(codes) || len(codes) > mostSkills {
			t.Fatalf("competences %v", codes)
		}
		for _, code := range codes {
			if !owns(r.Occupations[0].ROME, code) {
				t.Fatalf("%s has competence %s of another sheet", r.Occupations[0].ROME, code)
			}
		}
		switch months := r.Occupations[0].Months; {
		case months == 0:
			beginners++
			beginnersHave += len(codes)
		case months >= 48:
			experienced++
			experiencedHave += len(codes)
		}
		delete(p.Record, "competences")
		if _, s := read(t, p.Record); s != bare[i] {
			t.Fatalf("person %d differs in more than competences:\n%s\n%s", i, s, bare[i])
		}
	}
	if beginners == 0 || experienced == 0 || beginnersHave == 0 || 2*beginnersHave*experienced > experiencedHave*beginners {
		t.Errorf("%d beginners have %d competences, %d with experience %d", beginners, beginnersHave, experienced, experiencedHave)
	}
	for _, o := range with.Offers() {
		r, s := read(t, o.Record)
		var needs []struct {
			Code     string
			Required bool
		}
		if err := json.Unmarshal(r.Competences, &needs); err != nil || len(needs) == 0 || len(needs) > mostNeeds {
			t.Fatalf("an offer asks for %s, %v", s, err)
		}
		for _, n := range needs {
			if !owns(r.ROME, n.Code) {
				t.Fatalf("an offer of %s asks for %s of another sheet", r.ROME, n.Code)
			}
		}
	}
}
