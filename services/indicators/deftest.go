package indicators

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefinitionTest is a small history with the figures that a definition must give.
// The events are written in the order in which they were decided: that is their
// sequence, whatever their dates say.
type DefinitionTest struct {
	Name   string        `yaml:"name"`
	Events []TestEvent   `yaml:"events"`
	Expect []Expectation `yaml:"expect"`
}

// TestEvent is one fact of a test by the names of its attributes: kind and when
// (local, "2026-01-31 23:30", or the day alone for noon), and as needed id,
// recorded (when Masar learned of it; as soon as it happened, if absent), person,
// subject, offer, employer, seq, supersedes (the id of the fact that it replaces),
// stay_days, posts, filled, and any code (scheme, sex, stage ...). Without id it
// is "e1", "e2" ...; without subject, that of the fact it replaces, or its offer,
// or its person.
type TestEvent map[string]any

// Expectation is one question to the figures, and its answer.
type Expectation struct {
	Grain Grain    `yaml:"grain"` // all, if absent
	By    []string `yaml:"by"`
	From  string   `yaml:"from"` // local days
	To    string   `yaml:"to"`
	AsOf  string   `yaml:"as_of"` // what was known then; everything, if absent
	// Figures are all the cells that are not 0, by period and codes, "2026-01 agri
	// F". A figure is a number; of a ratio, "1/2"; of a median, "3 (p90 5, n 2)";
	// null where there must be no figure.
	Figures map[string]any `yaml:"figures"`
}

// RunTests computes every test of the definition by the engine, with the facts in
// the order of the test and backwards, and by the recount, and says what is not as
// expected, one error for each figure; the error's text names the test.
func (d *Definition) RunTests(dims []Dimension) error {
	var faults []error
	for _, t := range d.Tests {
		for _, err := range d.runTest(t, dims) {
			faults = append(faults, fmt.Errorf("indicator %s, test %q: %w", d.Code, t.Name, err))
		}
	}
	return errors.Join(faults...)
}

func (d *Definition) runTest(t DefinitionTest, dims []Dimension) (faults []error) {
	facts, err := t.facts(dims)
	if err != nil {
		return []error{err}
	}
	if len(t.Expect) == 0 {
		return []error{errors.New("expect is missing: a test must expect a figure")}
	}
	forwards, backwards := NewColumns(dims, Definitions{d}), NewColumns(dims, Definitions{d})
	today := ""
	for i, f := range facts {
		forwards.Add(f)
		backwards.Add(facts[len(facts)-1-i])
		today = max(today, localDay(f.OccurredAt.UnixMilli()))
	}
	for n, e := range t.Expect {
		q, err := e.query(d, today)
		if err != nil {
			faults = append(faults, fmt.Errorf("expect, number %d: %w", n+1, err))
			continue
		}
		for _, way := range []struct {
			name  string
			cells func() ([]Cell, error)
		}{
			{"the engine", func() ([]Cell, error) { return forwards.View().Cells(d, q) }},
			{"the engine, with the events backwards,", func() ([]Cell, error) { return backwards.View().Cells(d, q) }},
			{"the recount", func() ([]Cell, error) { return Recount(d, dims, slices.Values(facts), q), nil }},
		} {
			cells, err := way.cells()
			if err != nil {
				faults = append(faults, fmt.Errorf("expect, number %d: %s: %w", n+1, way.name, err))
				continue
			}
			for _, difference := range e.compare(d, cells) {
				faults = append(faults, fmt.Errorf("expect, number %d (%s): %s gives %s", n+1, e, way.name, difference))
			}
		}
	}
	return faults
}

// String names the question.
func (e Expectation) String() string {
	parts := []string{string(e.grain())}
	if len(e.By) > 0 {
		parts = append(parts, "by "+strings.Join(e.By, ", "))
	}
	for _, p := range [][2]string{{"from ", e.From}, {"to ", e.To}, {"as of ", e.AsOf}} {
		if p[1] != "" {
			parts = append(parts, p[0]+p[1])
		}
	}
	return strings.Join(parts, " ")
}

func (e Expectation) grain() Grain {
	if e.Grain == "" {
		return All
	}
	return e.Grain
}

func (e Expectation) query(d *Definition, today string) (Query, error) {
	q := Query{Grain: e.grain(), By: e.By, From: e.From, To: e.To, Today: today}
	if !slices.Contains(d.Grains, q.Grain) {
		return q, fmt.Errorf("grain: %q is not one of its grains %q", q.Grain, d.Grains)
	}
	for _, name := range e.By {
		if !slices.Contains(d.Dimensions, name) {
			return q, fmt.Errorf("by: %q is not one of its dimensions", name)
		}
	}
	for name, day := range map[string]string{"from": e.From, "to": e.To} {
		if day == "" {
			continue
		}
		if t, err := time.Parse(time.DateOnly, day); err != nil || t.Year() < firstYear || t.Year() >= lastYear {
			return q, fmt.Errorf("%s: %q is not a day from %d to %d, want YYYY-MM-DD", name, day, firstYear, lastYear-1)
		}
	}
	if len(e.Figures) == 0 {
		return q, errors.New("figures are missing; where nothing counts, say so: figures: {all: 0}")
	}
	if e.AsOf != "" {
		at, err := testTime(e.AsOf)
		if err != nil {
			return q, fmt.Errorf("as_of: %w", err)
		}
		q.AsOf = at
	}
	return q, nil
}

// compare says which cells are not as expected.
func (e Expectation) compare(d *Definition, cells []Cell) (out []string) {
	byKey := map[string]Cell{}
	for _, c := range cells {
		byKey[strings.Join(append([]string{c.Period}, c.Codes...), " ")] = c
	}
	for _, key := range slices.Sorted(maps.Keys(e.Figures)) {
		want, err := figureText(d, e.Figures[key])
		if err != nil {
			out = append(out, fmt.Sprintf("no answer to %q: %v", key, err))
			continue
		}
		c, has := byKey[key]
		delete(byKey, key)
		got := noFigure
		if has || !d.quotient() {
			got = cellText(d, c)
		}
		if got != want && !(want == noFigure && got == "0") {
			out = append(out, fmt.Sprintf("%s for %q, want %s", got, key, want))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if c := byKey[key]; c.Value != 0 || d.quotient() {
			out = append(out, fmt.Sprintf("%s for %q, which is not expected", cellText(d, c), key))
		}
	}
	return out
}

// quotient says whether there may be no figure where there is nothing to count.
func (d *Definition) quotient() bool { return d.Measure == Ratio || d.Measure == MedianDays }

const noFigure = "no figure"

// cellText writes a figure as tests do.
func cellText(d *Definition, c Cell) string {
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	switch d.Measure {
	case Ratio:
		if c.Denominator == 0 || math.Abs(c.Value-c.Numerator/c.Denominator) > 0.005 {
			return fmt.Sprintf("%s of %s/%s", number(c.Value), number(c.Numerator), number(c.Denominator))
		}
		return number(c.Numerator) + "/" + number(c.Denominator)
	case MedianDays:
		return fmt.Sprintf("%s (p90 %s, n %d)", number(c.Value), number(c.P90), c.N)
	}
	return number(c.Value)
}

// figureText is what a test expects, in the form of cellText.
func figureText(d *Definition, figure any) (string, error) {
	if figure == nil {
		return noFigure, nil
	}
	text := strings.Join(strings.Fields(fmt.Sprint(figure)), " ")
	var form string
	var x, y float64
	var n int
	var err error
	switch d.Measure {
	case Ratio:
		form = `numerator and denominator, such as "1/2"`
		_, err = fmt.Sscanf(text, "%g/%g", &x, &y)
	case MedianDays:
		form = `a median such as "3 (p90 5, n 2)"`
		_, err = fmt.Sscanf(text, "%g (p90 %g, n %d)", &x, &y, &n)
	default:
		form = "a number"
		if x, err = strconv.ParseFloat(text, 64); err == nil {
			text = strconv.FormatFloat(x, 'f', -1, 64)
		}
	}
	if err != nil {
		return "", fmt.Errorf("%q is not %s", clip(text), form)
	}
	return text, nil
}

// testTime reads a local date, with or without the time of day; noon without.
func testTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, tunis); err == nil {
			if layout == time.DateOnly {
				t = t.Add(12 * time.Hour)
			}
			if t.Year() < firstYear || t.Year() >= lastYear {
				return time.Time{}, fmt.Errorf("%q is not a year from %d to %d", text, firstYear, lastYear-1)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time, want \"2026-01-31\" or \"2026-01-31 23:30\"", clip(text))
}

// mostTestEvents bounds a test: it is there to be read.
const mostTestEvents = 200

// facts makes the facts of a test.
func (t DefinitionTest) facts(dims []Dimension) ([]Fact, error) {
	if len(t.Events) > mostTestEvents {
		return nil, fmt.Errorf("%d events are too many for a test; at most %d", len(t.Events), mostTestEvents)
	}
	var facts []Fact
	byID := map[string]Fact{}
	for i, e := range t.Events {
		f, err := e.fact(i+1, byID, newDimensionSet(dims))
		if err != nil {
			return nil, fmt.Errorf("events, number %d: %w", i+1, err)
		}
		if _, twice := byID[f.ID]; !twice {
			byID[f.ID] = f
		}
		facts = append(facts, f)
	}
	return facts, nil
}

// fact makes the n-th fact; earlier are those before it, by id.
func (e TestEvent) fact(n int, earlier map[string]Fact, dims dimensionSet) (Fact, error) {
	f := Fact{ID: fmt.Sprintf("e%d", n), Seq: int64(n)}
	var faults []error
	text := func(name string) string {
		if v, ok := e[name]; ok && v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
	number := func(name string) (x float64, has bool) {
		if text(name) == "" {
			return 0, false
		}
		x, err := strconv.ParseFloat(text(name), 64)
		if err != nil || x < 0 || x > 1e6 {
			faults = append(faults, fmt.Errorf("%s: %q is not a number from 0 to a million", name, clip(text(name))))
		}
		return x, true
	}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		switch name {
		case "kind", "when", "recorded", "id", "person", "subject", "offer", "employer", "seq", "supersedes", "stay_days", "posts", "filled":
			continue
		}
		field, ok := codeFields[name]
		if !ok {
			faults = append(faults, fmt.Errorf("there is no %q in an event", clip(name)))
			continue
		}
		*field(&f.Codes) = text(name)
		if d, ok := dims[name]; ok && d.Clean(text(name)) == Other && text(name) != Other {
			faults = append(faults, fmt.Errorf("%s has no code %q; write %s: other for what is outside of the list", name, clip(text(name)), name))
		}
	}
	f.Kind = Kind(text("kind"))
	if !slices.Contains(kinds(), f.Kind) {
		faults = append(faults, fmt.Errorf("kind: %q is not one of %q", clip(text("kind")), kinds()))
	}
	var err error
	if f.OccurredAt, err = testTime(text("when")); err != nil {
		faults = append(faults, fmt.Errorf("when: %w", err))
	}
	f.RecordedAt = f.OccurredAt
	if text("recorded") != "" {
		if f.RecordedAt, err = testTime(text("recorded")); err != nil {
			faults = append(faults, fmt.Errorf("recorded: %w", err))
		}
	}
	if text("id") != "" {
		f.ID = text("id")
	}
	f.Person, f.Offer = text("person"), text("offer")
	f.Employer, f.Supersedes = text("employer"), text("supersedes")
	f.Subject = f.Person
	if f.Offer != "" {
		f.Subject = f.Offer
	}
	if old, ok := earlier[text("supersedes")]; ok {
		f.Subject = old.Subject
	}
	if text("subject") != "" {
		f.Subject = text("subject")
	}
	if days, ok := number("stay_days"); ok {
		seconds := int64(days * 86400)
		f.Stay = &seconds
	}
	posts, some := number("posts")
	filled, more := number("filled")
	if some || more {
		f.Terms = &Terms{Posts: int64(posts), Filled: int64(filled)}
	}
	if old, ok := earlier[f.Supersedes]; ok {
		f.Seq = old.Seq
	}
	if seq, ok := number("seq"); ok {
		f.Seq = int64(seq)
	}
	return f, errors.Join(faults...)
}
