package reference

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Fold reduces a French, English or Arabic text to what matters when two
// spellings of one name are compared: compatibility forms, case, accents and
// Arabic vowel marks, hamza seats, ة and ه, ى and ي, tatweel and Eastern digits
// are made one; everything that is neither letter nor digit becomes one space.
func Fold(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFKD.String(text) {
		switch {
		case unicode.Is(unicode.Mn, r) || r == 'ـ' || unicode.Is(unicode.Cf, r):
			continue
		case r == 'ة':
			r = 'ه'
		case r == 'ى' || r == 'ی':
			r = 'ي'
		case r == 'ٱ' || r == 'ء':
			r = 'ا'
		case r >= '٠' && r <= '٩':
			r = '0' + r - '٠'
		case r >= '۰' && r <= '۹':
			r = '0' + r - '۰'
		case r == 'œ' || r == 'Œ':
			b.WriteByte('o')
			r = 'e'
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
