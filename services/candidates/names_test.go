package candidates

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"  Hédi   BEN-Ali ":         "hedi ben ali",
		"M'hamed":                   "mhamed",
		"M’Hamed":                   "mhamed",
		"Çelik Œuvré":               "celik oeuvre",
		"e\u0301lodie":              "elodie",
		"أحمد":                      "احمد",
		"إبراهيم":                   "ابراهيم",
		"آمنة":                      "امنه",
		"هدى":                       "هدي",
		"مُحَمَّد":                  "محمد",
		"محـــمد":                   "محمد",
		"عبد\u200fالله":             "عبدالله",
		"ڨفصة":                      "قفصه",
		"\u202bفاطمة الزهراء\u202c": "فاطمه الزهراء",
		"":                          "",
		" - ' ":                     "",
	} {
		if got := normalise(in); got != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNameKeysFindAnyRunOfWords(t *testing.T) {
	c := &Candidate{FamilyName: "Ben Ali", GivenName: "Mohamed Hédi", FamilyNameAR: "بن علي", GivenNameAR: "محمد الهادي"}
	keys := nameKeys(c)
	for _, search := range []string{
		"ben ali", "Ali", "mohamed hedi ben ali", "Mohamed", "HÉDI ben", "ben ali moh", "ali mohamed", "hedi ali",
		"بن علي", "علي محمد", "محمّد الهادي", "الهادي بن ع",
	} {
		q := normalise(search)
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, q) }) {
			t.Errorf("%q does not find %v", search, keys)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys are not sorted: %v", keys)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"Hédi", "مُحَمَّد", "M'h-a  m", "\xff\xfe", "ﻻ", "İstanbul"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		once := normalise(s)
		if strings.HasPrefix(once, " ") || strings.HasSuffix(once, " ") || strings.Contains(once, "  ") {
			t.Fatalf("normalise(%q) = %q keeps loose spaces", s, once)
		}
		if again := normalise(once); again != once {
			t.Fatalf("normalise(%q) = %q, and again %q", s, once, again)
		}
	})
}
