package matching

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
)

// isFairness says of a name that it is about the report.
var isFairness = regexp.MustCompile(`(?i)fairness|parity`)

// What selects cannot reach the report or what it is made from, directly or through
// any other function. By the source:
//
// In the files of the report are the only uses of sex, diploma and year of birth
// of a profile, and of the collection that keeps them. Nothing else names what these
// files declare, or anything with "fairness" or "parity" in its name, but functions
// that have it in their own name (and whose callers the same holds for), the one that
// opens the documents, the one that puts the service together, and Learn, which only
// hands events over.
func TestNothingThatSelectsReachesTheGroupsOfPeople(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			if files[name], err = parser.ParseFile(set, name, nil, parser.SkipObjectResolution); err != nil {
				t.Fatal(err)
			}
		}
	}
	own := func(name string) bool { return strings.HasPrefix(name, "fairness") }
	declared := map[string]bool{}
	for name, f := range files {
		if own(name) {
			for _, d := range f.Decls {
				for _, n := range declares(d) {
					declared[n] = true
				}
			}
		}
	}
	if !declared["GroupRecord"] || !declared["Fairness"] || !declared["newGroups"] {
		t.Fatalf("these are not the files of the report: %v", declared)
	}
	attributes := []string{"GetSex", "GetDiplomaLevel", "GetBirthYear"}
	may := []string{"Learn", "openStore", "build"}
	looked := 0
	for name, f := range files {
		if own(name) {
			continue
		}
		for _, d := range f.Decls {
			where := declares(d)
			fn, isFunc := d.(*ast.FuncDecl)
			handled := isFunc && (slices.Contains(may, fn.Name.Name) || isFairness.MatchString(fn.Name.Name))
			if general, ok := d.(*ast.GenDecl); ok && general.Tok == token.TYPE {
				// A type may hold the book, or have a method of the report; who
				// uses that names it.
				handled = slices.ContainsFunc(where, func(n string) bool {
					return n == "store" || n == "Service" || n == "Endpoints" || isFairness.MatchString(n)
				})
			}
			quiet := map[*ast.Ident]bool{} // names of fields and methods, which are others' own
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					quiet[n.Sel] = true
				case *ast.KeyValueExpr:
					if key, ok := n.Key.(*ast.Ident); ok {
						quiet[key] = true
					}
				case *ast.BasicLit:
					if n.Kind == token.STRING && n.Value == `"`+groupsSchema.Collection+`"` {
						t.Errorf("%s: the collection of groups is named outside the report", set.Position(n.Pos()))
					}
				case *ast.Ident:
					looked++
					if slices.Contains(attributes, n.Name) {
						t.Errorf("%s: %s is used outside the report", set.Position(n.Pos()), n.Name)
					}
					if !handled && (isFairness.MatchString(n.Name) || declared[n.Name] && !quiet[n]) {
						t.Errorf("%s: %v names %s of the report", set.Position(n.Pos()), where, n.Name)
					}
				}
				return true
			})
			// Learn hands over the event and uses nothing that comes back but the error.
			if isFunc && fn.Name.Name == "Learn" {
				ast.Inspect(d, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok {
						if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
							if of, ok := sel.X.(*ast.SelectorExpr); ok && isFairness.MatchString(of.Sel.Name) && sel.Sel.Name != "learn" {
								t.Errorf("%s: Learn asks the report for %s", set.Position(n.Pos()), sel.Sel.Name)
							}
						}
					}
					return true
				})
			}
		}
	}
	if looked < 1000 {
		t.Errorf("only %d names were looked at", looked)
	}
}

// declares gives the names that a declaration adds to the package; methods are not
// among them, for they are reached through their type.
func declares(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.Name != "_" {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// Who decides about people does not read the report, and who reads it sees no person.
func TestWhoReadsTheFairnessReport(t *testing.T) {
	for _, r := range access.Roles() {
		who := access.Principal{Subject: "x", Role: r}
		if r != access.Admin && who.Can(access.FairnessRead) && (who.Can(access.MatchingRead) || who.Can(access.MatchingDecide) || who.Can(access.CandidatesRead)) {
			t.Errorf("%s reads the report and sees people", r)
		}
	}
	for _, r := range []access.Role{access.Manager, access.Statistician} {
		if who := (access.Principal{Subject: "x", Role: r}); !who.Can(access.FairnessRead) {
			t.Errorf("%s does not read the report", r)
		}
	}
}
