package reference

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestEmbeddedSchemesAreSound(t *testing.T) {
	set, err := LoadSchemes(schemeFiles, "schemes")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"agri", "soin"} {
		s, ok := set.Current(code, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
		if !ok {
			t.Fatalf("no current version of %s", code)
		}
		if s.First().Code != "P02" || s.Placement != "P16" || s.Last().Code != "P19" {
			t.Errorf("%s goes %s..%s, placement %s", code, s.First().Code, s.Last().Code, s.Placement)
		}
		for _, st := range s.Stages {
			if st.TargetDays != nil {
				t.Errorf("%s %s has a target of %d days: none is sourced", code, st.Code, *st.TargetDays)
			}
		}
		for kind, stage := range map[string]string{DecisionShortlisted: "P04", DecisionInterview: "P07", DecisionHired: "P08"} {
			i := slices.IndexFunc(s.Stages, func(st Stage) bool { return st.Decision == kind })
			if i < 0 || s.Stages[i].Code != stage {
				t.Errorf("%s: decision %s does not lead to %s", code, kind, stage)
			}
		}
	}
	if _, ok := set.Current("agri", time.Date(2021, 4, 5, 0, 0, 0, 0, time.UTC)); ok {
		t.Error("a version is current before its first valid day")
	}
	if _, ok := set.Get("agri", "0"); ok {
		t.Error("a version that does not exist was found")
	}
}

func TestFollowing(t *testing.T) {
	agri, _ := Schemes().Get("agri", "1")
	soin, _ := Schemes().Get("soin", "1")
	for _, c := range []struct {
		scheme *Scheme
		from   string
		want   string
	}{
		{agri, "P02", "P04"},
		{agri, "P04", "P05 P07"}, // the language test may be skipped
		{agri, "P07", "P04 P08"},
		{agri, "P11", "P12 P15"}, // holder of a valid card
		{agri, "P19", "P08"},     // a new season
		{soin, "P04", "P05"},     // never skipped in care
		{soin, "P05", "P04 P06 P06b P07"},
		{soin, "P19", ""},
		{soin, "P99", ""},
	} {
		if got := strings.Join(c.scheme.Following(c.from), " "); got != c.want {
			t.Errorf("%s: from %s may follow %q, want %q", c.scheme.Code, c.from, got, c.want)
		}
	}
}

func TestDecide(t *testing.T) {
	agri, _ := Schemes().Get("agri", "1")
	for _, c := range []struct {
		from, decision, to string
		ok                 bool
	}{
		{"P02", DecisionShortlisted, "P04", true},
		{"P04", DecisionShortlisted, "P04", true}, // another offer, already there
		{"P04", DecisionInterview, "P07", true},
		{"P02", DecisionInterview, "P07", false},
		{"P07", DecisionHired, "P08", true},
		{"P07", DecisionShortlisted, "P04", true},
		{"P04", DecisionHired, "P08", false},
		{"P10", DecisionRefused, "P10", true},
		{"P07", "promoted", "", false},
		{"P07", "", "", false},
		{"nowhere", DecisionRefused, "", false},
	} {
		to, ok := agri.Decide(c.from, c.decision)
		if to != c.to || ok != c.ok {
			t.Errorf("Decide(%s, %s) = %q, %v; want %q, %v", c.from, c.decision, to, ok, c.to, c.ok)
		}
	}
}

func TestCheckNamesEveryFault(t *testing.T) {
	good, err := schemeFiles.ReadFile("schemes/agri-1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown next":      {"next: [P12, P15]", "next: [P12, P99]", `"P99" is not a stage`},
		"unreachable":       {"next: [P12, P15]", "next: [P15]", "P12) cannot be reached"},
		"no way to the end": {"next: [P19]", "next: [P17]", "cannot be reached"},
		"placement":         {"placement: P16", "placement: P20", `placement "P20"`},
		"exit":              {"code: REFUS_AT", "code: REFUS", "not one of the programme's exits"},
		"exit stage":        {"stages: [P10, P11]", "stages: [P10, P6]", `"P6" is not a stage`},
		"actor":             {"actors: [counsellor, officer]", "actors: [prefect]", `actor "prefect"`},
		"decision":          {"decision: hired", "decision: interview", "already leads to another stage"},
		"date":              {`valid_from: "2021-04-06"`, `valid_from: "6/4/2021"`, "want a date"},
		"status":            {"status: à_confirmer", "status: sûr", "want à_confirmer or confirmé"},
		"unknown field":     {"sector:", "secteur:", "secteur"},
		"label":             {"label_ar: التسجيل", "label_ar: ''", "stages[0] (P02) label_ar is missing"},
		"twice":             {"code: P18", "code: P17", "used twice"},
		"target":            {"target_days: null", "target_days: -3", "target_days is -3"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.old, c.new, 1)
			if bad == string(good) {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := LoadSchemes(fstest.MapFS{"s/x.yaml": {Data: []byte(bad)}}, "s")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "s/x.yaml") {
				t.Errorf("error is %v, want the file and %q", err, c.want)
			}
		})
	}
	_, err = LoadSchemes(fstest.MapFS{"a.yaml": {Data: good}, "b.yaml": {Data: good}}, ".")
	if err == nil || !strings.Contains(err.Error(), "defined twice") {
		t.Errorf("the same version in two files: %v", err)
	}
}

func FuzzParseScheme(f *testing.F) {
	for _, name := range []string{"schemes/agri-1.yaml", "schemes/soin-1.yaml"} {
		data, err := schemeFiles.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("code: x\nstages: []"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseScheme(data)
		if err != nil {
			return
		}
		// What passed the check can be walked.
		for _, st := range s.Stages {
			for _, next := range s.Following(st.Code) {
				if !s.Allows(st.Code, next) {
					t.Fatalf("%s follows %s but is not allowed", next, st.Code)
				}
			}
		}
	})
}
