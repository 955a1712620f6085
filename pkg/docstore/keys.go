package docstore

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An index entry is a list of values, one for each field: a string, an int64
// (also for times, in ms since 1970, and for false and true, 0 and 1), or
// missing. All kinds order as Go orders them, and missing comes first.

// missing stands for a value that is absent or null. It is smaller than every
// value of a field, in Go and in a column of SQLite, where integers come before
// text.
const missing = int64(math.MinInt64)

// compiled is an index with its paths cut up.
type compiled struct {
	Index
	paths [][]string
}

func compile(ix Index) *compiled {
	c := &compiled{Index: ix}
	for _, f := range ix.Fields {
		c.paths = append(c.paths, strings.Split(f.Path, "."))
	}
	return c
}

// entries gives the distinct entries of a body, sorted: one, several where the
// last field is an array, none where the index is unique and a value is empty.
func (c *compiled) entries(body bson.Raw) ([][]any, error) {
	last := len(c.Fields) - 1
	first := make([]any, 0, last+1)
	for i := range last {
		vs, array, err := c.values(body, i)
		if err != nil {
			return nil, err
		}
		if array {
			return nil, fmt.Errorf("docstore: index %s: %s leads to an array; only the last field of an index may", c.Name, c.Fields[i].Path)
		}
		first = append(first, vs[0])
	}
	vs, array, err := c.values(body, last)
	if err != nil {
		return nil, err
	}
	if c.Unique && array && slices.Contains(vs, any("")) {
		return nil, fmt.Errorf("docstore: index %s: an element of %s is empty; a unique index cannot tell it from others", c.Name, c.Fields[last].Path)
	}
	if c.Unique && (slices.ContainsFunc(first, empty) || empty(vs[0])) {
		return nil, nil
	}
	out := make([][]any, len(vs))
	for i, v := range vs {
		out[i] = append(slices.Clip(first), v)
	}
	return out, nil
}

// values gives what field i has in the body, and whether that is an array:
// distinct values in order, or missing alone.
func (c *compiled) values(body bson.Raw, i int) (vs []any, array bool, err error) {
	vs, array, err = collect(nil, bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: body}, c.paths[i], c.Fields[i].Kind)
	if err != nil {
		return nil, false, fmt.Errorf("docstore: index %s: %s: %w", c.Name, c.Fields[i].Path, err)
	}
	if len(vs) == 0 {
		return []any{missing}, array, nil
	}
	slices.SortFunc(vs, compareValues)
	return slices.Compact(vs), array, nil
}

// collect appends the values that the path leads to.
func collect(out []any, v bson.RawValue, path []string, kind Kind) ([]any, bool, error) {
	if v.Type == bson.TypeArray {
		elements, err := v.Array().Values()
		if err != nil {
			return nil, true, err
		}
		for _, e := range elements {
			if e.Type == bson.TypeArray {
				return nil, true, errors.New("an array in an array cannot be indexed")
			}
			if out, _, err = collect(out, e, path, kind); err != nil {
				return nil, true, err
			}
		}
		return out, true, nil
	}
	if len(path) > 0 {
		if v.Type != bson.TypeEmbeddedDocument {
			return out, false, nil
		}
		next, err := v.Document().LookupErr(path[0])
		if err != nil {
			return out, false, nil // absent
		}
		return collect(out, next, path[1:], kind)
	}
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return out, false, nil
	case bson.TypeString:
		if kind == String {
			return append(out, v.StringValue()), false, nil
		}
	case bson.TypeInt32, bson.TypeInt64:
		if kind == Int {
			return append(out, v.AsInt64()), false, nil
		}
	case bson.TypeDateTime:
		if kind == Time {
			return append(out, v.DateTime()), false, nil
		}
	case bson.TypeBoolean:
		if kind == Bool {
			return append(out, boolValue(v.Boolean())), false, nil
		}
	}
	return nil, false, fmt.Errorf("a BSON %s is not of kind %s", v.Type, kind)
}

// value turns a value of a query into one of an entry.
func value(v any, kind Kind) (any, error) {
	if v == nil {
		return missing, nil
	}
	switch r := reflect.ValueOf(v); {
	case kind == String && r.Kind() == reflect.String:
		return r.String(), nil
	case kind == Int && r.CanInt():
		return r.Int(), nil
	case kind == Int && r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint()), nil
	case kind == Bool && r.Kind() == reflect.Bool:
		return boolValue(r.Bool()), nil
	case kind == Time:
		if t, ok := v.(time.Time); ok {
			return t.UnixMilli(), nil
		}
	}
	return nil, fmt.Errorf("a %T is not of kind %s", v, kind)
}

func boolValue(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func empty(v any) bool { return v == missing || v == "" }

func compareValues(a, b any) int {
	as, aString := a.(string)
	bs, bString := b.(string)
	switch {
	case aString && bString:
		return strings.Compare(as, bs)
	case aString:
		return 1
	case bString:
		return -1
	}
	ai, bi := a.(int64), b.(int64)
	switch {
	case ai < bi:
		return -1
	case ai > bi:
		return 1
	}
	return 0
}

// successor gives the smallest string above all that begin with the prefix, ""
// when there is none.
func successor(prefix string) string {
	rs := []rune(prefix)
	for i := len(rs) - 1; i >= 0; i-- {
		switch r := rs[i]; {
		case r == 0xD7FF: // the next are surrogates, which no string holds
			rs[i] = 0xE000
		case r >= 0x10FFFF:
			continue
		default:
			rs[i] = r + 1
		}
		return string(rs[:i+1])
	}
	return ""
}

// manyValued reports whether a dotted path of bson names leads through or to a
// slice in the type, as far as the type tells.
func manyValued(t reflect.Type, path []string) bool {
	for t != nil {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
		case reflect.Slice, reflect.Array:
			return t.Elem().Kind() != reflect.Uint8
		case reflect.Map:
			if len(path) == 0 {
				return false
			}
			t, path = t.Elem(), path[1:]
		case reflect.Struct:
			if len(path) == 0 {
				return false
			}
			t, path = fieldType(t, path[0]), path[1:]
		default:
			return false
		}
	}
	return false
}

func fieldType(t reflect.Type, name string) reflect.Type {
	for f := range t.Fields() {
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		tag := strings.Split(f.Tag.Get("bson"), ",")
		if slices.Contains(tag[1:], "inline") {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				if found := fieldType(inner, name); found != nil {
					return found
				}
			}
			continue
		}
		have := tag[0]
		if have == "" {
			have = strings.ToLower(f.Name)
		}
		if have == name {
			return f.Type
		}
	}
	return nil
}
