package reference

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// cefrLevels are the levels of the Common European Framework of Reference for
// Languages (Council of Europe), lowest first.
var cefrLevels = []string{"A1", "A2", "B1", "B2", "C1", "C2"}

// CEFRLevels returns the six levels, lowest first.
func CEFRLevels() []string { return slices.Clone(cefrLevels) }

// CEFR returns the rank of a level, 1 for A1 to 6 for C2; case and spaces
// around do not matter.
func CEFR(level string) (rank int, ok bool) {
	i := slices.Index(cefrLevels, strings.ToUpper(strings.TrimSpace(level)))
	return i + 1, i >= 0
}

// Diploma is a kind of diploma and its place in the French national framework.
type Diploma struct {
	Code    string // "cap", "bac" ...
	Level   int    // 2 to 8, 0 for none
	LabelFR string
	LabelAR string
	// Status is "indicatif" where the level orders candidates but is no
	// equivalence; every foreign diploma is.
	Status string
}

type diplomaTable struct {
	all   []Diploma
	names map[string]Diploma
}

var diplomas = sync.OnceValue(func() diplomaTable {
	t := diplomaTable{names: map[string]Diploma{}}
	for _, r := range table("diplomas", "code", "level", "label_fr", "label_ar", "status", "aliases") {
		level, err := strconv.Atoi(r["level"])
		if err != nil {
			panic("reference: embedded list diplomas: " + err.Error())
		}
		d := Diploma{r["code"], level, r["label_fr"], r["label_ar"], r["status"]}
		t.all = append(t.all, d)
		for _, name := range append(strings.Split(r["aliases"], "|"), d.Code, d.LabelFR, d.LabelAR) {
			if key := Fold(name); key != "" {
				t.names[key] = d
			}
		}
	}
	return t
})

// Diplomas returns the known diplomas, lowest level first.
func Diplomas() []Diploma { return slices.Clone(diplomas().all) }

// FindDiploma reads a diploma by its code, its label or a usual way to write it
// ("CAP, BEP et équivalents", "Bac+2 ou équivalents"), or by its French level
// as a number ("4", "niveau 4").
func FindDiploma(text string) (Diploma, bool) {
	key := Fold(text)
	if d, ok := diplomas().names[key]; ok {
		return d, true
	}
	if level, err := strconv.Atoi(strings.TrimPrefix(key, "niveau ")); err == nil {
		// Of two diplomas on one level, the first in the list stands for it.
		for _, d := range diplomas().all {
			if d.Level == level && level > 0 {
				return d, true
			}
		}
	}
	return Diploma{}, false
}

// DiplomaLevel returns the level (2 to 8, 0 for no diploma) of what FindDiploma reads.
func DiplomaLevel(text string) (level int, ok bool) {
	d, ok := FindDiploma(text)
	return d.Level, ok
}

type licence struct{ needs, valid []string }

var licences = sync.OnceValue(func() map[string]licence {
	list := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '|' })
	}
	all := map[string]licence{}
	for _, r := range table("licences", "code", "needs", "valid") {
		all[r["code"]] = licence{list(r["needs"]), list(r["valid"])}
	}
	return all
})

// Licence reads a driving licence category as files write it ("b", "CE - Poids
// lourd + remorque (= EC)", "EC") and returns the category of Directive
// 2006/126/EC. What stands in "(= ...)" is the older French name: "B mention
// 79.06 (= EB)" is BE.
func Licence(text string) (category string, ok bool) {
	if _, old, found := strings.Cut(text, "(="); found {
		old, _, _ = strings.Cut(old, ")")
		if c, ok := licenceCode(old); ok {
			return c, true
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return licenceCode(first)
}

func licenceCode(text string) (string, bool) {
	code := strings.ToUpper(strings.TrimSpace(text))
	switch code {
	case "EB", "EC", "ED":
		code = code[1:] + code[:1]
	}
	_, ok := licences()[code]
	return code, ok
}

// LicenceCovers reports whether the holder of one category may drive what
// another is asked for: the same, one it is valid for (Directive 2006/126/EC,
// art. 6(2)), or one without which it is not given (art. 6(1)): CE covers C,
// because it is issued to holders of C only, and so B.
func LicenceCovers(have, need string) bool { return LicencesCover([]string{have}, need) }

// LicencesCover is LicenceCovers for a person with several categories. It also
// knows art. 6(2)(b): CE is valid for DE when its holder may drive D.
func LicencesCover(have []string, need string) bool {
	need, ok := licenceCode(need)
	if !ok {
		return false
	}
	held := map[string]bool{}
	var take func(code string)
	take = func(code string) {
		if held[code] {
			return
		}
		held[code] = true
		for _, other := range licences()[code].needs {
			take(other)
		}
		for _, other := range licences()[code].valid {
			take(other)
		}
	}
	for _, h := range have {
		if code, ok := licenceCode(h); ok {
			take(code)
		}
	}
	if held["CE"] && held["D"] {
		take("DE")
	}
	return held[need]
}

// ExitCodes returns the reasons for which a pathway may end early.
func ExitCodes() []string {
	var codes []string
	for _, r := range table("exits", "code") {
		codes = append(codes, r["code"])
	}
	return codes
}
