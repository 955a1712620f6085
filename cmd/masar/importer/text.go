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

// blank says whether there is nothing to see in any of the cells.
func blank(cells []string) bool {
	for _, c := range cells {
		if tidy(c) != "" {
			return false
		}
	}
	return true
}
