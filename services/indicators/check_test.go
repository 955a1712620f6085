package indicators

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestEveryDefinitionKeepsItsWord runs what `masar indicators check` runs.
func TestEveryDefinitionKeepsItsWord(t *testing.T) {
	checked := CheckEmbedded()
	for _, fault := range checked.Faults {
		t.Error(fault)
	}
	if len(checked.Definitions) < 48 || checked.Tests < len(checked.Definitions) {
		t.Errorf("%d definitions with %d tests", len(checked.Definitions), checked.Tests)
	}
}

// TestDocumentIsOfTheseDefinitions: docs/indicators.md is what `masar indicators
// docs` prints.
func TestDocumentIsOfTheseDefinitions(t *testing.T) {
	kept, err := os.ReadFile("../../docs/indicators.md")
	if err != nil {
		t.Fatal(err)
	}
	defs, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if Document(defs, Dimensions()) != string(kept) {
		t.Error("docs/indicators.md is not of these definitions; write it again: go run ./cmd/masar indicators docs > docs/indicators.md")
	}
}

const oneDefinition = `
code: women_followed
version: 1
label_fr: Femmes suivies
label_ar: النساء المتابَعات
label_en: Women followed
meaning_fr: Femmes dont un parcours a été ouvert.
meaning_ar: النساء اللاتي فُتح لهن مسار.
result: OG
unit: people
about: people
measure: distinct_people
select: kind == "pathway_opened" && sex == "F"
dimensions: [scheme]
gauges: []
target: null
target_status: à configurer
owner: Essai
frequency: quarter
source: Parcours
tests:
  - name: deux femmes
    events:
      - {kind: pathway_opened, when: 2026-01-10, person: amel, subject: w1, sex: F, scheme: agri}
      - {kind: pathway_opened, when: 2026-01-11, person: nour, subject: w2, sex: F, scheme: soin}
      - {kind: pathway_opened, when: 2026-01-12, person: sami, subject: w3, sex: M, scheme: soin}
    expect:
      - figures: {all: 2}
      - {by: [scheme], figures: {all agri: 1, all soin: 1}}
`

// TestWhatIsCountedHasAVersion: what a definition counts cannot change under a
// version that has been published; how it is called, or laid out, can.
func TestWhatIsCountedHasAVersion(t *testing.T) {
	dir := func(text string, lock []byte) fstest.MapFS {
		fsys := fstest.MapFS{"women_followed.yaml": {Data: []byte(text)}}
		if lock != nil {
			fsys[LockName] = &fstest.MapFile{Data: lock}
		}
		return fsys
	}
	load := func(text string) Definitions {
		t.Helper()
		defs, err := LoadDefinitions(dir(text, nil), ".", Dimensions())
		if err != nil {
			t.Fatal(err)
		}
		return defs
	}
	lock, err := Lock(load(oneDefinition), nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string { return strings.Replace(oneDefinition, old, new, 1) }
	women := `"pathway_opened" && sex == "F"`
	others := change(women, `"pathway_opened" && sex != "M"`)
	for name, test := range map[string]struct{ text, want string }{
		"as it was":            {oneDefinition, ""},
		"another label":        {change("Femmes suivies", "Femmes"), ""},
		"another layout":       {change(women, `  "pathway_opened"   && (sex == "F")`), ""},
		"a target":             {change("target: null", "target: {value: 3, source: essai}"), ""},
		"counts another":       {others, "counts something else than before, under the same version 1: set version to 2"},
		"with another version": {strings.Replace(others, "version: 1", "version: 2", 1), "is version 2 now, and definitions.lock still has version 1"},
		"another code":         {change("code: women_followed", "code: ladies"), "ladies is not in definitions.lock yet"},
	} {
		checked := CheckDefinitions(dir(test.text, lock), ".")
		var all string
		for _, fault := range checked.Faults {
			all += fault.Error() + "\n"
		}
		if test.want == "" && all != "" || !strings.Contains(all, test.want) {
			t.Errorf("%s: %q, want %q", name, all, test.want)
		}
	}
	if _, err := Lock(load(others), lock); err == nil {
		t.Error("the lock is written over what was published")
	}
	raised, err := Lock(load(strings.Replace(others, "version: 1", "version: 2", 1)), lock)
	if err != nil {
		t.Fatal(err)
	}
	if checked := CheckDefinitions(dir(oneDefinition, raised), "."); len(checked.Faults) == 0 {
		t.Error("an old version has come back")
	}
	if checked := CheckDefinitions(dir(oneDefinition, []byte("women_followed one\n")), "."); len(checked.Faults) == 0 {
		t.Error("a damaged lock is no fault")
	}
	gone := append(lock, "gone 1 00\n"...)
	if checked := CheckDefinitions(dir(oneDefinition, gone), "."); len(checked.Faults) != 1 || !strings.Contains(checked.Faults[0].Error(), "gone is in definitions.lock and has no definition") {
		t.Errorf("%v", checked.Faults)
	}
}

// TestTestsOfDefinitionsHaveTeeth: a figure that is not as expected, and everything
// that is wrong in a test, is said.
func TestTestsOfDefinitionsHaveTeeth(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"another figure":       {"{all: 2}", "{all: 3}", `the engine gives 2 for "all", want 3`},
		"by the recount too":   {"{all: 2}", "{all: 3}", `the recount gives 2 for "all", want 3`},
		"a figure left out":    {"{all agri: 1, all soin: 1}", "{all agri: 1}", `1 for "all soin", which is not expected`},
		"a figure too many":    {"{all agri: 1, all soin: 1}", "{all agri: 1, all soin: 1, all other: 1}", `0 for "all other", want 1`},
		"no figure":            {"figures: {all: 2}", "figures: {}", "figures are missing"},
		"not a figure":         {"{all: 2}", "{all: deux}", `"deux" is not a number`},
		"another grain":        {"- figures: {all: 2}", "- {grain: week, figures: {all: 2}}", `"week" is not one of its grains`},
		"another dimension":    {"by: [scheme]", "by: [sex]", `"sex" is not one of its dimensions`},
		"no kind":              {"kind: pathway_opened, when", "when", `kind: "" is not one of`},
		"no such code":         {"scheme: agri}", "scheme: agry}", `scheme has no code "agry"`},
		"no such name":         {"scheme: agri}", "sceme: agri}", `there is no "sceme" in an event`},
		"no such day":          {"2026-01-10", "2026-02-30", `"2026-02-30" is not a time`},
		"not a number of days": {"sex: M", "sex: M, stay_days: lots", `"lots" is not a number`},
		"nothing expected":     {"    expect:\n      - figures: {all: 2}\n      - {by: [scheme], figures: {all agri: 1, all soin: 1}}\n", "", "a test must expect a figure"},
	} {
		text := strings.Replace(oneDefinition, test.old, test.new, 1)
		if text == oneDefinition {
			t.Fatalf("%s: nothing was replaced", name)
		}
		var all string
		for _, fault := range CheckDefinition([]byte(text), nil).Faults {
			all += fault.Error() + "\n"
		}
		if !strings.Contains(all, test.want) {
			t.Errorf("%s: %q is not in %q", name, test.want, all)
		}
	}
	without := oneDefinition[:strings.Index(oneDefinition, "tests:")]
	if faults := CheckDefinition([]byte(without), nil).Faults; len(faults) != 1 || !strings.Contains(faults[0].Error(), "has no test") {
		t.Errorf("without tests: %v", faults)
	}
}

// TestDefinitionsSayWhatIsWrong: each with its place.
func TestDefinitionsSayWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"a code that is not in the list": {`sex == "F"`, `sex == "W"`, `select: line 12, column 36 of the selector: sex has no code "W"; there are F, M, unknown, other`},
		"an unknown name":                {`sex == "F"`, `gender == "F"`, "undeclared reference to 'gender'"},
		"an unknown field":               {"result: OG", "result: OG\nresults: OG", "unknown field"},
		"no select":                      {"select: kind", "leaves: kind", "takes select, and neither enters"},
		"a ratio with a select":          {"measure: distinct_people", "measure: ratio", "numerator is missing"},
		"a numerator of no ratio":        {"dimensions:", "numerator: {measure: count, select: kind == \"post_filled\"}\ndimensions:", "only a ratio has them"},
		"an unknown measure":             {"measure: distinct_people", "measure: average", `measure is "average"`},
		"of what cannot be added":        {"measure: distinct_people", "measure: sum\nof: people", `of is "people", which a sum cannot be of`},
		"a cut of one":                   {"gauges: []", "gauges: []\ncuts: [[scheme]]", "want two or more"},
		"a cut by another":               {"gauges: []", "gauges: []\ncuts: [[scheme, sex]]", `cuts: "sex" is not one of its dimensions`},
		"a metric without bound":         {"dimensions: [scheme]\ngauges: []", "dimensions: [scheme, rome]\ngauges: [[rome]]", "no bound"},
		"a milestone without a day":      {"target: null", "target: null\nmilestones: [{date: soon, value: 3, source: essai}]", `"soon" is not a day`},
		"a target without a source":      {"target: null", "target: {value: 3, source: \"\"}", "target has no source"},
		"an unknown frequency":           {"frequency: quarter", "frequency: often", `"often" is not one of`},
		"no Arabic":                      {"meaning_ar: النساء اللاتي فُتح لهن مسار.", "", "meaning_ar is missing"},
		"a selector that is a list":      {`select: kind == "pathway_opened" && sex == "F"`, "select: [a]", "an expression expected as text"},
	} {
		text := strings.Replace(oneDefinition, test.old, test.new, 1)
		if text == oneDefinition {
			t.Fatalf("%s: nothing was replaced", name)
		}
		_, err := ParseDefinition([]byte(strings.TrimPrefix(text, "\n")), Dimensions())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func FuzzDefinition(f *testing.F) {
	f.Add([]byte(oneDefinition))
	for _, name := range []string{"visa_refusal_rate", "stage_days", "people_by_stage"} {
		data, err := definitionFiles.ReadFile("definitions/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("code: a\nselect: &s kind\nenters: *s\ntests: [{events: [{kind: 3, when: {}}], expect: [{figures: {all: [1]}}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8<<10 {
			return
		}
		checked := CheckDefinition(data, nil)
		for _, d := range checked.Definitions {
			_ = Document(Definitions{d}, Dimensions())
			_ = d.hash()
		}
	})
}
