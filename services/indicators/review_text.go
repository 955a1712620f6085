package indicators

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The canonical text of a review. Its SHA-256 is what people write into the
// minutes: whoever has the export can make the text again and compare, with any
// language's standard library.
//
// Lines end with LF, fields are separated by TAB. A number is decimal, without
// exponent, in the shortest form that reads back as the same IEEE 754 double; a
// time and a truth value are as in the JSON export; what is absent there is an
// empty field. Lists are joined by commas; codes hold none.
//
// Of each indicator, its figures in the order of the export:
//
//	masar-review-figures<TAB>1
//	definition<TAB>CODE<TAB>VERSION<TAB>SHA-256 of definition_json
//	cell<TAB>BY<TAB>CODES<TAB>VALUE<TAB>NUMERATOR<TAB>DENOMINATOR<TAB>P90<TAB>COUNT<TAB>PEOPLE
//	hidden<TAB>BY<TAB>CODES<TAB>COMMITMENT
//
// A hidden cell is in the text as a commitment only: the SHA-256 of its salt, a
// TAB and its "cell" line without the LF. Few people are in a hidden cell, so a
// bare hash of it could be guessed; the salt (16 random bytes, in hexadecimal)
// keeps it from that, and is given to whoever may see the cell.
//
// Of the review itself:
//
//	masar-review<TAB>1
//	id<TAB>ID
//	nonce<TAB>NONCE
//	period<TAB>GRAIN<TAB>LABEL
//	number<TAB>NUMBER
//	early<TAB>EARLY
//	title<TAB>SHA-256 of the title
//	note<TAB>SHA-256 of the note
//	by<TAB>SUBJECT<TAB>ROLE
//	frozen_at<TAB>TIME
//	as_of<TAB>TIME
//	known_to<TAB>TIME
//	small_cell<TAB>SMALL_CELL
//	facts<TAB>FACTS
//	source<TAB>TOPIC<TAB>FACTS<TAB>LAST_RECORDED_AT<TAB>LAST_OCCURRED_AT<TAB>LAG_MESSAGES<TAB>LAG_SECONDS    (each source)
//	indicator<TAB>CODE<TAB>VERSION<TAB>CELLS<TAB>HIDDEN<TAB>SHA-256 of its text                              (each indicator)
//
// The nonce is random. It keeps a reader who sees a part of the figures only, and
// is not given it, from guessing the others with the help of the hash.
const reviewFormat = 1

// sha is the SHA-256 of a text in hexadecimal.
func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// salt is 16 random bytes in hexadecimal.
func salt() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// cellLine is the cell's line of the canonical text, without the end of line.
func (c FrozenCell) cellLine() string {
	return strings.Join([]string{
		"cell", strings.Join(c.By, ","), strings.Join(c.Codes, ","),
		number(c.Value), number(c.Numerator), number(c.Denominator), number(c.P90), whole(c.Count), whole(c.People),
	}, "\t")
}

// commit is what stands for a hidden cell.
func (c FrozenCell) commit() string { return sha(c.Salt + "\t" + c.cellLine()) }

// storedLine is the cell as it is kept: a hidden one with its salt and content.
func (c FrozenCell) storedLine() string {
	if c.Hidden {
		return "hidden\t" + c.Salt + "\t" + c.cellLine()
	}
	return c.cellLine()
}

// readStored reads a kept line back.
func readStored(line string) (FrozenCell, error) {
	var c FrozenCell
	fields := strings.Split(line, "\t")
	if fields[0] == "hidden" && len(fields) > 2 {
		c.Hidden, c.Salt = true, fields[1]
		fields = fields[2:]
	}
	if len(fields) != 9 || fields[0] != "cell" {
		return c, fmt.Errorf("a line of %d fields that is no figure", len(fields))
	}
	c.By, c.Codes = splitList(fields[1]), splitList(fields[2])
	if len(c.By) != len(c.Codes) {
		return c, fmt.Errorf("%d codes for %d dimensions", len(c.Codes), len(c.By))
	}
	for i, to := range []**float64{&c.Value, &c.Numerator, &c.Denominator, &c.P90} {
		if text := fields[3+i]; text != "" {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return c, err
			}
			*to = &v
		}
	}
	for i, to := range []**int{&c.Count, &c.People} {
		if text := fields[7+i]; text != "" {
			v, err := strconv.Atoi(text)
			if err != nil {
				return c, err
			}
			*to = &v
		}
	}
	if c.Hidden {
		c.Commitment = c.commit()
	}
	return c, nil
}

func splitList(text string) []string {
	if text == "" {
		return []string{}
	}
	return strings.Split(text, ",")
}

func whole(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// figuresHash is the SHA-256 of an indicator's canonical text.
func figuresHash(code string, version int, definitionHash string, cells []FrozenCell) string {
	var b strings.Builder
	fmt.Fprintf(&b, "masar-review-figures\t%d\ndefinition\t%s\t%d\t%s\n", reviewFormat, code, version, definitionHash)
	for _, c := range cells {
		if c.Hidden {
			fmt.Fprintf(&b, "hidden\t%s\t%s\t%s\n", strings.Join(c.By, ","), strings.Join(c.Codes, ","), c.Commitment)
		} else {
			b.WriteString(c.cellLine() + "\n")
		}
	}
	return sha(b.String())
}

// text is the canonical text of the review itself.
func (r *Review) text() string {
	var b strings.Builder
	line := func(fields ...any) {
		for i, f := range fields {
			if i > 0 {
				b.WriteByte('\t')
			}
			fmt.Fprint(&b, f)
		}
		b.WriteByte('\n')
	}
	line("masar-review", reviewFormat)
	line("id", r.ID)
	line("nonce", r.Nonce)
	line("period", r.Grain, r.Period)
	line("number", r.Number)
	line("early", r.Early)
	line("title", sha(r.Title))
	line("note", sha(r.Note))
	line("by", r.Subject, r.Role)
	line("frozen_at", instant(r.FrozenAt))
	line("as_of", instant(r.AsOf))
	line("known_to", instant(r.KnownTo))
	line("small_cell", r.SmallCell)
	line("facts", r.Facts)
	for _, s := range r.Sources {
		messages := ""
		if s.LagMessages != nil {
			messages = strconv.FormatInt(*s.LagMessages, 10)
		}
		line("source", s.Topic, s.Facts, instant(s.LastRecorded), instant(s.LastOccurred), messages, number(s.LagSeconds))
	}
	for _, i := range r.Indicators {
		line("indicator", i.Code, i.Version, i.Cells, i.Hidden, i.Hash)
	}
	return b.String()
}
