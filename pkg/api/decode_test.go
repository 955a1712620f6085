package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/api"
)

// everything has a field of every sort that requests have.
type everything struct {
	Text     string            `json:"text"`
	Bytes    []byte            `json:"bytes,omitempty"`
	Flag     bool              `json:"flag"`
	Small    int8              `json:"small"`
	Count    uint32            `json:"count"`
	Share    float64           `json:"share"`
	Date     api.Date          `json:"date"`
	At       time.Time         `json:"at"`
	Later    *time.Time        `json:"later,omitempty"`
	List     []string          `json:"list,omitempty"`
	Map      map[string]string `json:"map,omitempty"`
	Raw      json.RawMessage   `json:"raw,omitempty"`
	Any      any               `json:"any,omitempty"`
	Inner    *everything       `json:"inner,omitempty"`
	Inners   []everything      `json:"inners,omitempty"`
	Quoted   int               `json:"quoted,string"`
	embedded                   // its fields are ours
	Untagged int
	Hidden   string `json:"-"`
	ID       string `path:"id"`
}

type embedded struct {
	Deep string `json:"deep"`
	Text string `json:"text"` // shadowed
}

func drawEverything(t *rapid.T, depth int) everything {
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999).Draw(t, "ms")*1e6).UTC()
	})
	text := rapid.String().Filter(func(s string) bool { return !strings.ContainsAny(s, "\x00\uFFFD") })
	e := everything{
		Text: text.Draw(t, "text"), Flag: rapid.Bool().Draw(t, "flag"),
		Small: rapid.Int8().Draw(t, "small"), Count: rapid.Uint32().Draw(t, "count"),
		Share: rapid.Float64Range(-1e300, 1e300).Draw(t, "share"),
		Date:  api.DateOf(instant.Draw(t, "date")), At: instant.Draw(t, "at"),
		Map:      rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "é"}), text, 0, 3).Draw(t, "map"),
		Quoted:   rapid.Int().Draw(t, "quoted"),
		embedded: embedded{Deep: text.Draw(t, "deep")}, Untagged: rapid.Int().Draw(t, "untagged"),
	}
	if rapid.Bool().Draw(t, "more") {
		later := instant.Draw(t, "later")
		e.Later, e.Bytes, e.List = &later, []byte{1, 2}, []string{text.Draw(t, "one")}
		e.Raw, e.Any = json.RawMessage(`{"x":[1,"y"]}`), map[string]any{"k": []any{"v", true}}
		if depth < 3 {
			inner := drawEverything(t, depth+1)
			e.Inner, e.Inners = &inner, []everything{drawEverything(t, depth+1)}
		}
	}
	if len(e.Map) == 0 {
		e.Map = nil
	}
	return e
}

// What Go writes, Decode reads: the strict reading refuses nothing that is right.
func TestDecodeReadsWhatIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEverything(t, 0)
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		// "ID" is from the path and no member; encoding/json does not know.
		data = bytes.ReplaceAll(data, []byte(`,"ID":""`), nil)
		var got everything
		if err := api.Decode(data, &got); err != nil {
			t.Fatalf("%s: %v %+v", data, err, err.(*api.Error).Fields)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// One mistake at a random place is found, and named with its path.
func TestDecodeNamesTheMistake(t *testing.T) {
	mistakes := []struct{ code, member string }{
		{"unknown", `"no_such":1`},
		{"type", `"text":1`},
		{"type", `"flag":"yes"`},
		{"type", `"small":128`},
		{"type", `"count":-1`},
		{"date", `"date":"2025-02-29"`},
		{"instant", `"at":"2026-03-01 10:00"`},
		{"type", `"list":"a"`},
		{"type", `"map":[]`},
		{"duplicate", `"flag":true,"flag":true`},
		{"text", `"deep":"\u0000"`},
	}
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(mistakes).Draw(t, "mistake")
		name, _, _ := strings.Cut(m.member[1:], `"`)
		text, path := "{"+m.member+"}", name
		for range rapid.IntRange(0, 5).Draw(t, "depth") {
			if rapid.Bool().Draw(t, "list") {
				text, path = `{"inners":[{},`+text+`]}`, "inners[1]."+path
			} else {
				text, path = "{\n\"inner\":"+text+"}", "inner."+path
			}
		}
		var e *api.Error
		var into everything
		if err := api.Decode([]byte(text), &into); !errors.As(err, &e) || e.Kind != api.KindInvalid || len(e.Fields) != 1 {
			t.Fatalf("%s: %v", text, err)
		}
		if f := e.Fields[0]; f.Path != path || f.Code != m.code {
			t.Fatalf("%s: %+v, want %s %s", text, f, path, m.code)
		}
	})
}

func TestDecodeSuggestsTheRightName(t *testing.T) {
	var e *api.Error
	if err := api.Decode([]byte(`{"familyName":"A"}`), &createRequest{}); !errors.As(err, &e) || !strings.Contains(e.Fields[0].Reason, "family_name is meant?") {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","date":"2026-03-01","at":"2026-03-01T09:30:00Z","inner":{"list":["x"]},"any":[1,{"a":null}]}`,
		`{"text":1}`, `{"no":1}`, `[]`, `null`, `"x"`, `{"text":"\ud800"}`, `{"a":{"a":{"a":[]}}}`, "{\"text\":\"\xff\"}", ``, `{"quoted":"1"}`, `{"bytes":"!"}`,
		`{"small":1e2,"share":1e999,"map":{"":""}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got everything
		err := api.Decode(data, &got)
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) || e.Kind != api.KindMalformed && e.Kind != api.KindInvalid {
				t.Fatalf("%q: an untyped error: %v", data, err)
			}
			if e.Kind == api.KindInvalid && len(e.Fields) == 0 {
				t.Fatalf("%q: invalid, but nothing is named", data)
			}
			return
		}
		// What is accepted must be what an ordinary strict decoder accepts, too.
		var again everything
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&again); err != nil || !reflect.DeepEqual(got, again) {
			t.Fatalf("%q: accepted as %+v; encoding/json says %+v, %v", data, got, again, err)
		}
	})
}

func TestDates(t *testing.T) {
	for text, ok := range map[string]bool{
		`"2026-03-01"`: true, `"2024-02-29"`: true, `null`: true, `"0001-01-02"`: true,
		`"2026-02-30"`: false, `"2025-02-29"`: false, `"2026-13-01"`: false, `"2026-3-1"`: false, `"2026-03-01T00:00:00Z"`: false,
		`"01/03/2026"`: false, `""`: false, `20260301`: false, `"0000-01-01"`: false, `"2026-00-10"`: false, `"２０２６-03-01"`: false,
	} {
		var d api.Date
		if err := d.UnmarshalJSON([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := api.DateOf(time.Unix(rapid.Int64Range(-6e10, 2e11).Draw(t, "s"), 0))
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again api.Date
		if err := json.Unmarshal(text, &again); err != nil || !again.Equal(d.Time) {
			t.Fatalf("%s: %v, %v", text, again, err)
		}
		if parsed, err := api.ParseDate(d.String()); err != nil || parsed != d {
			t.Fatalf("%s: %v, %v", d, parsed, err)
		}
	})
}

func TestKeysAndVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, k := rapid.String().Draw(t, "principal"), rapid.String().Draw(t, "key")
		id := api.IDFromKey(p, k)
		if id != api.IDFromKey(p, k) || len(id) != 26 || strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" || id[0] > '7' {
			t.Fatalf("%q is no ULID", id)
		}
		if p2, k2 := rapid.String().Draw(t, "principal 2"), rapid.String().Draw(t, "key 2"); (p2 != p || k2 != k) && api.IDFromKey(p2, k2) == id {
			t.Fatalf("%q %q and %q %q share an id", p, k, p2, k2)
		}
		n := rapid.Int64Range(1, 1<<62).Draw(t, "version")
		if got, err := api.IfMatch(api.ETag(n)); got != n || err != nil {
			t.Fatalf("%d came back as %d, %v", n, got, err)
		}
	})
	if api.IDFromKey("ab", "c") == api.IDFromKey("a", "bc") {
		t.Error("principal and key run together")
	}
	if a, b := api.Fingerprint([]byte(`{"a":1}`)), api.Fingerprint([]byte(`{"a":2}`)); a == b || len(a) != 32 {
		t.Errorf("fingerprints %s %s", a, b)
	}
	if got := api.Key(api.ContextWithKey(t.Context(), "k")); got != "k" {
		t.Errorf("key of a context: %q", got)
	}
}

func BenchmarkDecode(b *testing.B) {
	row := `{"family_name":"Ben Salah","birth_date":"1990-02-28","occupations":[{"rome":"A1401","experience_months":24}],"available_from":"2026-04-01T08:00:00Z","remote":true,"scores":{"fr":2}}`
	b.Run("strict", func(b *testing.B) {
		b.SetBytes(int64(len(row)))
		b.ReportAllocs()
		for b.Loop() {
			var r createRequest
			if err := api.Decode([]byte(row), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(row)))
		b.ReportAllocs()
		for b.Loop() {
			var r createRequest
			if err := json.Unmarshal([]byte(row), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
