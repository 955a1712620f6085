package indicators

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"
	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// KindName is the variable of a selector that holds the kind of the fact.
const KindName = "kind"

// Bounds of a selector: many times what a definition needs, and little enough
// that one which a stranger wrote costs nothing. Selectors that are put together
// (preview.go) are as long as those that they are made of.
const (
	mostSelectorBytes = 2048
	mostJoinedBytes   = 16 * mostSelectorBytes
	mostSelectorNodes = 2000
	mostSelectorDepth = 40
)

// errNoFact says that a selector cannot be true of any fact.
var errNoFact = errors.New("it is true of no fact")

// Selector says which facts count: an expression in CEL (the Common Expression
// Language, https://cel.dev) over texts: kind, and every dimension by its code,
// as Dimension.Clean gives it, so that what the event did not say is "unknown" and
// what is outside of the list is "other".
//
//	kind == "stage_entered" && placement == "yes"
//	kind == "pathway_exited" && exit in ["REFUS_AT", "REFUS_VISA"]
//	kind == "offer_opened" && rome.startsWith("A14")
//
// Of CEL there is ==, !=, in, startsWith, &&, || and !: enough to select by codes,
// with one answer for one combination of codes whenever it is asked, and a cost
// that is bounded by the length of the expression.
type Selector struct {
	text  string // as it was written
	plain string // the same, in CEL's own layout, without what makes no difference
	at    string // where it is written in its file: "line 12", "" when not in a file
	names []string
	kinds []Kind
	tree  celast.Expr
	run   cel.Program
}

// NewSelector compiles the expression over the dimensions. The error names every
// fault with its column in the expression, and what there is instead.
func NewSelector(expression string, dims []Dimension) (*Selector, error) {
	s := &Selector{text: expression}
	if len(expression) > mostSelectorBytes {
		return s, s.tooLong()
	}
	return s, s.compile(dims)
}

func (s *Selector) tooLong() error {
	return fmt.Errorf("a selector of %d bytes is too long; at most %d", len(s.text), mostSelectorBytes)
}

// functions are what a selector may use of CEL.
var functions = []string{operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals, operators.NotEquals, operators.In, "startsWith"}

// selectorBase is CEL with nothing but the functions of a selector.
var selectorBase = sync.OnceValues(func() (*cel.Env, error) {
	subset := env.NewLibrarySubset().SetDisableMacros(true)
	for _, name := range functions {
		subset.IncludeFunctions = append(subset.IncludeFunctions, env.NewFunction(name))
	}
	return cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.ParserExpressionSizeLimit(mostJoinedBytes),
		cel.ExpressionNodeLimit(mostSelectorNodes),
		cel.ParserRecursionLimit(mostSelectorDepth),
		cel.ParserErrorRecoveryLimit(3),
	)
})

func (s *Selector) compile(dims []Dimension) error {
	base, err := selectorBase()
	if err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	names := []string{KindName}
	variables := []cel.EnvOption{cel.Variable(KindName, cel.StringType)}
	for _, d := range dims {
		names = append(names, d.Code)
		variables = append(variables, cel.Variable(d.Code, cel.StringType))
	}
	environment, err := base.Extend(variables...)
	if err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	tree, issues := environment.Compile(s.text)
	if issues.Err() != nil {
		var faults []error
		for _, e := range issues.Errors() {
			what := strings.ReplaceAll(e.Message, " (in container '')", "")
			if strings.Contains(what, "undeclared reference") {
				what += "; there are " + strings.Join(names, ", ") + ", and of functions ==, !=, in, startsWith, &&, || and !"
			}
			faults = append(faults, s.fault(e.Location.Line(), e.Location.Column(), "%s", what))
		}
		return errors.Join(faults...)
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return s.fault(1, 0, "it gives a %s; a selector must be true or false, such as kind == \"pathway_opened\"", tree.OutputType())
	}
	r := reading{selector: s, info: tree.NativeRep().SourceInfo(), set: newDimensionSet(dims), names: map[string]bool{}}
	r.condition(tree.NativeRep().Expr())
	if err := errors.Join(r.faults...); err != nil {
		return err
	}
	s.names, s.tree = slices.Sorted(maps.Keys(r.names)), tree.NativeRep().Expr()
	if s.plain, err = cel.AstToString(tree); err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	if s.run, err = environment.Program(tree, cel.EvalOptions(cel.OptOptimize)); err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	if s.kinds, err = s.kindsOf(environment, tree); err != nil {
		return err
	}
	return nil
}

// fault is an error at a place of the expression: a line from 1, a column from 0.
func (s *Selector) fault(line, column int, format string, args ...any) error {
	where := fmt.Sprintf("column %d", column+1)
	if line > 1 || strings.Contains(s.text, "\n") {
		where = fmt.Sprintf("its line %d, column %d", max(line, 1), column+1)
	}
	if s.at != "" {
		where = s.at + ", " + where
	}
	return fmt.Errorf("%s of the selector: %w", where, fmt.Errorf(format, args...))
}

// countable lists the kinds that a selector may be true of: all but Retracted,
// which only takes others away.
func countable() []Kind {
	return slices.DeleteFunc(kinds(), func(k Kind) bool { return k == Retracted })
}

// kindsOf lists the kinds for which the expression can be true, whatever the other
// codes are. An expression that does not choose kinds would count a person's
// every step, and one that no kind satisfies nothing at all: both are mistakes.
func (s *Selector) kindsOf(environment *cel.Env, tree *cel.Ast) ([]Kind, error) {
	partial, err := environment.Program(tree, cel.EvalOptions(cel.OptPartialEval))
	if err != nil {
		return nil, fmt.Errorf("selector: %w", err)
	}
	var unknown []*cel.AttributePatternType
	for _, name := range s.names {
		if name != KindName {
			unknown = append(unknown, cel.AttributePattern(name))
		}
	}
	var out []Kind
	for _, k := range countable() {
		vars, err := cel.PartialVars(map[string]any{KindName: string(k)}, unknown...)
		if err != nil {
			return nil, fmt.Errorf("selector: %w", err)
		}
		value, _, err := partial.Eval(vars)
		if err != nil && !types.IsUnknown(value) {
			return nil, fmt.Errorf("selector: %w", err)
		}
		if value != types.False {
			out = append(out, k)
		}
	}
	switch len(out) {
	case 0:
		return nil, s.fault(1, 0, "%w", errNoFact)
	case len(countable()):
		return nil, s.fault(1, 0, "it does not say which kind of facts it counts: kind == one of %q", countable())
	}
	return out, nil
}

// reading walks through a checked expression: it notes the names, and refuses
// what a selector must not do.
type reading struct {
	selector *Selector
	info     *celast.SourceInfo
	set      dimensionSet
	names    map[string]bool
	faults   []error
}

func (r *reading) fault(e celast.Expr, format string, args ...any) {
	at := r.info.GetStartLocation(e.ID())
	r.faults = append(r.faults, r.selector.fault(at.Line(), at.Column(), format, args...))
}

// condition reads an expression that is true or false.
func (r *reading) condition(e celast.Expr) {
	if e.Kind() != celast.CallKind {
		r.fault(e, `a condition expected, such as kind == "pathway_opened"`)
		return
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		for _, part := range call.Args() {
			r.condition(part)
		}
	case operators.Equals, operators.NotEquals:
		a, b := call.Args()[0], call.Args()[1]
		if a.Kind() != celast.IdentKind {
			a, b = b, a
		}
		name := r.name(a)
		if b.Kind() == celast.IdentKind {
			r.name(b)
			return
		}
		r.code(name, b)
	case operators.In:
		name := r.name(call.Args()[0])
		list := call.Args()[1]
		if list.Kind() != celast.ListKind {
			r.fault(list, `a list of codes expected, such as ["F", "M"]`)
			return
		}
		if list.AsList().Size() == 0 {
			r.fault(list, "the list is empty")
		}
		for _, item := range list.AsList().Elements() {
			r.code(name, item)
		}
	case "startsWith":
		name := r.name(call.Target())
		begin, ok := textOf(call.Args()[0])
		if !ok {
			r.fault(e, `a text expected, such as rome.startsWith("A14")`)
			return
		}
		if codes := r.codes(name); codes != nil && !slices.ContainsFunc(codes, func(c string) bool { return strings.HasPrefix(c, begin) }) {
			r.fault(e, "no code of %s begins with %q; there are %s", name, begin, strings.Join(codes, ", "))
		}
	default:
		r.fault(e, "%q has no place in a selector; there are ==, !=, in, startsWith, &&, || and !", call.FunctionName())
	}
}

// name reads a variable; "" when it is none.
func (r *reading) name(e celast.Expr) string {
	if e == nil || e.Kind() != celast.IdentKind {
		if e != nil {
			r.fault(e, "kind or a dimension expected here, to be compared with a text in quotes")
		}
		return ""
	}
	r.names[e.AsIdent()] = true
	return e.AsIdent()
}

// codes is the closed list of a variable; nil when any code may come.
func (r *reading) codes(name string) []string {
	if name == KindName {
		var list []string
		for _, k := range countable() {
			list = append(list, string(k))
		}
		return list
	}
	if d := r.set[name]; d.Codes != nil {
		return append(slices.Clone(d.Codes), Unknown, Other)
	}
	return nil
}

// code reads a text that a variable is compared with.
func (r *reading) code(name string, e celast.Expr) {
	text, ok := textOf(e)
	if !ok {
		r.fault(e, "a text in quotes expected")
		return
	}
	if codes := r.codes(name); name != "" && codes != nil && !slices.Contains(codes, text) {
		r.fault(e, "%s has no code %q; there are %s", name, text, strings.Join(codes, ", "))
	}
}

func textOf(e celast.Expr) (string, bool) {
	if e.Kind() != celast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// Names lists the variables that the selector reads, "kind" among them, sorted.
func (s *Selector) Names() []string {
	if s == nil {
		return nil
	}
	return s.names
}

// Kinds lists the kinds of facts that it can be true of, in the order of the
// sources.
func (s *Selector) Kinds() []Kind {
	if s == nil {
		return nil
	}
	return s.kinds
}

// String is the expression as it was written.
func (s *Selector) String() string {
	if s == nil {
		return ""
	}
	return s.text
}

// Match says whether a fact with these codes counts; code gives the value of each
// of Names, cleaned. It may be called from several goroutines.
func (s *Selector) Match(code func(name string) string) bool {
	if s == nil || s.run == nil {
		return false
	}
	value, _, err := s.run.Eval(activation(code))
	return err == nil && value == types.True
}

// activation gives CEL the values of the variables.
type activation func(name string) string

// ResolveName finds one.
func (a activation) ResolveName(name string) (any, bool) { return types.String(a(name)), true }

// Parent is none.
func (activation) Parent() cel.Activation { return nil }

// UnmarshalYAML keeps the text and where it stands; the definition compiles it.
func (s *Selector) UnmarshalYAML(node ast.Node) error {
	at := fmt.Sprintf("line %d", node.GetToken().Position.Line)
	switch n := node.(type) {
	case *ast.StringNode:
		s.text, s.at = n.Value, at
	case *ast.LiteralNode:
		s.text, s.at = n.Value.Value, at
	default:
		return fmt.Errorf("%s: an expression expected as text, such as kind == \"pathway_opened\"", at)
	}
	s.text = strings.TrimSpace(s.text)
	return nil
}

// MarshalText writes the expression.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Select says which facts count.
type Select struct {
	// Facts are those that count, for every measure but a stock.
	Facts *Selector `yaml:"select" json:"select,omitempty"`
	// For a stock: a subject is in it from an Enters or Changes fact on, as that
	// fact describes it, and out of it from a Leaves fact on; after that, only
	// another Enters fact brings it back. What is true of Leaves counts as that,
	// what is true of Enters as that before Changes.
	Enters  *Selector `yaml:"enters" json:"enters,omitempty"`
	Changes *Selector `yaml:"changes" json:"changes,omitempty"`
	Leaves  *Selector `yaml:"leaves" json:"leaves,omitempty"`
}

// selectors names those that there are.
func (s Select) selectors() map[string]*Selector {
	all := map[string]*Selector{"select": s.Facts, "enters": s.Enters, "changes": s.Changes, "leaves": s.Leaves}
	maps.DeleteFunc(all, func(_ string, s *Selector) bool { return s == nil })
	return all
}

// Kinds lists every kind that the selection looks at, each once.
func (s Select) Kinds() []Kind {
	all := slices.Concat(s.Facts.Kinds(), s.Enters.Kinds(), s.Changes.Kinds(), s.Leaves.Kinds())
	slices.Sort(all)
	return slices.Compact(all)
}

// Names lists the variables that the selection reads, each once.
func (s Select) Names() []string {
	all := slices.Concat(s.Facts.Names(), s.Enters.Names(), s.Changes.Names(), s.Leaves.Names())
	slices.Sort(all)
	return slices.Compact(all)
}
