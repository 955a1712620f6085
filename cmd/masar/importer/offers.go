package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"
)

// MaxOffer is the largest offer that is read, in bytes. A real one has about 5 kB.
const MaxOffer = 4 << 20

// Row is one offer of a file, as it stands there.
type Row struct {
	Line   int   // of its first character, from 1
	Index  int   // place among the file's rows, from 0; refused rows count
	Offset int64 // of its first byte in the file
	Raw    json.RawMessage
}

// RowError says why a row cannot be used. Reading goes on with the next row;
// any other error of Offers ends it.
type RowError struct {
	Row    Row    // without Raw
	Reason string // "French | Arabic"
}

func (e *RowError) Error() string {
	return fmt.Sprintf("ligne %d (offre %d) : %s", e.Row.Line, e.Row.Index, e.Reason)
}

// Offers reads job offers in the form of France Travail's "Offres d'emploi v2":
// JSON Lines, one JSON array, or a whole answer of the API with its rows under
// "resultats". The form is found by itself. Memory is bounded by MaxOffer,
// whatever the size of the file.
//
// A row that is not a JSON object yields a *RowError and does not stop the
// rest. An array or an answer whose structure itself breaks off ends with an
// error that says where, after the rows before it.
func Offers(r io.Reader) iter.Seq2[Row, error] { return offers(r, MaxOffer) }

// offers is Offers with another limit.
func offers(r io.Reader, most int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		s := &offerScanner{
			in:    bufio.NewReaderSize(r, most+2),
			most:  most,
			line:  1,
			yield: yield,
		}
		if err := s.run(); err != nil && !errors.Is(err, errStopped) {
			yield(Row{}, err)
		}
	}
}

// errStopped ends the scan because the caller wants no more.
var errStopped = errors.New("stopped")

// offerScanner walks over the file byte by byte and knows where it is.
type offerScanner struct {
	in     *bufio.Reader
	most   int // bytes of a row
	line   int
	offset int64
	index  int
	yield  func(Row, error) bool

	keep bool         // bytes read are also put in row
	row  bytes.Buffer // up to most bytes
	over bool         // row was too long; the rest of it is not kept
}

func (s *offerScanner) run() error {
	if err := s.mark(); err != nil {
		return err
	}
	first, err := s.space()
	switch {
	case errors.Is(err, io.EOF):
		return nil // an empty file has no offers
	case err != nil:
		return err
	case first == '[':
		_, _ = s.next()
		return s.array("[…]")
	case first == '{' && !s.byLine():
		return s.documents()
	default:
		return s.lines()
	}
}

// mark passes over a byte order mark and refuses UTF-16.
func (s *offerScanner) mark() error {
	head, _ := s.in.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = s.in.Discard(3)
		s.offset = 3
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("le fichier est en UTF-16 : enregistrez-le en UTF-8 | الملف في صيغة UTF-16: سجّلوه في صيغة UTF-8")
	}
	return nil
}

// byLine decides between JSON Lines and one document over the file's first
// object: a line that is whole is JSON Lines, unless it is a whole API answer;
// so is a broken line that another object follows.
func (s *offerScanner) byLine() bool {
	ahead, _ := s.in.Peek(s.in.Size())
	line, rest, found := bytes.Cut(ahead, []byte{'\n'})
	if !found && len(ahead) == s.in.Size() {
		return false // longer than any offer: an answer on one line
	}
	line = bytes.TrimSpace(line)
	if json.Valid(line) {
		return !isAnswer(line)
	}
	switch line[len(line)-1] {
	case '{', '[':
		return false // pretty-printed
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == '{'
}

// isAnswer says whether the object is a whole answer of the API.
func isAnswer(object []byte) bool {
	var answer struct {
		Results json.RawMessage `json:"resultats"`
	}
	return json.Unmarshal(object, &answer) == nil && len(answer.Results) > 0 && answer.Results[0] == '['
}

// lines reads JSON Lines: the line is the row, so that a broken one costs
// itself only.
func (s *offerScanner) lines() error {
	for {
		if _, err := s.space(); err != nil {
			return end(err)
		}
		at := s.here()
		s.start()
		if _, err := s.until("\n"); end(err) != nil {
			return err
		}
		if err := s.finish(at); err != nil {
			return err
		}
	}
}

// array reads the elements of an array whose '[' has been passed.
func (s *offerScanner) array(what string) error {
	c, err := s.space()
	if err == nil && c == ']' {
		_, _ = s.next()
		return nil
	}
	for {
		if err != nil {
			return s.broken(err, "%[1]s n'est pas fermé | %[1]s غير مغلق", what)
		}
		at := s.here()
		s.start()
		if err := s.value(); err != nil {
			return s.broken(err, "l'offre qui commence à la ligne %[1]d n'est pas fermée | العرض الذي يبدأ في السطر %[1]d غير مغلق", at.Line)
		}
		if err := s.finish(at); err != nil {
			return err
		}
		if c, err = s.space(); err != nil {
			return s.broken(err, "%[1]s n'est pas fermé | %[1]s غير مغلق", what)
		}
		_, _ = s.next()
		switch c {
		case ']':
			return nil
		case ',':
			_, err = s.space()
		default:
			return s.broken(nil, "après une offre de %[1]s vient %[2]q au lieu d'une virgule ou de ] | بعد عرض من %[1]s يأتي %[2]q عوض فاصلة أو ]", what, c)
		}
	}
}

// documents reads objects that may spread over lines: an API answer, or single
// offers one after the other.
func (s *offerScanner) documents() error {
	for {
		c, err := s.space()
		if err != nil {
			return end(err)
		}
		if c != '{' {
			return s.broken(nil, "%[1]q là où un objet devrait commencer | %[1]q حيث ينبغي أن يبدأ عنصر", c)
		}
		at := s.here()
		s.start()
		answer, err := s.object()
		if err != nil {
			return err
		}
		if answer {
			s.drop()
			continue
		}
		if err := s.finish(at); err != nil {
			return err
		}
	}
}

// object passes over an object, reading the rows under "resultats" on the way;
// it says whether there were any such.
func (s *offerScanner) object() (answer bool, err error) {
	_, _ = s.next()
	for {
		c, err := s.space()
		if err != nil {
			return answer, s.broken(err, "un objet n'est pas fermé | عنصر غير مغلق")
		}
		switch c {
		case '}':
			_, _ = s.next()
			return answer, nil
		case ',':
			_, _ = s.next()
			continue
		case '"':
		default:
			return answer, s.broken(nil, "%[1]q là où un nom devrait commencer | %[1]q حيث ينبغي أن يبدأ اسم", c)
		}
		name, err := s.name()
		if err != nil {
			return answer, s.broken(err, "un nom n'est pas fermé | اسم غير مغلق")
		}
		if c, err = s.space(); err != nil || c != ':' {
			return answer, s.broken(err, "après le nom %[1]q ne viennent pas deux-points | لا تأتي نقطتان بعد الاسم %[1]q", clip(name))
		}
		_, _ = s.next()
		if c, err = s.space(); err != nil {
			return answer, s.broken(err, "%[1]q n'a pas de valeur | ليست لـ%[1]q قيمة", clip(name))
		}
		if name == "resultats" && c == '[' {
			answer = true
			s.drop()
			_, _ = s.next()
			err = s.array(`"resultats"`)
		} else if err = s.value(); err != nil {
			err = s.broken(err, "la valeur de %[1]q n'est pas fermée | قيمة %[1]q غير مغلقة", clip(name))
		}
		if err != nil {
			return answer, err
		}
	}
}

// name reads a string of moderate length.
func (s *offerScanner) name() (string, error) {
	ahead, _ := s.in.Peek(256)
	if err := s.text(); err != nil {
		return "", err
	}
	if len(ahead) > 1 {
		if i := bytes.IndexByte(ahead[1:], '"'); i >= 0 {
			return string(ahead[1 : i+1]), nil
		}
	}
	return "", nil
}

// value passes over one JSON value by its brackets and quotes. Whether it is
// good JSON is checked when the row is finished.
func (s *offerScanner) value() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '"':
		return s.text()
	case '{', '[':
	default: // a number or a word
		_, err := s.until(",]} \t\r\n")
		return end(err)
	}
	for depth := 0; ; {
		if c, err = s.until(`"{}[]`); err != nil {
			return err
		}
		switch c {
		case '"':
			if err := s.text(); err != nil {
				return err
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		_, _ = s.next()
		if depth == 0 {
			return nil
		}
	}
}

// text passes over a string.
func (s *offerScanner) text() error {
	_, _ = s.next()
	for {
		c, err := s.until(`"\`)
		if err != nil {
			return err
		}
		_, _ = s.next()
		if c == '"' {
			return nil
		}
		if _, err := s.next(); err != nil {
			return err
		}
	}
}

// start begins to keep what is read, as a row; drop stops.
func (s *offerScanner) start() { s.row.Reset(); s.keep, s.over = true, false }
func (s *offerScanner) drop()  { s.row.Reset(); s.keep, s.over = false, false }

// here is the position of the next byte, as the place of a row.
func (s *offerScanner) here() Row { return Row{Line: s.line, Index: s.index, Offset: s.offset} }

// finish hands the kept row over, or why it cannot be used.
func (s *offerScanner) finish(at Row) error {
	raw, reason := bytes.TrimSpace(s.row.Bytes()), ""
	var wrong *json.SyntaxError
	switch {
	case s.over:
		reason = fmt.Sprintf("l'offre dépasse %[1]d octets | يتجاوز العرض %[1]d بايت", s.most)
	case !utf8.Valid(raw):
		reason = "le texte n'est pas en UTF-8 | النص ليس في صيغة UTF-8"
	default:
		err := json.Unmarshal(raw, new(json.RawMessage))
		switch {
		case errors.As(err, &wrong) && wrong.Offset >= int64(len(raw)) && strings.Contains(wrong.Error(), "unexpected end"):
			reason = "ce n'est pas du JSON : l'offre s'arrête trop tôt | ليس JSON: العرض ينتهي قبل تمامه"
		case errors.As(err, &wrong):
			reason = fmt.Sprintf("ce n'est pas du JSON au caractère %[1]d | ليس JSON عند الحرف %[1]d", place(raw, wrong.Offset))
		case err != nil:
			reason = "ce n'est pas du JSON | ليس JSON"
		case raw[0] != '{':
			reason = "ce n'est pas un objet JSON | ليس عنصر JSON"
		}
	}
	s.index++
	if reason != "" {
		s.drop()
		if !s.yield(at, &RowError{Row: at, Reason: reason}) {
			return errStopped
		}
		return nil
	}
	at.Raw = bytes.Clone(raw)
	s.drop()
	if !s.yield(at, nil) {
		return errStopped
	}
	return nil
}

// place turns an offset after the wrong byte into a count of characters from 1.
func place(raw []byte, offset int64) int {
	end := min(max(int(offset)-1, 0), len(raw))
	return utf8.RuneCount(raw[:end]) + 1
}

// broken is the error of a structure that cannot be read on from here.
func (s *offerScanner) broken(err error, format string, args ...any) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err // already said, or the reader failed
	}
	fr, ar, _ := strings.Cut(format, " | ")
	fr, ar = fmt.Sprintf(fr, args...), fmt.Sprintf(ar, args...)
	if err != nil {
		fr, ar = "le fichier s'arrête trop tôt : "+fr, "الملف ينتهي قبل تمامه: "+ar
	}
	return fmt.Errorf("ligne %[1]d, ce n'est pas du JSON : %[2]s | السطر %[1]d، ليس JSON: %[3]s", s.line, fr, ar)
}

// end turns the end of the file, where it may be, into no error.
func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// space passes over white space and shows the byte after it.
func (s *offerScanner) space() (byte, error) {
	for {
		c, err := s.peek()
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			_, _ = s.next()
		default:
			return c, nil
		}
	}
}

// peek shows the next byte.
func (s *offerScanner) peek() (byte, error) {
	ahead, err := s.in.Peek(1)
	if err != nil {
		return 0, err
	}
	return ahead[0], nil
}

// next reads one byte.
func (s *offerScanner) next() (byte, error) {
	ahead, err := s.in.Peek(1)
	if err != nil {
		return 0, err
	}
	c := ahead[0]
	s.take(ahead)
	return c, nil
}

// until passes over everything before the next byte of the set and shows it.
func (s *offerScanner) until(set string) (byte, error) {
	for {
		if _, err := s.in.Peek(1); err != nil {
			return 0, err
		}
		ahead, _ := s.in.Peek(s.in.Buffered())
		if i := bytes.IndexAny(ahead, set); i >= 0 {
			c := ahead[i]
			s.take(ahead[:i])
			return c, nil
		}
		s.take(ahead)
	}
}

// take passes over bytes that were shown.
func (s *offerScanner) take(ahead []byte) {
	s.offset += int64(len(ahead))
	s.line += bytes.Count(ahead, []byte{'\n'})
	if s.keep {
		room := min(s.most-s.row.Len(), len(ahead))
		s.row.Write(ahead[:room])
		s.over = s.over || room < len(ahead)
	}
	_, _ = s.in.Discard(len(ahead))
}

// clip keeps a quoted name short.
func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
