package shortage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Link says that two occupations of different nomenclatures have people in
// common. Weight is how much of From goes to To, in proportion to the other links
// of From; 0: not known, and then all its links weigh the same.
type Link struct {
	From   Occupation
	To     Occupation
	Weight float64
}

// Passage leads from one nomenclature to another. Occupations are linked many to
// many.
type Passage struct {
	From, To Nomenclature
	links    map[Occupation][]Link // by From
	back     map[Occupation][]Link // by To
}

// NewPassage makes a passage of the links, which must all lead from one
// nomenclature to another. It refuses one between FAP2009 and FAP2021, whose codes
// look alike: no such table is published, and they are joined by ROME or not at
// all.
func NewPassage(links []Link) (*Passage, error) {
	if len(links) == 0 {
		return nil, fmt.Errorf("a passage has no links")
	}
	p := &Passage{From: links[0].From.Nomenclature, To: links[0].To.Nomenclature, links: map[Occupation][]Link{}, back: map[Occupation][]Link{}}
	if code := forbidden(p.From, p.To); code != "" {
		return nil, fmt.Errorf("no passage from %s to %s: %s", p.From, p.To, reasons[code][0])
	}
	for _, l := range links {
		if l.From.Nomenclature != p.From || l.To.Nomenclature != p.To {
			return nil, fmt.Errorf("the passage from %s to %s has a link from %s to %s", p.From, p.To, l.From, l.To)
		}
		p.links[l.From] = append(p.links[l.From], l)
		p.back[l.To] = append(p.back[l.To], l)
	}
	return p, nil
}

// forbidden is the code of the reason why two nomenclatures are not joined, "" when
// they may be.
func forbidden(a, b Nomenclature) string {
	switch {
	case a == b:
		return "same"
	case strings.HasPrefix(string(a), "FAP") && strings.HasPrefix(string(b), "FAP"):
		return "direct"
	}
	return ""
}

// Across gives the occupations of the other nomenclature that o is linked with, in
// whichever direction o stands, by code. None for an occupation of a third
// nomenclature, or one without links.
func (p *Passage) Across(o Occupation) []Occupation {
	var out []Occupation
	for _, l := range p.links[o] {
		out = append(out, l.To)
	}
	for _, l := range p.back[o] {
		out = append(out, l.From)
	}
	slices.SortFunc(out, compareOccupations)
	return slices.Compact(out)
}

// Shares says how a count of o is spread over the other nomenclature: shares that
// add up to 1. In the direction of the table by its weights, in equal shares where
// it has none; against it in equal shares, for what a table says of one direction
// says nothing of the other.
func (p *Passage) Shares(o Occupation) map[Occupation]float64 {
	out := map[Occupation]float64{}
	total := 0.0
	for _, l := range p.links[o] {
		total += l.Weight
	}
	for _, l := range p.links[o] {
		if total > 0 {
			out[l.To] = l.Weight / total
		} else {
			out[l.To] = 1 / float64(len(p.links[o]))
		}
	}
	if len(out) == 0 {
		for _, l := range p.back[o] {
			out[l.From] = 1 / float64(len(p.back[o]))
		}
	}
	return out
}

// Spread turns the counts of all occupations of one side into counts of the other.
// The sum of a measure stays the same but for occupations without links, which are
// returned by code: their counts are lost. What is no count (an index, a class)
// is left out.
func (p *Passage) Spread(rows map[Occupation]Inputs) (out map[Occupation]Inputs, lost []Occupation) {
	out = map[Occupation]Inputs{}
	for _, o := range slices.SortedFunc(maps.Keys(rows), compareOccupations) {
		shares := p.Shares(o)
		if len(shares) == 0 {
			lost = append(lost, o)
		}
		for to, share := range shares {
			if out[to] == nil {
				out[to] = Inputs{}
			}
			for m, v := range rows[o] {
				if !additive(m) {
					continue
				}
				sum := out[to][m]
				sum.Number += share * v.Number
				sum.Rows, sum.HiddenRows = sum.Rows+v.Rows, sum.HiddenRows+v.HiddenRows
				sum.Source, sum.Of = v.Source, v.Of
				out[to][m] = sum
			}
		}
	}
	return out, lost
}

// additive says whether counts of the measure may be added up and divided.
func additive(m Measure) bool {
	switch m {
	case Index, Class, Conditions, TrainingLink:
		return false
	}
	return !slices.Contains(levels[:], m)
}

// link keeps a link of the file.
func (f *file) link(l Link, seen map[[2]Occupation]bool) bool {
	if seen[[2]Occupation{l.From, l.To}] {
		return false
	}
	l.From, l.To = owned(l.From), owned(l.To)
	seen[[2]Occupation{l.From, l.To}] = true
	f.dataset.Links = append(f.dataset.Links, l)
	return true
}

// readPassage reads the plain format: from_nomenclature, from_code,
// to_nomenclature, to_code, and weight if there are weights.
func readPassage(f *file) error {
	seen := map[[2]Occupation]bool{}
	weights := 0
	for {
		more, err := f.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		before := f.report.Faults
		var l Link
		for _, side := range []struct {
			name string
			to   *Occupation
		}{{"from", &l.From}, {"to", &l.To}} {
			n := Nomenclature(f.cell(side.name + "_nomenclature"))
			if i := slices.Index(Nomenclatures, n); i < 0 {
				f.fault(side.name+"_nomenclature", string(n), "nomenclature")
			} else {
				*side.to, _ = f.occupation(Nomenclatures[i], side.name+"_code")
			}
		}
		if before == f.report.Faults {
			if code := forbidden(l.From.Nomenclature, l.To.Nomenclature); code != "" {
				f.fault("to_nomenclature", string(l.To.Nomenclature), code)
			} else if len(f.dataset.Links) > 0 && (f.dataset.Links[0].From.Nomenclature != l.From.Nomenclature || f.dataset.Links[0].To.Nomenclature != l.To.Nomenclature) {
				f.fault("from_nomenclature", string(l.From.Nomenclature), "passages")
			}
		}
		if v, ok := f.decimal("weight"); ok {
			weights++
			if !v.IsPositive() {
				f.fault("weight", v.String(), "weight")
			}
			l.Weight = v.InexactFloat64()
		}
		if before == f.report.Faults && !f.link(l, seen) {
			f.fault("to_code", l.To.Code, "duplicate")
		}
	}
	if weights > 0 && weights != f.dataset.Rows && f.report.Faults == 0 {
		f.line = 0
		f.fault("weight", "", "weight")
	}
	f.dataset.Source = "passage"
	return nil
}

// readFAP2009 reads fap225_rome.csv: FAP of 2009 with the sheets of ROME, NA where
// there is none.
func readFAP2009(f *file) error {
	f.dataset.Source = SourceDARES
	seen := map[[2]Occupation]bool{}
	for {
		more, err := f.next()
		if !more {
			return err
		}
		fap, ok := f.occupation(FAP2009, "Fap")
		if f.cell("Rome") == "NA" || !ok {
			continue
		}
		if rome, ok := f.occupation(ROME, "Rome"); ok {
			f.label(rome, f.cell("intitule_rome"))
			f.link(Link{From: fap, To: rome}, seen)
		}
	}
}

// readFAP2021 reads DARES' passage from ROME and level of qualification to FAP341
// of 2021. The first five signs of its codes are the occupations of the survey of
// employers. How many work at each level of qualification is not known here, so a
// sheet goes to all its occupations in equal shares.
func readFAP2021(f *file) error {
	f.dataset.Source = SourceDARES
	seen := map[[2]Occupation]bool{}
	for {
		more, err := f.next()
		if !more {
			return err
		}
		rome, ok1 := f.occupation(ROME, "ROME")
		fap, ok2 := f.occupation(FAP2021, "FAP341")
		if !ok1 || !ok2 {
			continue
		}
		f.label(rome, f.cell("Intitule_ROME"))
		if len(fap.Code) > 5 {
			fap.Code = fap.Code[:5]
		} else {
			f.label(fap, f.cell("Intitule_FAP341"))
		}
		f.link(Link{From: rome, To: fap}, seen)
	}
}
