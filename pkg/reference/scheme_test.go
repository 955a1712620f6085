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
		for kind, stage := range map[string]string{DecisionShortlisted: "P04", DecisionInterview: "P07", DecisionAccepted: "P08", DecisionHired: "P08"} {
			if !slices.Contains(s.Leading(stage), kind) {
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
	season, _ := Schemes().Get("agri", "2")
	for _, c := range []struct {
		scheme         *Scheme
		from, decision string
		held           bool
		to             string
		ok             bool
	}{
		{agri, "P02", DecisionShortlisted, false, "P04", true},
		{agri, "P04", DecisionShortlisted, false, "P04", true}, // another offer, already there
		{agri, "P04", DecisionDisclosed, false, "P04", true},
		{agri, "P04", DecisionInterview, false, "P07", true},
		{agri, "P02", DecisionInterview, false, "", false},
		{agri, "P07", DecisionOffered, false, "P07", true},
		{agri, "P07", DecisionAccepted, false, "P08", true},
		{agri, "P07", DecisionHired, false, "P08", true},
		{agri, "P08", DecisionHired, true, "P08", true}, // the contract, after the promise
		{agri, "P09", DecisionHired, true, "P09", true},
		{agri, "P09", DecisionHired, false, "", false},
		{agri, "P07", DecisionShortlisted, false, "P04", true},
		{agri, "P04", DecisionHired, false, "", false},
		{agri, "P10", DecisionRefused, false, "P10", true}, // by another offer than the one that holds the person
		{agri, "P10", DecisionRefused, true, "P07", true},  // another offer may take the person
		{agri, "P13", DecisionRefused, true, "P13", true},  // a counsellor ends the pathway
		{agri, "P07", DecisionNoShow, false, "P07", true},
		{agri, "P08", DecisionNoShow, true, "P07", true},
		{agri, "P15", DecisionNoShow, true, "P15", true},
		{agri, "P18", DecisionNoShow, true, "", false}, // the person was there
		{agri, "P19", DecisionShortlisted, false, "", false},
		{season, "P19", DecisionShortlisted, false, "P19", true}, // a new season
		{season, "P19", DecisionAccepted, false, "P08", true},
		{season, "P19", DecisionHired, false, "P08", true},
		{agri, "P07", "promoted", false, "", false},
		{agri, "P07", "", false, "", false},
		{agri, "nowhere", DecisionRefused, false, "", false},
	} {
		to, ok := c.scheme.Decide(c.from, c.decision, c.held)
		if to != c.to || ok != c.ok {
			t.Errorf("version %s: Decide(%s, %s, held %v) = %q, %v; want %q, %v", c.scheme.Version, c.from, c.decision, c.held, to, ok, c.to, c.ok)
		}
	}
}

func TestWhoMayDecide(t *testing.T) {
	agri, _ := Schemes().Get("agri", "1")
	for _, c := range []struct {
		role, decision string
		ok             bool
	}{
		{"counsellor", DecisionAccepted, true},
		{"employer", DecisionAccepted, false}, // not in the candidate's name
		{"employer", DecisionOffered, true},
		{"employer", DecisionDisclosed, false},
		{"employer", DecisionRefused, true},
	} {
		if roles, ok := agri.MayDecide(c.role, "P07", c.decision, false); ok != c.ok || !ok && len(roles) == 0 {
			t.Errorf("%s may decide %s: %v (%v), want %v", c.role, c.decision, ok, roles, c.ok)
		}
	}
}

func TestEngagedStages(t *testing.T) {
	for scheme, want := range map[[2]string]string{
		{"agri", "1"}: "P08 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18 P19",
		{"agri", "2"}: "P08 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18", // from P19 a new season may follow
		{"soin", "1"}: "P08 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18 P19",
	} {
		s, _ := Schemes().Get(scheme[0], scheme[1])
		var got []string
		for _, st := range s.Stages {
			if s.Engaged(st.Code) {
				got = append(got, st.Code)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v: engaged at %v, want %s", scheme, got, want)
		}
	}
}

// Version 2 of agri changes what may be decided at P19 and nothing else.
func TestTheNewSeasonIsAnotherVersion(t *testing.T) {
	one, _ := Schemes().Get("agri", "1")
	two, ok := Schemes().Current("agri", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	if !ok || two.Version != "2" {
		t.Fatal("a pathway of December 2026 does not open under version 2")
	}
	for _, st := range one.Stages {
		if !slices.Equal(one.Following(st.Code), two.Following(st.Code)) {
			t.Errorf("after %s come %v and %v", st.Code, one.Following(st.Code), two.Following(st.Code))
		}
		for _, kind := range Decisions() {
			for _, held := range []bool{false, true} {
				to1, ok1 := one.Decide(st.Code, kind, held)
				to2, ok2 := two.Decide(st.Code, kind, held)
				if (to1 != to2 || ok1 != ok2) && st.Code != "P19" {
					t.Errorf("%s at %s leads to %q and %q", kind, st.Code, to1, to2)
				}
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, r := range Refusals() {
		if !slices.Contains(RefusalBy(), r.By) || r.Code == "" || r.LabelFR == "" || r.LabelAR == "" || r.LabelEN == "" || seen[[2]string{r.By, r.Code}] {
			t.Errorf("reason %+v", r)
		}
		seen[[2]string{r.By, r.Code}] = true
	}
	for _, by := range RefusalBy() {
		if _, ok := RefusalOf(by, RefusalUnspecified); !ok {
			t.Errorf("%s cannot refuse without a reason", by)
		}
	}
	if _, ok := RefusalOf(ByCandidate, "BESOIN_DISPARU"); ok {
		t.Error("a candidate gives an employer's reason")
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
		"decision":          {"kind: hired, to: P08", "kind: promoted, to: P08", "the kind is not one of shortlisted"},
		"decision leads":    {"kind: hired, to: P08", "kind: hired, to: P88", `leads to "P88"`},
		"decision from":     {"from: [P13, P14, P15]}", "from: [P13, P99]}", `from names "P99"`},
		"decision actor":    {"to: P08, actors: [counsellor, officer]", "to: P08, actors: [judge]", `actor "judge"`},
		"held":              {"kind: offered,", "kind: offered, held: true,", "held does not go with it"},
		"refused":           {"- {kind: refused}", "- {kind: refused, from: [P02]}", "refused must be possible at stage P04"},
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
	for _, name := range []string{"schemes/agri-1.yaml", "schemes/agri-2.yaml", "schemes/soin-1.yaml"} {
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
