package indicators

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgrammeDefault: what comes with the program promises nothing that nobody
// promised.
func TestProgrammeDefault(t *testing.T) {
	p, err := LoadProgramme(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.SeasonStarts != "09-01" || len(p.Indicators) > 0 || len(p.DelayBudgets) > 0 || p.Shortage.MinimumOffers != nil {
		t.Errorf("%+v", p)
	}
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	with, err := p.Apply(defs)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range with {
		if (d.Target != nil) != (d.Code == "people_followed") {
			t.Errorf("%s has the target %+v", d.Code, d.Target)
		}
		if d.Baseline != nil || len(d.Milestones) > 0 {
			t.Errorf("%s has a baseline or milestones that nobody gave", d.Code)
		}
	}
}

func TestProgrammeFromAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "programme.yaml")
	write := func(text string) func(string) string {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return func(variable string) string {
			if variable == "MASAR_PROGRAMME" {
				return name
			}
			return ""
		}
	}
	p, err := LoadProgramme(write(`
season_starts: "03-01"
indicators:
  people_placed:
    target: {value: 7, source: essai}
    milestones: [{date: "2026-12-31", value: 3, source: essai}]
  people_followed:
    baseline: {value: 1, source: essai}
delay_budgets:
  - {code: visa, label_fr: Visa, label_ar: التأشيرة, label_en: Visa, from: P13, to: P14, days: 30, share: 0.9, source: essai}
`))
	if err != nil {
		t.Fatal(err)
	}
	defs, _ := Embedded()
	with, err := p.Apply(defs)
	if err != nil {
		t.Fatal(err)
	}
	placed, _ := with.Get("people_placed")
	followed, _ := with.Get("people_followed")
	if placed.Target == nil || placed.Target.Value != 7 || placed.TargetStatus != "" || len(placed.Milestones) != 1 {
		t.Errorf("placed: %+v", placed)
	}
	if followed.Target == nil || followed.Target.Value != 2500 || followed.Baseline == nil {
		t.Errorf("followed: %+v", followed)
	}
	if before, _ := defs.Get("people_placed"); before.Target != nil {
		t.Error("the definitions that were given have changed")
	}
	if len(p.DelayBudgets) != 1 || *p.DelayBudgets[0].Days != 30 {
		t.Errorf("%+v", p.DelayBudgets)
	}

	// Every fault with its place, all at once.
	_, err = LoadProgramme(write(`
season_starts: "02-29"
indicators:
  people_placed:
    target: {value: 7, source: ""}
    milestones: [{date: "31/12/2026", value: 3, source: essai}]
delay_budgets:
  - {code: visa, label_fr: Visa, label_ar: التأشيرة, label_en: Visa, from: P13, to: P99, days: 0, share: 90, source: ""}
  - {code: visa, label_fr: Visa, label_ar: "", label_en: Visa, from: P13, to: P13, scheme: nowhere, days: 30, source: essai}
shortage: {minimum_offers: -1, reference_from: 2018, reference_to: 2014}
`))
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{
		name, "season_starts", "indicators.people_placed.target has no source", `"31/12/2026" is not a day`, `no stage "P99"`, "days is 0", "share is 90",
		"source is missing", `number 2 ("visa"): code: there are two of it`, "label_ar is missing", "same stage", `no scheme "nowhere"`, "want both", "minimum_offers", "reference_from",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		"season_starts: \"09-01\"\ntarget: 3\n": "unknown field",
		"season_starts: [":                      "not settings in YAML",
		"{}":                                    "season_starts",
	} {
		if _, err := LoadProgramme(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	p, err = LoadProgramme(write("season_starts: \"09-01\"\nindicators: {no_such: {target: {value: 1, source: essai}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(defs); err == nil || !strings.Contains(err.Error(), "indicators.no_such") {
		t.Errorf("an indicator that does not exist: %v", err)
	}
	if _, err := LoadProgramme(func(string) string { return filepath.Join(t.TempDir(), "none") }); err == nil {
		t.Error("a file that is not there is no fault")
	}
}

func FuzzProgramme(f *testing.F) {
	f.Add(defaultProgramme)
	f.Add([]byte("season_starts: \"09-01\"\ndelay_budgets: [{code: a, days: 3}]\n"))
	f.Add([]byte("a: &a [*a]"))
	dims := Dimensions()
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseProgramme(data, dims)
	})
}
