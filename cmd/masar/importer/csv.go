package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// Limits of a CSV record. A quote that is never closed would otherwise swallow
// the rest of the file.
const (
	maxRecord      = 1 << 20 // bytes
	maxRecordLines = 100
)

// csvTable reads records of comma, semicolon or tab separated text in UTF-8
// (with or without mark), UTF-16 (with mark), Windows-1252 or Windows-1256.
//
// Unlike encoding/csv it survives a broken record: a quote that is not closed
// costs its own line, not the file.
type csvTable struct {
	in     *bufio.Reader
	back   []csvLine // lines given back after a broken record
	line   int       // number of the next line of in
	comma  byte
	failed error

	foreign map[string]bool // character sets met beside UTF-8
}

const unclosed = "un guillemet est ouvert et n'est pas fermé | علامة تنصيص مفتوحة ولم تُغلق"

type csvLine struct {
	number int
	text   string
}

func openCSV(r io.Reader) (*csvTable, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, _ := in.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		// What Excel saves as "Unicode text".
		in = bufio.NewReaderSize(unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(in), 64<<10)
	case bytes.HasPrefix(head, []byte("PK\x03")):
		return nil, errors.New("le fichier est un classeur Excel et non un CSV : nommez-le .xlsx | الملف مصنف Excel وليس CSV: سمّوه .xlsx")
	}
	t := &csvTable{in: in, line: 1, foreign: map[string]bool{}}
	ahead, _ := in.Peek(in.Size())
	t.comma = separator(ahead)
	return t, nil
}

// separator is the one of comma, semicolon and tab that cuts the beginning
// of the file into the most fields, counted outside quotes.
func separator(ahead []byte) byte {
	count := map[byte]int{}
	quoted := false
	for _, c := range ahead {
		switch c {
		case '"':
			quoted = !quoted
		case ',', ';', '\t':
			if !quoted {
				count[c]++
			}
		}
	}
	best := byte(',')
	for _, c := range []byte{';', '\t'} {
		if count[c] > count[best] {
			best = c
		}
	}
	return best
}

// next reads one record and the number of its first line. A record that cannot
// be read yields a problem instead of cells; io.EOF ends.
func (t *csvTable) next() (int, []string, *Problem, error) {
	for {
		line, err := t.read()
		if err != nil {
			return 0, nil, nil, err
		}
		cells, problem, err := t.record(line)
		if err == nil && problem == nil && blank(cells) {
			continue
		}
		return line.number, cells, problem, err
	}
}

// record cuts the record that begins with the line into its fields, reading
// more lines where a quoted field goes on.
func (t *csvTable) record(first csvLine) ([]string, *Problem, error) {
	var (
		cells []string
		field strings.Builder
		more  []csvLine
		size  = len(first.text)
		rest  = first.text
	)
	broken := func(reason string) ([]string, *Problem, error) {
		t.back = append(more, t.back...)
		return nil, &Problem{Line: first.number, Code: "quote", Value: clip(first.text), Reason: reason}, nil
	}
	for {
		if !strings.HasPrefix(rest, `"`) {
			end := strings.IndexByte(rest, t.comma)
			if end < 0 {
				return append(cells, rest), nil, nil
			}
			cells, rest = append(cells, rest[:end]), rest[end+1:]
			continue
		}
		rest = rest[1:]
		field.Reset()
		for closed := false; !closed; {
			quote := strings.IndexByte(rest, '"')
			switch {
			case quote < 0:
				if size > maxRecord || len(more) >= maxRecordLines {
					return broken(unclosed)
				}
				line, err := t.read()
				if errors.Is(err, io.EOF) {
					return broken(unclosed)
				}
				if err != nil {
					return nil, nil, err
				}
				more = append(more, line)
				size += len(line.text)
				field.WriteString(rest)
				field.WriteByte('\n')
				rest = line.text
			case strings.HasPrefix(rest[quote+1:], `"`):
				field.WriteString(rest[:quote+1])
				rest = rest[quote+2:]
			default:
				field.WriteString(rest[:quote])
				rest = rest[quote+1:]
				closed = true
			}
		}
		cells = append(cells, field.String())
		switch after := strings.TrimLeft(rest, " "); {
		case after == "":
			return cells, nil, nil
		case after[0] == t.comma:
			rest = after[1:]
		default:
			return broken("du texte suit le guillemet qui ferme un champ | يوجد نص بعد علامة التنصيص التي تغلق خانة")
		}
	}
}

// read gives one line without its end.
func (t *csvTable) read() (csvLine, error) {
	if len(t.back) > 0 {
		line := t.back[0]
		t.back = t.back[1:]
		return line, nil
	}
	if t.failed != nil {
		return csvLine{}, t.failed
	}
	var raw []byte
	for {
		part, err := t.in.ReadSlice('\n')
		raw = append(raw, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(raw) > maxRecord {
				t.failed = fmt.Errorf("la ligne %[1]d dépasse %[2]d octets : ce n'est pas une liste | السطر %[1]d يتجاوز %[2]d بايت: ليست هذه قائمة", t.line, maxRecord)
				return csvLine{}, t.failed
			}
			continue
		}
		if err != nil {
			t.failed = err
			if !errors.Is(err, io.EOF) || len(raw) == 0 {
				return csvLine{}, err
			}
		}
		break
	}
	line := csvLine{number: t.line, text: t.decode(bytes.TrimRight(raw, "\r\n"))}
	t.line++
	return line, nil
}

// decode turns a line into UTF-8. A line that is not UTF-8 is Windows-1252, as
// Excel saves "CSV" in France; when three letters of the upper half follow each
// other it is Windows-1256, the Arabic one, which has the French letters at the
// same places.
func (t *csvTable) decode(line []byte) string {
	if utf8.Valid(line) {
		return string(line)
	}
	set, name := charmap.Windows1252, "Windows-1252"
	run := 0
	for _, c := range line {
		if run++; c < 0xc0 {
			run = 0
		}
		if run == 3 {
			set, name = charmap.Windows1256, "Windows-1256"
			break
		}
	}
	t.foreign[name] = true
	text, err := set.NewDecoder().Bytes(line)
	if err != nil {
		return strings.ToValidUTF8(string(line), "\ufffd")
	}
	return string(text)
}

// notices tells what was assumed about the file so far.
func (t *csvTable) notices() []string {
	var told []string
	for _, name := range []string{"Windows-1252", "Windows-1256"} {
		if t.foreign[name] {
			told = append(told, fmt.Sprintf("des lignes ne sont pas en UTF-8 et ont été lues comme %[1]s | أسطر ليست في صيغة UTF-8 وقُرئت على أنها %[1]s", name))
		}
	}
	return told
}

func (t *csvTable) serial(string) (string, bool) { return "", false }

func (t *csvTable) close() error { return nil }
