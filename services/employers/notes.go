package employers

import (
	"strings"
	"unicode/utf8"
)

// Note is something in a row that could not be taken as it stands. It goes with
// the row's answer, and is kept with the offer.
type Note struct {
	Path   string `bson:"path" json:"path"`
	Code   string `bson:"code" json:"code"`
	Reason string `bson:"reason" json:"reason"`
	Value  string `bson:"value,omitempty" json:"value,omitempty"` // as it stood there, shortened
}

// maxNotes are kept of one offer.
const maxNotes = 50

// notes collects what is to be said about one row.
type notes struct{ list []Note }

func (n *notes) add(path, code, value, reason string) {
	if len(n.list) < maxNotes {
		n.list = append(n.list, Note{Path: path, Code: code, Reason: reason, Value: short(value, 80)})
	}
}

// short cuts a text to a number of characters.
func short(s string, runes int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	at := 0
	for i := range s {
		if at == runes-1 {
			return s[:i] + "…"
		}
		at++
	}
	return s
}
