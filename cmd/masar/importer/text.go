package importer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// tidy takes out of a cell what cannot be seen: spaces around it, non-breaking
// spaces, direction marks, joiners left by copying. Runs of spaces become one;
// letters are composed (NFC), so that é is always the same é.
func tidy(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\u200b', c == '\ufeff', c == '\u200e', c == '\u200f', c == '\u061c',
			c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069':
			return -1
		case unicode.IsSpace(c), unicode.IsControl(c):
			return ' '
		}
		return c
	}, s)
	return norm.NFC.String(strings.Join(strings.Fields(s), " "))
}

// fold brings a text to the form in which names of columns and codes are
// compared: no accents or vowel marks, lower case, only letters and digits with
// single spaces, Arabic letters that are written for one another made one.
func fold(s string) string {
	var b strings.Builder
	space := false
	for _, c := range norm.NFKD.String(digits(s)) {
		switch c {
		case 'œ', 'Œ':
			b.WriteString("oe")
			continue
		case 'ة':
			c = 'ه'
		case 'ى':
			c = 'ي'
		case 'ـ': // kashida, which only stretches
			continue
		}
		switch {
		case unicode.Is(unicode.Mn, c), unicode.Is(unicode.Cf, c):
		case unicode.IsLetter(c), unicode.IsDigit(c):
			if space && b.Len() > 0 {
				b.WriteByte(' ')
			}
			space = false
			b.WriteRune(unicode.ToLower(c))
		default:
			space = true
		}
	}
	return b.String()
}

// digits writes Arabic-Indic and Persian digits as 0 to 9.
func digits(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= '٠' && c <= '٩':
			return c - '٠' + '0'
		case c >= '۰' && c <= '۹':
			return c - '۰' + '0'
		}
		return c
	}, s)
}

// arabic says whether the text has Arabic letters.
func arabic(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return unicode.Is(unicode.Arabic, c) })
}

// numeric says whether the text is made of digits 0 to 9 only.
func numeric(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
