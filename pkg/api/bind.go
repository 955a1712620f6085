package api

import (
	"encoding"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Paging is what a list takes from the query; embed it in the request.
type Paging struct {
	Limit  int    `query:"limit" default:"50" min:"1" max:"200"`
	Cursor string `query:"cursor"`
}

// Page is one page of a list. Next is the cursor of the next one, "" on the
// last; it is also in the Link header (rel="next").
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor,omitempty"`
}

// NextCursor gives the cursor for the Link header.
func (p Page[T]) NextCursor() string { return p.Next }

// NewPage makes a page; no items are an empty list, not null.
func NewPage[T any](items []T, next string) Page[T] {
	if items == nil {
		items = []T{}
	}
	return Page[T]{Items: items, Next: next}
}

// Validator is implemented by a request that checks itself after decoding;
// return Invalid with the paths of the fields.
type Validator interface{ Validate() error }

// sources are the places, other than the JSON body, that a field may come from.
var sources = []string{"path", "query", "header", "body"}

func bound(f reflect.StructField) bool {
	for _, source := range sources {
		if _, ok := f.Tag.Lookup(source); ok {
			return true
		}
	}
	return false
}

// binding is one field that comes from the path, the query or a header.
type binding struct {
	source, name string
	index        []int
	fallback     string // the default, as text
	min, max     *int64
}

// plan says how a request type is filled. It is made once per route.
type plan struct {
	bindings []binding
	query    map[string]bool // names of the query's parameters
	body     []int           // the field with `body:"json"`, if any
	json     bool            // whether anything comes from a JSON body
}

func planFor(t reflect.Type) (plan, error) {
	p := plan{query: map[string]bool{}}
	if t.Kind() != reflect.Struct {
		p.json = true
		return p, nil
	}
	p.json = len(membersOf(t)) > 0
	for _, field := range reflect.VisibleFields(t) {
		for _, source := range sources {
			name, ok := field.Tag.Lookup(source)
			if !ok {
				continue
			}
			if !field.IsExported() {
				return p, fmt.Errorf("field %s is bound to the %s, but not exported", field.Name, source)
			}
			if source == "body" {
				p.body, p.json = field.Index, true
				continue
			}
			b := binding{source: source, name: name, index: field.Index, fallback: field.Tag.Get("default")}
			for tag, to := range map[string]**int64{"min": &b.min, "max": &b.max} {
				if text := field.Tag.Get(tag); text != "" {
					n, err := strconv.ParseInt(text, 10, 64)
					if err != nil {
						return p, fmt.Errorf("field %s: tag %s: %w", field.Name, tag, err)
					}
					*to = &n
				}
			}
			if b.fallback != "" {
				if err := b.set(reflect.New(field.Type).Elem(), []string{b.fallback}); err != nil {
					return p, fmt.Errorf("field %s: its default: %w", field.Name, err)
				}
			}
			if source == "query" {
				p.query[name] = true
			}
			p.bindings = append(p.bindings, b)
		}
	}
	return p, nil
}

// fill puts the path, the query and the headers of r into the struct v.
func (p plan) fill(r *http.Request, v reflect.Value) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Malformed("The query of the address cannot be read: percent-encode its values.").Because(err)
	}
	var wrong []Field
	for name := range query {
		if !p.query[name] {
			wrong = append(wrong, Field{Path: "query." + name, Code: "unknown", Reason: "unknown parameter" + p.known(), theirs: true})
		}
	}
	for _, b := range p.bindings {
		var values []string
		switch b.source {
		case "path":
			values = []string{r.PathValue(b.name)}
		case "query":
			values = query[b.name]
		case "header":
			values = r.Header.Values(b.name)
		}
		if len(values) == 0 {
			if b.fallback == "" {
				continue
			}
			values = []string{b.fallback}
		}
		if err := b.set(field(v, b.index), values); err != nil {
			f := Field{Code: "type", Reason: err.Error()}
			errors.As(err, &f)
			f.Path = b.source + "." + b.name
			wrong = append(wrong, f)
		}
	}
	if len(wrong) > 0 {
		return Invalid(wrong...)
	}
	return nil
}

func (p plan) known() string {
	if len(p.query) == 0 {
		return "; there are none here"
	}
	var names []string
	for _, b := range p.bindings {
		if b.source == "query" {
			names = append(names, b.name)
		}
	}
	return "; known are " + strings.Join(names, ", ")
}

// field is v's field at index, with embedded pointers made on the way.
func field(v reflect.Value, index []int) reflect.Value {
	for i, at := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v
}

// set parses texts into v. Lists may be repeated or separated by commas; every
// other parameter is given once.
func (b binding) set(v reflect.Value, texts []string) error {
	if v.Kind() == reflect.Slice {
		for _, text := range texts {
			for part := range strings.SplitSeq(text, ",") {
				one := reflect.New(v.Type().Elem()).Elem()
				if err := b.parse(one, strings.TrimSpace(part)); err != nil {
					return err
				}
				v.Set(reflect.Append(v, one))
			}
		}
		return nil
	}
	if len(texts) > 1 {
		return Field{Code: "duplicate", Reason: "given more than once"}
	}
	return b.parse(v, texts[0])
}

func (b binding) parse(v reflect.Value, text string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if v.Type() == timeType {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return Field{Code: "instant", Reason: "an instant expected, as in 2026-03-01T09:30:00Z (RFC 3339, with a time zone)"}
		}
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		if !clean(text) {
			return Field{Code: "text", Reason: "valid UTF-8 without control characters expected"}
		}
		v.SetString(text)
	case reflect.Bool:
		switch text {
		case "true", "1", "":
			v.SetBool(true) // ?dry_run means ?dry_run=true
		case "false", "0":
			v.SetBool(false)
		default:
			return Field{Code: "type", Reason: "true or false expected"}
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return Field{Code: "type", Reason: "an integer expected" + b.bounds()}
		}
		if b.min != nil && n < *b.min || b.max != nil && n > *b.max {
			return Field{Code: "range", Reason: "out of range: an integer expected" + b.bounds()}
		}
		v.SetInt(n)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || f != f {
			return Field{Code: "type", Reason: "a number expected"}
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("a %s cannot be read from a %s", v.Type(), b.source)
	}
	return nil
}

func (b binding) bounds() string {
	switch {
	case b.min != nil && b.max != nil:
		return fmt.Sprintf(" from %d to %d", *b.min, *b.max)
	case b.min != nil:
		return fmt.Sprintf(" from %d", *b.min)
	case b.max != nil:
		return fmt.Sprintf(" up to %d", *b.max)
	}
	return ""
}

// decoder reads requests of one type on one route.
func decoder[Req any](o *options) (func(x *exchange, r *http.Request) (Req, error), error) {
	t := reflect.TypeFor[Req]()
	p, err := planFor(t)
	if err != nil {
		return nil, err
	}
	return func(x *exchange, r *http.Request) (req Req, err error) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if x.body, err = readBody(x, o.maxBody); err != nil {
				return req, err
			}
			if err := supported(r, len(x.body)); err != nil {
				return req, err
			}
			v := reflect.ValueOf(&req).Elem()
			if p.body != nil {
				v = field(v, p.body)
			}
			if len(x.body) > 0 || p.json && !o.optionalBody {
				if err := Decode(x.body, v.Addr().Interface()); err != nil {
					return req, err
				}
			}
		}
		if t.Kind() == reflect.Struct {
			if err := p.fill(r, reflect.ValueOf(&req).Elem()); err != nil {
				return req, err
			}
		}
		if check, ok := any(&req).(Validator); ok {
			if err := check.Validate(); err != nil {
				return req, err
			}
		}
		return req, nil
	}, nil
}

// supported checks that a body is plain JSON as far as its headers say. A body
// without a type is taken for JSON.
func supported(r *http.Request, size int) error {
	if size == 0 {
		return nil
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return Unsupported("Content-Encoding %q is not read here: send the body plain.", short(coding))
	}
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/json" && !(strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")) {
		return Unsupported("Content-Type: application/json expected, %q found.", short(header))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Unsupported("JSON is UTF-8 (RFC 8259); charset %q is not read here.", short(charset))
	}
	return nil
}

// short cuts what a caller sent before it is repeated in an answer.
func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
