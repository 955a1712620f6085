package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
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
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil { // syntax only
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return Malformed("Not valid JSON at %s: %s.", position(data, int(syntax.Offset)-1), syntax.Error())
		}
		return Malformed("Not valid JSON.").Because(err)
	}
	w := walker{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	if err := w.value("", reflect.TypeOf(v).Elem(), 0); err != nil {
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

// position says where a byte of a body is, in words; lines and columns from 1.
func position(data []byte, at int) string {
	at = min(max(at, 0), len(data))
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	column := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:at], '\n')+1:at])
	return fmt.Sprintf("line %d, column %d (byte %d)", line, column, at)
}

// walker goes through a syntactically valid JSON text beside the Go type that it
// is meant for, and notes every place where they differ.
type walker struct {
	data   []byte
	dec    *json.Decoder
	wrong  []Field
	theirs int // how many names on the present path are the caller's own, and no member of a type
}

func (w *walker) note(path, code, format string, args ...any) {
	if len(w.wrong) < maxReported {
		line := 1 + bytes.Count(w.data[:w.dec.InputOffset()], []byte("\n"))
		w.wrong = append(w.wrong, Field{
			Path: path, Code: code,
			Reason: fmt.Sprintf(format, args...) + " (line " + strconv.Itoa(line) + ")",
			theirs: w.theirs > 0,
		})
	}
}

var (
	rawType       = reflect.TypeFor[json.RawMessage]()
	timeType      = reflect.TypeFor[time.Time]()
	unmarshalJSON = reflect.TypeFor[json.Unmarshaler]()
	unmarshalText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value checks the next value against t; nil means that anything goes.
func (w *walker) value(path string, t reflect.Type, depth int) error {
	if depth > maxDepth {
		return Malformed("JSON nested deeper than %d levels at %s.", maxDepth, position(w.data, int(w.dec.InputOffset())))
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil || t == rawType || t.Kind() == reflect.Interface:
		return w.anything(path, depth)
	case reflect.PointerTo(t).Implements(unmarshalJSON) || reflect.PointerTo(t).Implements(unmarshalText):
		return w.custom(path, t)
	}
	token, err := w.dec.Token()
	if err != nil {
		return Malformed("Not valid JSON.").Because(err)
	}
	switch token := token.(type) {
	case nil:
		return nil
	case json.Delim:
		if token == '{' {
			return w.object(path, t, depth)
		}
		return w.array(path, t, depth)
	case string:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return nil // base64; checked by encoding/json
		}
		if t.Kind() != reflect.String {
			w.note(path, "type", "%s expected, a string found", expected(t))
			return nil
		}
		w.text(path, token)
	case bool:
		if t.Kind() != reflect.Bool {
			w.note(path, "type", "%s expected, %t found", expected(t), token)
		}
	case json.Number:
		w.number(path, t, token)
	}
	return nil
}

// text refuses what cannot have been meant: a NUL, and the sign that stands for
// characters lost in a conversion, which is also what a lone surrogate becomes.
func (w *walker) text(path, s string) {
	switch {
	case strings.ContainsRune(s, utf8.RuneError):
		w.note(path, "text", "an unreadable character (U+FFFD): the text was damaged before it came here")
	case strings.ContainsRune(s, 0):
		w.note(path, "text", "a NUL character")
	}
}

func (w *walker) number(path string, t reflect.Type, n json.Number) {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil || reflect.Zero(t).OverflowInt(i) {
			w.note(path, "type", "%s expected, %s found", expected(t), n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(n.String(), 10, 64)
		if err != nil || reflect.Zero(t).OverflowUint(i) {
			w.note(path, "type", "%s expected, %s found", expected(t), n)
		}
	case reflect.Float32, reflect.Float64:
		f, err := n.Float64()
		if err != nil || math.IsInf(f, 0) || reflect.Zero(t).OverflowFloat(f) {
			w.note(path, "type", "%s expected, %s found", expected(t), n)
		}
	default:
		w.note(path, "type", "%s expected, a number found", expected(t))
	}
}

func (w *walker) object(path string, t reflect.Type, depth int) error {
	var members map[string]reflect.Type
	var elem reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		members = membersOf(t)
	case t.Kind() == reflect.Map:
		elem = t.Elem()
	default:
		w.note(path, "type", "%s expected, an object found", expected(t))
	}
	seen := make(map[string]bool, len(members))
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return Malformed("Not valid JSON.").Because(err)
		}
		name, _ := token.(string)
		at := join(path, name)
		of, known := members[name]
		if !known {
			of = elem
			w.theirs++
		}
		w.text(at, name)
		if !known && members != nil {
			w.note(at, "unknown", "unknown member%s", meant(name, members))
		}
		if seen[name] {
			w.note(at, "duplicate", "given twice")
		}
		seen[name] = true
		if err := w.value(at, of, depth+1); err != nil {
			return err
		}
		if !known {
			w.theirs--
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) array(path string, t reflect.Type, depth int) error {
	var elem reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		elem = t.Elem()
	default:
		w.note(path, "type", "%s expected, an array found", expected(t))
	}
	for i := 0; w.dec.More(); i++ {
		if err := w.value(path+"["+strconv.Itoa(i)+"]", elem, depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) anything(path string, depth int) error {
	token, err := w.dec.Token()
	if err != nil {
		return Malformed("Not valid JSON.").Because(err)
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return w.object(path, nil, depth)
		}
		return w.array(path, nil, depth)
	case string:
		w.text(path, token)
	}
	return nil
}

// custom lets a type that reads itself try, so that its error gets a path.
func (w *walker) custom(path string, t reflect.Type) error {
	var raw json.RawMessage
	if err := w.dec.Decode(&raw); err != nil {
		return Malformed("Not valid JSON.").Because(err)
	}
	if string(raw) == "null" {
		return nil
	}
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	var own Field
	var several *Error
	switch {
	case err == nil:
	case t == timeType:
		w.note(path, "instant", "an instant expected, as in 2026-03-01T09:30:00Z (RFC 3339, with a time zone)")
	case errors.As(err, &several):
		for _, f := range several.Fields {
			w.note(join(path, f.Path), f.Code, "%s", f.Reason)
		}
	case errors.As(err, &own):
		w.note(join(path, own.Path), own.Code, "%s", own.Reason)
	default:
		w.note(path, "type", "%s expected", expected(t))
	}
	return nil
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// meant suggests the right name where only the case or an underscore differs.
func meant(name string, members map[string]reflect.Type) string {
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

// membersOf gives the JSON members of a struct: embedded structs flattened as
// encoding/json does, without the fields that come from path, query or header.
func membersOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := memberCache.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	members := map[string]reflect.Type{}
	for field := range t.Fields() {
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || bound(field) {
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
						members[inner] = it
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
		members[name] = ft
	}
	memberCache.Store(t, members)
	return members
}

var memberCache sync.Map // reflect.Type -> map[string]reflect.Type

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
