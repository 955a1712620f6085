package reference

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed schemes/*.yaml
var schemeFiles embed.FS

// Decision kinds of the matching service, in the order in which they may follow
// each other; what each does to a pathway is the scheme's data.
const (
	DecisionShortlisted = "shortlisted"
	DecisionDisclosed   = "disclosed" // the profile was shown to the employer
	DecisionInterview   = "interview"
	DecisionOffered     = "offered"  // the employer offers the post
	DecisionAccepted    = "accepted" // the candidate accepts it: from here on the offer holds the pathway
	DecisionHired       = "hired"    // the contract is signed; holds the pathway too
	DecisionRefused     = "refused"  // one offer is over for the person
	DecisionNoShow      = "no_show"  // the person did not come, to the interview or to work
)

// Decisions lists the kinds of decisions in the order in which they may follow.
func Decisions() []string {
	return []string{
		DecisionShortlisted, DecisionDisclosed, DecisionInterview, DecisionOffered,
		DecisionAccepted, DecisionHired, DecisionRefused, DecisionNoShow,
	}
}

// Scheme is one version of a pathway's rules: which stages, who may enter them,
// what may follow what, and how a pathway may end early. A running pathway
// keeps the version it was opened under.
type Scheme struct {
	Code    string `yaml:"code"` // "agri", "soin"
	Version string `yaml:"version"`
	LabelFR string `yaml:"label_fr"`
	LabelAR string `yaml:"label_ar"`
	LabelEN string `yaml:"label_en"`
	// Sector as in Sector(rome).
	Sector string `yaml:"sector"`
	// Placement is the stage from which a person counts as placed.
	Placement string `yaml:"placement"`
	// LanguageTarget is the CEFR level in French aimed at; empty when none is set.
	LanguageTarget string `yaml:"language_target"`
	// ValidFrom is the first day (YYYY-MM-DD) on which a pathway may open
	// under this version.
	ValidFrom string `yaml:"valid_from"`
	// Status is "à_confirmer" until the institution in charge has confirmed
	// the rules, then "confirmé".
	Status string `yaml:"status"`
	Source string `yaml:"source"`
	// Stages in their usual order: a pathway opens at the first and is
	// completed from the last.
	Stages []Stage `yaml:"stages"`
	// Decisions say what matching decisions do to a pathway; of those that apply
	// the first counts.
	Decisions []Rule `yaml:"decisions"`
	Exits     []Exit `yaml:"exits"`
}

// Stage is one step of a scheme.
type Stage struct {
	Code    string `yaml:"code"`
	LabelFR string `yaml:"label_fr"`
	LabelAR string `yaml:"label_ar"`
	LabelEN string `yaml:"label_en"`
	// Actors are the roles that may enter the stage.
	Actors []string `yaml:"actors"`
	// Next are the stages that may follow, loops included.
	Next []string `yaml:"next"`
	// Optional stages may be passed over on the way to what follows them.
	Optional bool `yaml:"optional"`
	// TargetDays is the longest wished stay, in days; nil: "à configurer".
	TargetDays *int `yaml:"target_days"`
	// Notify says whether the person is told that the stage was entered.
	Notify bool `yaml:"notify"`
}

// Rule says what a matching decision of one kind does to a pathway.
type Rule struct {
	Kind string `yaml:"kind"`
	// Held says that the rule is for decisions of the offer that holds the
	// pathway already: accepted before, or hired. A rule without it is for all
	// other decisions.
	Held bool `yaml:"held"`
	// From are the stages at which the rule applies. None: everywhere, or, when
	// To is given, at To and at the stages from which To may be entered.
	From []string `yaml:"from"`
	// To is the stage that the decision leads to; "": the pathway stays where it is.
	To string `yaml:"to"`
	// Actors are the roles that may decide so, besides being allowed to enter the
	// stage that the decision leads to; none: every role that may decide at all.
	Actors []string `yaml:"actors"`
}

// Exit is a way a pathway may end before its last stage.
type Exit struct {
	Code    string `yaml:"code"`
	LabelFR string `yaml:"label_fr"`
	LabelAR string `yaml:"label_ar"`
	LabelEN string `yaml:"label_en"`
	// Stages where it may happen; empty means at any.
	Stages []string `yaml:"stages"`
}

// SchemeSet is every known version of every scheme.
type SchemeSet struct{ all []*Scheme }

var embedded = sync.OnceValue(func() SchemeSet {
	set, err := LoadSchemes(schemeFiles, "schemes")
	if err != nil {
		// The files are compiled in and tested: this cannot happen in a
		// binary that passed its tests.
		panic(err)
	}
	return set
})

// Schemes returns the schemes that are part of the program.
func Schemes() SchemeSet { return embedded() }

// LoadSchemes reads and checks every *.yaml file of a directory. The error
// names every fault with its file and place.
func LoadSchemes(fsys fs.FS, dir string) (SchemeSet, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return SchemeSet{}, fmt.Errorf("schemes: %w", err)
	}
	var set SchemeSet
	var faults []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			faults = append(faults, fmt.Errorf("scheme file %s: %w", name, err))
			continue
		}
		s, err := ParseScheme(data)
		if err != nil {
			faults = append(faults, fmt.Errorf("scheme file %s: %w", name, err))
			continue
		}
		if _, twice := set.Get(s.Code, s.Version); twice {
			faults = append(faults, fmt.Errorf("scheme file %s: scheme %s version %s is defined twice", name, s.Code, s.Version))
			continue
		}
		set.all = append(set.all, s)
	}
	return set, errors.Join(faults...)
}

// ParseScheme reads one scheme from YAML, strictly, and checks it.
func ParseScheme(data []byte) (*Scheme, error) {
	var s Scheme
	if err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("not a scheme in YAML: %w", err)
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return &s, nil
}

// All returns every version of every scheme, in file order.
func (s SchemeSet) All() []*Scheme { return slices.Clone(s.all) }

// Get returns one version of a scheme.
func (s SchemeSet) Get(code, version string) (*Scheme, bool) {
	for _, c := range s.all {
		if c.Code == code && c.Version == version {
			return c, true
		}
	}
	return nil, false
}

// Current returns the version under which a pathway opens at the given moment:
// the latest that is valid by then.
func (s SchemeSet) Current(code string, at time.Time) (*Scheme, bool) {
	day := at.UTC().Format(time.DateOnly)
	var best *Scheme
	for _, c := range s.all {
		if c.Code == code && c.ValidFrom <= day && (best == nil || c.ValidFrom > best.ValidFrom) {
			best = c
		}
	}
	return best, best != nil
}

// Codes returns the codes of all schemes, each once.
func (s SchemeSet) Codes() []string {
	var codes []string
	for _, c := range s.all {
		if !slices.Contains(codes, c.Code) {
			codes = append(codes, c.Code)
		}
	}
	return codes
}

// First is the stage at which a pathway opens.
func (s *Scheme) First() *Stage { return &s.Stages[0] }

// Last is the stage from which a pathway is completed.
func (s *Scheme) Last() *Stage { return &s.Stages[len(s.Stages)-1] }

// Stage returns a stage by its code.
func (s *Scheme) Stage(code string) (*Stage, bool) {
	for i := range s.Stages {
		if s.Stages[i].Code == code {
			return &s.Stages[i], true
		}
	}
	return nil, false
}

// Exit returns an exit by its code.
func (s *Scheme) Exit(code string) (*Exit, bool) {
	for i := range s.Exits {
		if s.Exits[i].Code == code {
			return &s.Exits[i], true
		}
	}
	return nil, false
}

// At says whether the exit may happen at the stage.
func (e *Exit) At(stage string) bool {
	return len(e.Stages) == 0 || slices.Contains(e.Stages, stage)
}

// Following lists the stages that may be entered from `from`: those of its
// `next`, and what follows an optional one of them, in the scheme's order. A
// stage never follows itself.
func (s *Scheme) Following(from string) []string {
	start, ok := s.Stage(from)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for queue := slices.Clone(start.Next); len(queue) > 0; queue = queue[1:] {
		code := queue[0]
		if seen[code] {
			continue
		}
		seen[code] = true
		if st, ok := s.Stage(code); ok && st.Optional {
			queue = append(queue, st.Next...)
		}
	}
	delete(seen, from)
	var out []string
	for _, st := range s.Stages {
		if seen[st.Code] {
			out = append(out, st.Code)
		}
	}
	return out
}

// Allows says whether a pathway at `from` may enter `to`.
func (s *Scheme) Allows(from, to string) bool {
	return slices.Contains(s.Following(from), to)
}

// Decide says what a matching decision does to a pathway at stage `from`; `held`
// says that the offer it is about holds the pathway already (see Rule). `to` is
// the stage it leads to. `to` equals `from` when the decision changes nothing
// (the person is already there, for another offer, or is refused for this one).
// ok is false when the scheme does not allow the decision there. Matching asks it
// before recording a decision and candidates before applying it, so that both
// always agree.
func (s *Scheme) Decide(from, decision string, held bool) (to string, ok bool) {
	rule, ok := s.rule(from, decision, held)
	if !ok {
		return "", false
	}
	if rule.To == "" {
		return from, true
	}
	return rule.To, true
}

// MayDecide says whether the role may make the decision at stage `from`, and
// which roles may; every role when there are none. Whether it may enter the stage
// that the decision leads to is asked of the stage.
func (s *Scheme) MayDecide(role, from, decision string, held bool) (roles []string, ok bool) {
	rule, _ := s.rule(from, decision, held)
	return rule.Actors, len(rule.Actors) == 0 || slices.Contains(rule.Actors, role)
}

// rule finds the first rule that applies.
func (s *Scheme) rule(from, decision string, held bool) (Rule, bool) {
	if _, known := s.Stage(from); !known {
		return Rule{}, false
	}
	for _, r := range s.Decisions {
		if r.Kind != decision || r.Held != held {
			continue
		}
		if slices.Contains(r.From, from) || len(r.From) == 0 && (r.To == "" || r.To == from || s.Allows(from, r.To)) {
			return r, true
		}
	}
	return Rule{}, false
}

// Leading lists the decisions that lead to a stage, from anywhere.
func (s *Scheme) Leading(stage string) []string {
	var kinds []string
	for _, r := range s.Decisions {
		if r.To == stage && !slices.Contains(kinds, r.Kind) {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}

// Engaged says whether a person at the stage is taken: hired, on the way or in
// the job. That is so from the stage that `accepted` or `hired` leads to, or the
// placement, on, except where the scheme lets the person be shortlisted again.
func (s *Scheme) Engaged(stage string) bool {
	for _, st := range s.Stages {
		leads := s.Leading(st.Code)
		if slices.Contains(leads, DecisionAccepted) || slices.Contains(leads, DecisionHired) || st.Code == s.Placement {
			reached := slices.IndexFunc(s.Stages, func(o Stage) bool { return o.Code == stage }) >=
				slices.IndexFunc(s.Stages, func(o Stage) bool { return o.Code == st.Code })
			_, again := s.Decide(stage, DecisionShortlisted, false)
			return reached && !again
		}
	}
	return false
}

// Roles that a stage may name as its actors: the roles of people who act on
// pathways. The local administrator and Masar's own services may act anywhere.
var stageActors = []string{"counsellor", "officer", "employer"}

// Check reports every fault of a scheme: missing texts, codes that are not
// defined or defined twice, stages that cannot be reached from the first or
// from which the last cannot be reached, a placement that is not a stage.
func (s *Scheme) Check() error {
	var faults []error
	fault := func(format string, a ...any) {
		faults = append(faults, fmt.Errorf("scheme %q version %q: "+format, append([]any{s.Code, s.Version}, a...)...))
	}
	text := func(where, value string) {
		if strings.TrimSpace(value) == "" {
			fault("%s is missing", where)
		}
	}
	text("code", s.Code)
	text("version", s.Version)
	text("label_fr", s.LabelFR)
	text("label_ar", s.LabelAR)
	text("label_en", s.LabelEN)
	text("sector", s.Sector)
	text("source", s.Source)
	if s.Status != "à_confirmer" && s.Status != "confirmé" {
		fault("status is %q, want à_confirmer or confirmé", s.Status)
	}
	if _, err := time.Parse(time.DateOnly, s.ValidFrom); err != nil {
		fault("valid_from is %q, want a date YYYY-MM-DD", s.ValidFrom)
	}
	s.checkStages(fault, text)
	s.checkDecisions(fault)
	s.checkExits(fault, text)
	return errors.Join(faults...)
}

func (s *Scheme) checkStages(fault func(string, ...any), text func(where, value string)) {
	if len(s.Stages) == 0 {
		fault("it has no stages")
		return
	}
	codes := map[string]bool{}
	for i, st := range s.Stages {
		where := fmt.Sprintf("stages[%d] (%s)", i, st.Code)
		text(where+" code", st.Code)
		text(where+" label_fr", st.LabelFR)
		text(where+" label_ar", st.LabelAR)
		text(where+" label_en", st.LabelEN)
		if codes[st.Code] {
			fault("%s: the code is used twice", where)
		}
		codes[st.Code] = true
		if len(st.Actors) == 0 {
			fault("%s: no actors, nobody could enter it", where)
		}
		for _, a := range st.Actors {
			if !slices.Contains(stageActors, a) {
				fault("%s: actor %q is not one of %s", where, a, strings.Join(stageActors, ", "))
			}
		}
		if st.TargetDays != nil && *st.TargetDays <= 0 {
			fault("%s: target_days is %d, want a positive number or null", where, *st.TargetDays)
		}
	}
	for i, st := range s.Stages {
		for j, next := range st.Next {
			if !codes[next] {
				fault("stages[%d] (%s) next[%d]: %q is not a stage of the scheme", i, st.Code, j, next)
			}
			if next == st.Code {
				fault("stages[%d] (%s) next[%d]: a stage cannot follow itself", i, st.Code, j)
			}
			if slices.Index(st.Next, next) != j {
				fault("stages[%d] (%s) next[%d]: %q is named twice", i, st.Code, j, next)
			}
		}
	}
	if !codes[s.Placement] {
		fault("placement %q is not a stage of the scheme", s.Placement)
	}
	if s.First().Optional || s.Last().Optional {
		fault("the first and the last stage cannot be optional")
	}
	reached := s.reachable(s.First().Code)
	for i, st := range s.Stages {
		if !reached[st.Code] {
			fault("stages[%d] (%s) cannot be reached from the first stage %s", i, st.Code, s.First().Code)
		} else if !s.reachable(st.Code)[s.Last().Code] {
			fault("stages[%d] (%s): the last stage %s cannot be reached from it", i, st.Code, s.Last().Code)
		}
	}
}

func (s *Scheme) checkDecisions(fault func(string, ...any)) {
	for i, r := range s.Decisions {
		where := fmt.Sprintf("decisions[%d] (%s)", i, r.Kind)
		if !slices.Contains(Decisions(), r.Kind) {
			fault("%s: the kind is not one of %s", where, strings.Join(Decisions(), ", "))
		}
		for _, code := range r.From {
			if _, ok := s.Stage(code); !ok {
				fault("%s: from names %q, which is not a stage of the scheme", where, code)
			}
		}
		if _, ok := s.Stage(r.To); !ok && r.To != "" {
			fault("%s: leads to %q, which is not a stage of the scheme", where, r.To)
		}
		for _, a := range r.Actors {
			if !slices.Contains(stageActors, a) {
				fault("%s: actor %q is not one of %s", where, a, strings.Join(stageActors, ", "))
			}
		}
		if r.Held && !slices.Contains([]string{DecisionHired, DecisionRefused, DecisionNoShow}, r.Kind) {
			fault("%s: held does not go with it; after accepted only hired, refused or no_show may come", where)
		}
	}
	for _, st := range s.Stages {
		// Matching relies on it that a person may always be refused.
		if to, ok := s.Decide(st.Code, DecisionRefused, false); !ok || to != st.Code {
			fault("decisions: refused must be possible at stage %s and leave the pathway there", st.Code)
		}
	}
}

func (s *Scheme) checkExits(fault func(string, ...any), text func(where, value string)) {
	known, seen := ExitCodes(), map[string]bool{}
	for i, e := range s.Exits {
		where := fmt.Sprintf("exits[%d] (%s)", i, e.Code)
		text(where+" label_fr", e.LabelFR)
		text(where+" label_ar", e.LabelAR)
		text(where+" label_en", e.LabelEN)
		if !slices.Contains(known, e.Code) {
			fault("%s: the code is not one of the programme's exits", where)
		}
		if seen[e.Code] {
			fault("%s: the code is used twice", where)
		}
		seen[e.Code] = true
		for j, code := range e.Stages {
			if _, ok := s.Stage(code); !ok {
				fault("%s stages[%d]: %q is not a stage of the scheme", where, j, code)
			}
		}
	}
	// A person may always leave.
	if e, ok := s.Exit("DESISTEMENT"); !ok || len(e.Stages) > 0 {
		fault("exit DESISTEMENT must exist and be possible at any stage")
	}
}

// reachable returns the stages that can be reached from one, itself included.
func (s *Scheme) reachable(from string) map[string]bool {
	seen := map[string]bool{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		if st, ok := s.Stage(queue[0]); ok {
			queue = append(queue, st.Next...)
		}
	}
	return seen
}
