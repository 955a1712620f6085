package importer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"masar.local/pkg/reference"
)

// bilingual says whether a text is French, then Arabic.
func bilingual(s string) bool {
	fr, ar, two := strings.Cut(s, " | ")
	return two && fr != "" && arabic(ar) && strings.ContainsFunc(fr, unicode.IsLetter)
}

// french is the French part of a text that has an Arabic one too; of any other
// it says so.
func french(s string) string {
	if !bilingual(s) {
		return "NOT BILINGUAL: " + s
	}
	fr, _, _ := strings.Cut(s, " | ")
	return fr
}

// calls are the functions by which the services name a code: the place of the
// code among the arguments, and the codes of a file's other literals are those
// under Code.
var calls = map[string]int{"add": 1, "wrongField": 1, "note": 0}

var stable = regexp.MustCompile(`^[a-z_]+$`)

// TestServiceReasons: every code that the services can say of a row is said in
// French and Arabic.
func TestServiceReasons(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	codes := map[string]string{} // with where each is
	for _, name := range []string{
		"services/candidates/candidates.go", "services/candidates/imports.go",
		"services/employers/imports.go", "services/employers/offer.go", "services/employers/francetravail.go", "services/employers/pay.go", "services/employers/wording.go",
		"pkg/api/decode.go", "pkg/api/date.go",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		take := func(e ast.Expr) {
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if code, err := strconv.Unquote(lit.Value); err == nil && stable.MatchString(code) {
					codes[code] = name
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := ""
				switch f := n.Fun.(type) {
				case *ast.Ident:
					name = f.Name
				case *ast.SelectorExpr:
					name = f.Sel.Name
				}
				if at, ok := calls[name]; ok && len(n.Args) > at+1 {
					take(n.Args[at])
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					take(n.Value)
				}
			}
			return true
		})
	}
	// What makes sure that the search still finds them.
	for _, known := range []string{"minor", "required", "identity_conflict", "scope", "salary_part_time", "older", "type", "malformed", "hours", "json"} {
		if codes[known] == "" {
			t.Errorf("the code %s is not found in the services any more", known)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		if got := Reason("", code, ""); got == "" {
			t.Errorf("%s: the code %s has no words", codes[code], code)
		}
	}
	for key, words := range reasons {
		if !bilingual(words) {
			t.Errorf("%s: %q is not French | Arabic", key, words)
		}
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct{ path, code, want string }{
		{"occupations[3].rome", "format", reasons["rome format"]},
		{"competences[0]", "unknown", reasons["competences unknown"]},
		{"competences[0].exigence", "unknown", reasons["exigence unknown"]},
		{"", "identity_conflict", reasons["identity_conflict"]},
		{"birth_date", "minor", reasons["minor"]},
		{"birth_date", "of_tomorrow", "as the service says"},
	} {
		if got := Reason(c.path, c.code, "as the service says"); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.path, c.code, got, c.want)
		}
	}
}

// TestOwnReasons: whatever the importer itself says, it says in both languages.
func TestOwnReasons(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.Ident)
			if !ok || f.Name != "wrong" && f.Name != "warn" {
				return true
			}
			var text strings.Builder
			ast.Inspect(call.Args[1], func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok {
					part, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					text.WriteString(part)
				}
				return true
			})
			if s := text.String(); s != "%q" && !bilingual(s) {
				t.Errorf("%s: %q is not French | Arabic", path, s)
			}
			return true
		})
	}
}

// TestFoldedKeys: a word of a list that is not folded would never be met.
func TestFoldedKeys(t *testing.T) {
	for _, list := range [][]string{
		slices.Collect(maps.Keys(sexes)), slices.Collect(maps.Keys(none)), slices.Collect(maps.Keys(yesNo)), slices.Collect(maps.Keys(preferred)),
		slices.Collect(maps.Keys(purposes)), slices.Collect(maps.Keys(everyPurpose)), slices.Collect(maps.Keys(units)),
	} {
		for _, word := range list {
			if folded := reference.Fold(word); folded != word {
				t.Errorf("%q is never met: folded it is %q", word, folded)
			}
		}
	}
}
