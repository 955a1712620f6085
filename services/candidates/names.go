package candidates

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxNameKeys bounds the index entries of one person. Real names have two to
// six words in each script.
const maxNameKeys = 24

// particles are words of names that people leave out when they search: "Ali
// Mohamed" must find "Mohamed Ben Ali".
var particles = map[string]bool{
	"ben": true, "bin": true, "ibn": true, "bent": true, "bint": true, "el": true, "al": true,
	"بن": true, "ابن": true, "بنت": true, "ال": true,
}

// letters are folded one by one after decomposition: Arabic letters that are
// written for one another, letters of neighbours' keyboards, and Latin letters
// that have no decomposition.
var letters = strings.NewReplacer(
	"ٱ", "ا", "ة", "ه", "ى", "ي", "ی", "ي", "ک", "ك", "ڨ", "ق", "ڤ", "ف", "پ", "ب", "چ", "ج",
	"œ", "oe", "æ", "ae", "ß", "ss", "ø", "o", "ł", "l", "đ", "d", "ı", "i",
)

// normalise gives the form under which names are compared: accents, Arabic
// vowel signs and tatweel removed, case folded, letter variants of Arabic made
// one (أ إ آ are ا, ة is ه, ى is ي), apostrophes removed, every other sign a
// single space.
func normalise(name string) string {
	var b strings.Builder
	space := false
	for _, r := range letters.Replace(strings.ToLower(norm.NFKD.String(name))) {
		switch {
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r), r == 'ـ':
			// Accents, vowel signs, direction marks, tatweel: not part of the name.
		case isApostrophe(r):
			// M'hamed and Mhamed are one.
		case unicode.IsLetter(r), unicode.IsDigit(r):
			if space && b.Len() > 0 {
				b.WriteByte(' ')
			}
			space = false
			b.WriteRune(r)
		default:
			space = true
		}
	}
	return b.String()
}

func isApostrophe(r rune) bool {
	return r == '\'' || r == '’' || r == '‘' || r == 'ʼ' || r == '`' || r == '´'
}

// nameKeys gives the strings under which a person is found by name: for each
// script, every rotation of the words of the full name, with and without
// particles. A search is a prefix of one of them, so any run of words in the
// order "family given" or "given family" finds the person, the last word being
// perhaps only begun. Sorted, each once.
func nameKeys(c *Candidate) []string {
	var keys []string
	for _, full := range []string{c.FamilyName + " " + c.GivenName, c.FamilyNameAR + " " + c.GivenNameAR} {
		words := strings.Fields(normalise(full))
		keys = append(keys, rotations(words)...)
		short := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return particles[w] })
		if len(short) < len(words) {
			keys = append(keys, rotations(short)...)
		}
	}
	if len(keys) > maxNameKeys {
		keys = keys[:maxNameKeys]
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func rotations(words []string) []string {
	out := make([]string, 0, len(words))
	for i := range words {
		out = append(out, strings.Join(append(slices.Clone(words[i:]), words[:i]...), " "))
	}
	return out
}

// isArabic says whether a text is written in Arabic letters only.
func isArabic(s string) bool {
	seen := false
	for _, r := range s {
		if !unicode.IsLetter(r) {
			continue
		}
		if !unicode.Is(unicode.Arabic, r) {
			return false
		}
		seen = true
	}
	return seen
}
