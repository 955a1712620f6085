package indicators

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSelectorChoosesByCodes(t *testing.T) {
	codes := func(list ...string) func(string) string {
		return func(name string) string {
			if i := slices.Index(list, name); i >= 0 {
				return list[i+1]
			}
			return Unknown
		}
	}
	for expression, want := range map[string]struct {
		yes, no func(string) string
		names   string
		kinds   []Kind
	}{
		`kind == "stage_entered" && placement == "yes"`: {
			yes: codes("kind", "stage_entered", "placement", "yes"), no: codes("kind", "stage_entered", "placement", "no"),
			names: "kind placement", kinds: []Kind{StageEntered},
		},
		`kind == "pathway_exited" && exit in ["REFUS_AT", "REFUS_VISA"]`: {
			yes: codes("kind", "pathway_exited", "exit", "REFUS_AT"), no: codes("kind", "pathway_exited", "exit", "DECES"),
			names: "exit kind", kinds: []Kind{PathwayExited},
		},
		`"unknown" != sex && !(kind != "pathway_opened" && kind != "pathway_exited")`: {
			yes: codes("kind", "pathway_opened", "sex", "F"), no: codes("kind", "pathway_exited"),
			names: "kind sex", kinds: []Kind{PathwayOpened, PathwayExited},
		},
		`kind.startsWith("offer_") && rome.startsWith("A14") || kind == "post_filled"`: {
			yes: codes("kind", "offer_opened", "rome", "A1401"), no: codes("kind", "offer_opened", "rome", "K1304"),
			names: "kind rome", kinds: []Kind{OfferOpened, OfferUpdated, PostFilled, OfferClosed},
		},
	} {
		s, err := NewSelector(expression, Dimensions())
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if !s.Match(want.yes) || s.Match(want.no) {
			t.Errorf("%s: is true of the one: %v, of the other: %v", expression, s.Match(want.yes), s.Match(want.no))
		}
		if got := strings.Join(s.Names(), " "); got != want.names {
			t.Errorf("%s: reads %s, want %s", expression, got, want.names)
		}
		if !slices.Equal(s.Kinds(), want.kinds) {
			t.Errorf("%s: of kinds %v, want %v", expression, s.Kinds(), want.kinds)
		}
	}
}

// TestSelectorSaysWhatIsWrong: where, what, and what there is instead.
func TestSelectorSaysWhatIsWrong(t *testing.T) {
	for expression, want := range map[string][]string{
		`kind == "pathway_exited" && exit == "REFUS_VSA"`:                {"column 37", `exit has no code "REFUS_VSA"`, "REFUS_VISA"},
		`kind == "pathway_exited" && exit in ["REFUS_VISA", "REFUS_AC"]`: {"column 52", `exit has no code "REFUS_AC"`},
		`kind == "pathway_open"`:                                         {"column 9", `kind has no code "pathway_open"`, "pathway_opened"},
		`kind == "stage_entered" && stage.startsWith("Q")`:               {"no code of stage begins with"},
		`kind == "stage_entered" && place == "yes"`:                      {"column 28", "undeclared reference to 'place'", "placement"},
		"kind == \"stage_entered\" &&\n  place == \"yes\"":               {"line 2, column 3"},
		`kind`:                       {"string"},
		`"pathway_opened"`:           {"string"},
		`kind == `:                   {"column 9", "Syntax error"},
		``:                           {"Syntax error"},
		`kind == 1`:                  {"column 6", "no matching overload"},
		`true`:                       {"a condition expected"},
		`sex == "F"`:                 {"does not say which kind"},
		`kind == "a" && kind == "b"`: {`no code "a"`},
		`kind == "post_filled" && kind == "offer_opened"`: {"true of no fact"},
		`kind.matches("^p")`:                              {"undeclared reference to 'matches'"},
		`kind.size() > 3`:                                 {"undeclared reference"},
		`[kind].exists(k, k == "a")`:                      {"undeclared reference"},
		`kind in []`:                                      {"the list is empty"},
		`kind in sex`:                                     {"no matching overload"},
		`"F" == "M" && kind == "post_filled"`:             {"kind or a dimension expected"},
		`(kind == "post_filled") == true`:                 {"kind or a dimension expected"},
		strings.Repeat("(", 100) + `kind == "post_filled"` + strings.Repeat(")", 100): {"recursion"},
		strings.Repeat(`kind == "post_filled" || `, 120) + `kind == "post_filled"`:    {"too long"},
		strings.Repeat(" ", mostSelectorBytes+1):                                      {"too long"},
	} {
		_, err := NewSelector(expression, Dimensions())
		if err == nil {
			t.Errorf("%s: no error", expression)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%.80s: %q is not in %q", expression, part, err)
			}
		}
	}
}

// expressionOf draws selectors as their writers may write them.
func expressionOf(t *rapid.T) string {
	var condition func(depth int) string
	condition = func(depth int) string {
		switch rapid.IntRange(0, 6).Draw(t, "form") {
		case 0, 1:
			if depth > 0 {
				op := rapid.SampledFrom([]string{"&&", "||"}).Draw(t, "op")
				return "(" + condition(depth-1) + " " + op + " " + condition(depth-1) + ")"
			}
		case 2:
			if depth > 0 {
				return "!(" + condition(depth-1) + ")"
			}
		case 3:
			return `rome.startsWith("A14")`
		case 4:
			return "from_stage " + rapid.SampledFrom([]string{"==", "!="}).Draw(t, "op") + " stage"
		}
		name := rapid.SampledFrom([]string{"kind", "sex", "stage", "scheme", "rome", "exit"}).Draw(t, "name")
		code := map[string][]string{
			"kind": {"stage_entered", "pathway_opened", "pathway_exited", "offer_opened"}, "sex": {"F", "M", Unknown, Other}, "stage": {"P02", "P04"},
			"scheme": {"agri", Unknown}, "rome": {"A1401", "anything"}, "exit": {"DESISTEMENT", Other},
		}[name]
		a, b := rapid.SampledFrom(code).Draw(t, "a"), rapid.SampledFrom(code).Draw(t, "b")
		switch rapid.IntRange(0, 2).Draw(t, "comparison") {
		case 0:
			return name + ` == "` + a + `"`
		case 1:
			return `"` + a + `" != ` + name
		}
		return name + ` in ["` + a + `", "` + b + `"]`
	}
	return `kind in ["stage_entered", "pathway_opened", "offer_opened"] && ` + condition(3)
}

// TestSelectorThroughTheEngine: what the engine counts with its memory of
// combinations is what the selector says of each fact.
func TestSelectorThroughTheEngine(t *testing.T) {
	dims := Dimensions()
	set := newDimensionSet(dims)
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewSelector(expressionOf(t), dims)
		if err != nil {
			if !strings.Contains(err.Error(), "true of no fact") {
				t.Fatal(err)
			}
			return
		}
		facts := history(t)
		d := &Definition{Code: "drawn", Version: 1, Measure: Count, Select: Select{Facts: s}, Grains: Grains}
		columns := NewColumns(dims, Definitions{d})
		want, seen := 0, map[string]bool{}
		for _, f := range facts {
			f.Supersedes = ""
			columns.Add(f)
			if seen[f.ID] {
				continue
			}
			seen[f.ID] = true
			if f.Kind != Retracted && s.Match(func(name string) string {
				if name == KindName {
					return string(f.Kind)
				}
				return set[name].Clean(f.Code(name))
			}) {
				want++
				if !slices.Contains(s.Kinds(), f.Kind) {
					t.Fatalf("%s is true of a %s, which is not among its kinds %v", s, f.Kind, s.Kinds())
				}
			}
		}
		cells, err := columns.View().Cells(d, Query{Grain: All, Today: "2026-04-20"})
		if err != nil {
			t.Fatal(err)
		}
		if got := sum(cells); got != float64(want) {
			t.Fatalf("%s: the engine counts %v facts, one by one there are %d", s, got, want)
		}
	})
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{
		`kind == "stage_entered" && placement == "yes"`, `kind in ["a"]`, `rome.startsWith("A")`, `!(`, `a.b.c`, `{"a": 1}`, `kind == "\x00"`,
		`has(kind.a)`, `kind ? 1 : 2`, `r"x" == kind`, `b"x" == kind`, `kind == null`, `timestamp("2020-01-01T00:00:00Z")`, `"a" + "b" == kind`, "\xff",
	} {
		f.Add(s)
	}
	dims := Dimensions()
	f.Fuzz(func(t *testing.T, expression string) {
		s, err := NewSelector(expression, dims)
		if err != nil {
			return
		}
		if !slices.Contains(s.Names(), KindName) {
			t.Fatalf("%q chooses kinds without reading kind", expression)
		}
		for _, k := range kinds() {
			code := func(name string) string {
				if name == KindName {
					return string(k)
				}
				return Unknown
			}
			if s.Match(code) && !slices.Contains(s.Kinds(), k) {
				t.Fatalf("%q is true of a %s, which is not among its kinds %v", expression, k, s.Kinds())
			}
		}
		// Its canonical form is the same selector.
		again, err := NewSelector(s.plain, dims)
		if err != nil {
			t.Fatalf("%q in canonical form, %q: %v", expression, s.plain, err)
		}
		if again.plain != s.plain {
			t.Fatalf("%q: canonical form %q of %q", expression, again.plain, s.plain)
		}
	})
}
