package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxDepth    = 64  // nesting of a JSON body
	maxReported = 100 // fields named in one problem
)

// Decode reads one JSON value into v, a pointer, more strictly than
// encoding/json: no unknown and no repeated member, names in their exact case,
// nothing after the value, valid UTF-8, bounded nesting. Null counts as absent.
//
// What cannot be parsed is Malformed, with line and column; what can be parsed but
// does not fit is Invalid, and every such place is named.
func Decode(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return Malformed("JSON expected, but there is nothing.")
	}
	if !utf8.Valid(data) {
		bad := 0
		for rest := data; ; {
			r, size := utf8.DecodeRune(rest)
			if r == utf8.RuneError && size <= 1 {
				break
			}
			bad, rest = bad+size, rest[size:]
		}
		return Malformed("Not valid UTF-8 at %s.", position(data, bad))
	}
	if !json.Valid(data) {
		return notJSON(data)
	}
	w := walker{data: data}
	if err := w.value(reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	if len(w.wrong) > 0 {
		return Invalid(w.wrong...)
	}
	if err := json.Unmarshal(data, v); err != nil { // the walker has seen all there is to see
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return Invalid(Field{Path: wrong.Field, Code: "type", Reason: "unexpected " + wrong.Value})
		}
		return Malformed("The JSON does not fit.").Because(err)
	}
	return nil
}

func notJSON(data []byte) error {
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, &whole); !errors.As(err, &syntax) {
		return Malformed("Not valid JSON.").Because(err)
	}
	return Malformed("Not valid JSON at %s: %s.", position(data, int(syntax.Offset)-1), syntax.Error())
}

// position says where a byte of a body is, in words; lines and columns from 1.
func position(data []byte, at int) string {
	at = min(max(at, 0), len(data))
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	column := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:at], '\n')+1:at])
	return fmt.Sprintf("line %d, column %d (byte %d)", line, column, at)
}

// walker goes through a JSON text beside the Go type that it is meant for, and
// notes every place where they differ. The text is known to be valid, which is why
// there is little looking back here.
type walker struct {
	data   []byte
	at     int // the next byte
	path   []step
	theirs int // how many names on the path are the caller's own, and no member of a type
	wrong  []Field
}

// step is a member's name, or an index.
type step struct {
	name  string
	index int // -1 for a name
}

func (w *walker) note(code, format string, args ...any) {
	if len(w.wrong) == maxReported {
		return
	}
	line := 1 + bytes.Count(w.data[:w.at], []byte("\n"))
	w.wrong = append(w.wrong, Field{
		Path: w.where(), Code: code,
		Reason: fmt.Sprintf(format, args...) + " (line " + strconv.Itoa(line) + ")",
		theirs: w.theirs > 0,
	})
}

// where writes the path: occupations[0].rome.
func (w *walker) where() string {
	var b strings.Builder
	for _, s := range w.path {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case b.Len() > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	return b.String()
}

var (
	rawType       = reflect.TypeFor[json.RawMessage]()
	timeType      = reflect.TypeFor[time.Time]()
	unmarshalJSON = reflect.TypeFor[json.Unmarshaler]()
	unmarshalText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value checks the next value against t; nil means that anything goes.
func (w *walker) value(t reflect.Type) error {
	if len(w.path) > maxDepth {
		return Malformed("JSON nested deeper than %d levels at %s.", maxDepth, position(w.data, w.at))
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && (t == rawType || t.Kind() == reflect.Interface) {
		t = nil
	}
	w.blanks()
	first := w.data[w.at]
	if first == 'n' { // null counts as absent
		w.at += len("null")
		return nil
	}
	if t != nil && (reflect.PointerTo(t).Implements(unmarshalJSON) || reflect.PointerTo(t).Implements(unmarshalText)) {
		w.custom(t)
		return nil
	}
	switch first {
	case '{':
		return w.object(t)
	case '[':
		return w.array(t)
	case '"':
		text := w.text()
		if t != nil && t.Kind() != reflect.String && !(t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8) {
			w.note("type", "%s expected, a string found", expected(t))
			return nil
		}
		w.readable(text)
	case 't', 'f':
		w.skip()
		if t != nil && t.Kind() != reflect.Bool {
			w.note("type", "%s expected, true or false found", expected(t))
		}
	default:
		from := w.at
		w.skip()
		if t != nil {
			w.number(t, string(w.data[from:w.at]))
		}
	}
	return nil
}

func (w *walker) blanks() {
	for w.data[w.at] == ' ' || w.data[w.at] == '\n' || w.data[w.at] == '\t' || w.data[w.at] == '\r' {
		w.at++
	}
}

// text reads a string; only one with escapes is copied.
func (w *walker) text() []byte {
	from := w.at
	w.skip()
	quoted := w.data[from:w.at]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var plain string
	_ = json.Unmarshal(quoted, &plain) // it is valid
	return []byte(plain)
}

// skip goes past a value.
func (w *walker) skip() {
	for depth := 0; ; {
		switch w.data[w.at] {
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		case '"':
			for w.at++; w.data[w.at] != '"'; w.at++ {
				if w.data[w.at] == '\\' {
					w.at++
				}
			}
			w.at++
		case ',', ':', ' ', '\n', '\t', '\r':
			w.at++
			continue // between values, inside something
		default: // a number or a word
			for w.at < len(w.data) && !bytes.ContainsRune([]byte(",:]} \n\t\r"), rune(w.data[w.at])) {
				w.at++
			}
		}
		if depth == 0 {
			return
		}
	}
}

// readable refuses what cannot have been meant: a NUL, and the sign that stands
// for characters lost in a conversion, which is also what a lone surrogate becomes.
func (w *walker) readable(text []byte) {
	switch {
	case bytes.Contains(text, []byte("\uFFFD")):
		w.note("text", "an unreadable character (U+FFFD): the text was damaged before it came here")
	case bytes.IndexByte(text, 0) >= 0:
		w.note("text", "a NUL character")
	}
}

func (w *walker) number(t reflect.Type, n string) {
	var err error
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		_, err = strconv.ParseInt(n, 10, t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		_, err = strconv.ParseUint(n, 10, t.Bits())
	case reflect.Float32, reflect.Float64:
		_, err = strconv.ParseFloat(n, t.Bits())
	default:
		n, err = "a number", strconv.ErrSyntax
	}
	if err != nil {
		w.note("type", "%s expected, %s found", expected(t), short(n))
	}
}

func (w *walker) object(t reflect.Type) error {
	var members map[string]member
	var elem reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		members = membersOf(t)
	case t.Kind() == reflect.Map:
		elem = t.Elem()
	default:
		w.note("type", "%s expected, an object found", expected(t))
	}
	var seen uint64            // known members, the first 64
	var others map[string]bool // all others
	for w.at++; w.more('}'); {
		name := w.text()
		m, known := members[string(name)]
		if !known {
			m = member{name: string(name), of: elem, number: 64}
			w.theirs++
		}
		w.path = append(w.path, step{m.name, -1})
		if !known {
			w.readable(name)
			if members != nil {
				w.note("unknown", "unknown member%s", meant(m.name, members))
			}
		}
		twice := false
		if m.number < 64 {
			twice = seen&(1<<m.number) != 0
			seen |= 1 << m.number
		} else {
			if others == nil {
				others = map[string]bool{}
			}
			twice, others[m.name] = others[m.name], true
		}
		if twice {
			w.note("duplicate", "given twice")
		}
		w.blanks()
		w.at++ // the colon
		if err := w.value(m.of); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
		if !known {
			w.theirs--
		}
	}
	return nil
}

func (w *walker) array(t reflect.Type) error {
	var elem reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		elem = t.Elem()
	default:
		w.note("type", "%s expected, an array found", expected(t))
	}
	w.at++
	for i := 0; w.more(']'); i++ {
		w.path = append(w.path, step{index: i})
		if err := w.value(elem); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	return nil
}

// more goes to the next element, or past the end.
func (w *walker) more(end byte) bool {
	w.blanks()
	switch w.data[w.at] {
	case end:
		w.at++
		return false
	case ',':
		w.at++
		w.blanks()
	}
	return true
}

// custom lets a type that reads itself try, so that its error gets a path.
func (w *walker) custom(t reflect.Type) {
	from := w.at
	w.skip()
	raw := w.data[from:w.at]
	var err error
	if own, ok := reflect.New(t).Interface().(json.Unmarshaler); ok {
		err = own.UnmarshalJSON(raw)
	} else {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	var one Field
	var several *Error
	switch {
	case err == nil:
	case t == timeType:
		w.note("instant", "an instant expected, as in 2026-03-01T09:30:00Z (RFC 3339, with a time zone)")
	case errors.As(err, &several) && len(several.Fields) > 0:
		for _, f := range several.Fields {
			w.inside(f)
		}
	case errors.As(err, &one):
		w.inside(one)
	default:
		w.note("type", "%s expected", expected(t))
	}
}

// inside notes what a type said of its own inside.
func (w *walker) inside(f Field) {
	if f.Path != "" {
		w.path = append(w.path, step{f.Path, -1})
		defer func() { w.path = w.path[:len(w.path)-1] }()
	}
	w.note(f.Code, "%s", f.Reason)
}

// meant suggests the right name where only the case or an underscore differs.
func meant(name string, members map[string]member) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for known := range members {
		if plain(known) == plain(name) {
			return "; " + known + " is meant?"
		}
	}
	return ""
}

// expected names a Go type in the words of JSON.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a base64 string"
		}
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "another type"
}

// member is one JSON member of a struct.
type member struct {
	name   string
	of     reflect.Type // nil: anything goes
	number int          // its place among the members
}

// membersOf gives the JSON members of a struct: embedded structs flattened as
// encoding/json does, without the fields that come from path, query or header.
func membersOf(t reflect.Type) map[string]member {
	if known, ok := memberCache.Load(t); ok {
		return known.(map[string]member)
	}
	members := map[string]member{}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" && options == "" || bound(field) {
			continue
		}
		ft := field.Type
		if field.Anonymous && name == "" {
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(unmarshalJSON) {
				for inner, it := range membersOf(ft) {
					if _, outer := members[inner]; !outer {
						members[inner] = member{inner, it.of, len(members)}
					}
				}
				continue
			}
		}
		if !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if strings.Contains(options, "string") {
			ft = nil // `json:",string"`: left to encoding/json
		}
		number := len(members)
		if shadowed, ok := members[name]; ok {
			number = shadowed.number
		}
		members[name] = member{name, ft, number}
	}
	memberCache.Store(t, members)
	return members
}

var memberCache sync.Map // reflect.Type -> map[string]member

// readBody reads at most limit bytes, the rest is left unread.
func readBody(x *exchange, limit int64) ([]byte, error) {
	r := x.request
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	// The server's own writer lets MaxBytesReader also close the connection.
	body, err := io.ReadAll(http.MaxBytesReader(x.writer, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &over):
		return nil, TooLarge("A body of at most %d bytes is read here; send it in parts.", limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, Malformed("The body ended before it was whole.").Because(err)
	default:
		return nil, Malformed("The body could not be read.").Because(err)
	}
}
