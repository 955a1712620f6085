package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// sharedData finds the real inputs beside the repository.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no go.work above the test: the repository's root is not known")
		}
		dir = up
	}
	path := filepath.Join(dir, "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data is not here: %v", err)
	}
	return path
}

// told is what a file gave, in short.
type told struct {
	rows  []Row
	bad   []*RowError
	fatal error
}

func collect(rows iter.Seq2[Row, error]) told {
	var got told
	for row, err := range rows {
		var refused *RowError
		switch {
		case err == nil:
			got.rows = append(got.rows, row)
		case errors.As(err, &refused):
			got.bad = append(got.bad, refused)
		default:
			got.fatal = err
		}
	}
	return got
}

func (g told) String() string {
	var b strings.Builder
	for _, r := range g.rows {
		fmt.Fprintf(&b, "%d/%d/%d %s\n", r.Line, r.Index, r.Offset, r.Raw)
	}
	for _, e := range g.bad {
		fmt.Fprintf(&b, "! %d/%d/%d %s\n", e.Row.Line, e.Row.Index, e.Row.Offset, french(e.Reason))
	}
	if g.fatal != nil {
		fmt.Fprintf(&b, "end: %s\n", french(g.fatal.Error()))
	}
	return b.String()
}

func TestOffersForms(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"empty":      {"", ""},
		"only space": {" \n\t\n", ""},
		"lines": {
			`{"id":"1"}` + "\n" + `{"id":"2","x":[1,{"y":"}"}]}` + "\r\n\n" + `{"id":"3"}`,
			`1/0/0 {"id":"1"}` + "\n" + `2/1/11 {"id":"2","x":[1,{"y":"}"}]}` + "\n" + `4/2/42 {"id":"3"}` + "\n",
		},
		"byte order mark": {"\xef\xbb\xbf" + `{"id":"1"}`, `1/0/3 {"id":"1"}` + "\n"},
		"broken lines do not stop the rest": {
			`{"id":"1"}` + "\n" + `{"id":"2",}` + "\n" + `oops` + "\n" + `[1]` + "\n" + `{"id":"5"` + "\n" + `{"id":"6"}` + "\n",
			`1/0/0 {"id":"1"}` + "\n" + `6/5/42 {"id":"6"}` + "\n" +
				"! 2/1/11 ce n'est pas du JSON au caractère 11\n" +
				"! 3/2/23 ce n'est pas du JSON au caractère 1\n" +
				"! 4/3/28 ce n'est pas un objet JSON\n" +
				"! 5/4/32 ce n'est pas du JSON : l'offre s'arrête trop tôt\n",
		},
		"first line broken": {
			`{"id":"1","t":"é` + "\n" + `{"id":"2"}`,
			`2/1/18 {"id":"2"}` + "\n" + "! 1/0/0 ce n'est pas du JSON : l'offre s'arrête trop tôt\n",
		},
		"not UTF-8": {
			"{\"id\":\"\xe9\"}\n{\"id\":\"2\"}",
			`2/1/11 {"id":"2"}` + "\n" + "! 1/0/0 le texte n'est pas en UTF-8\n",
		},
		"array": {
			"[\n {\"id\":\"1\"},\n {\n  \"id\": \"2\"\n },\n 7,\n {\"a\":01}, {\"id\":\"]\"}\n]\n",
			"2/0/3 {\"id\":\"1\"}\n3/1/16 {\n  \"id\": \"2\"\n }\n7/4/49 {\"id\":\"]\"}\n" +
				"! 6/2/35 ce n'est pas un objet JSON\n! 7/3/39 ce n'est pas du JSON au caractère 7\n",
		},
		"empty array": {"[ ]", ""},
		"array cut off": {
			`[{"id":"1"},{"id":"2`,
			`1/0/1 {"id":"1"}` + "\n" + "end: ligne 1, ce n'est pas du JSON : le fichier s'arrête trop tôt : l'offre qui commence à la ligne 1 n'est pas fermée\n",
		},
		"array without comma": {
			`[{"id":"1"} {"id":"2"}]`,
			`1/0/1 {"id":"1"}` + "\n" + `end: ligne 1, ce n'est pas du JSON : après une offre de […] vient '{' au lieu d'une virgule ou de ]` + "\n",
		},
		"answer on one line": {
			`{"filtresPossibles":[{"filtre":"resultats"}],"resultats":[{"id":"1"},{"id":"2"}]}`,
			`1/0/58 {"id":"1"}` + "\n" + `1/1/69 {"id":"2"}` + "\n",
		},
		"answer over lines": {
			"{\n \"resultats\": [\n  {\"id\":\"1\"},\n  {\"id\":\"2\"}\n ],\n \"filtresPossibles\": [{\"a\": \"\\\"]\"}]\n}\n",
			"3/0/20 {\"id\":\"1\"}\n4/1/34 {\"id\":\"2\"}\n",
		},
		"answer without rows": {`{"resultats":[]}`, ""},
		"one offer over lines": {
			"{\n  \"id\": \"1\",\n  \"resultats\": 3\n}\n",
			"1/0/0 {\n  \"id\": \"1\",\n  \"resultats\": 3\n}\n",
		},
		"utf-16": {"\xff\xfe{\x00}\x00", "end: le fichier est en UTF-16 : enregistrez-le en UTF-8\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := collect(Offers(strings.NewReader(c.file))).String(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			// The same, a byte at a time.
			if got := collect(Offers(iotest.OneByteReader(strings.NewReader(c.file)))).String(); got != c.want {
				t.Errorf("byte by byte: got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestOffersStopWhenAsked(t *testing.T) {
	n := 0
	for range Offers(strings.NewReader("{}\n{}\n{}\n")) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Fatalf("%d rows after a break at 2", n)
	}
}

func TestOffersFailingReader(t *testing.T) {
	broken := errors.New("disk")
	got := collect(Offers(io.MultiReader(strings.NewReader("{\"id\":1}\n{\"id\""), iotest.ErrReader(broken))))
	if len(got.rows) != 1 || !errors.Is(got.fatal, broken) {
		t.Fatalf("got %v", got)
	}
}

func TestOffersTooLong(t *testing.T) {
	long := `{"t":"` + strings.Repeat("a", MaxOffer) + `"}`
	for name, file := range map[string]string{
		"lines": `{"id":"1"}` + "\n" + long + "\n" + `{"id":"3"}`,
		"array": `[{"id":"1"},` + long + `,{"id":"3"}]`,
	} {
		got := collect(Offers(strings.NewReader(file)))
		if len(got.rows) != 2 || len(got.bad) != 1 || got.bad[0].Row.Index != 1 || got.fatal != nil {
			t.Errorf("%s: %d rows, bad %v, end %v", name, len(got.rows), got.bad, got.fatal)
		}
	}
}

func TestRealOffers(t *testing.T) {
	for name, want := range map[string]int{
		"offres/ft_dep01_2025-08.jsonl": 455, "offres/ft_dep07_2025-05.jsonl": 150, "offres/reponse_api_exemple.json": 5,
	} {
		path := sharedData(t, name)
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(Offers(bytes.NewReader(file)))
		if len(got.rows) != want || len(got.bad) != 0 || got.fatal != nil {
			t.Fatalf("%s: %d rows, want %d; %v %v", name, len(got.rows), want, got.bad, got.fatal)
		}
		lines := bytes.Split(file, []byte{'\n'})
		array := []json.RawMessage{}
		for _, row := range got.rows {
			if !bytes.HasPrefix(file[row.Offset:], row.Raw) {
				t.Fatalf("%s: row %d is not at its offset", name, row.Index)
			}
			first, _, _ := bytes.Cut(row.Raw, []byte{'\n'})
			if !bytes.Contains(lines[row.Line-1], first) {
				t.Fatalf("%s: row %d does not begin on line %d", name, row.Index, row.Line)
			}
			array = append(array, row.Raw)
		}
		// The same offers as an array, pretty-printed, are the same offers.
		pretty, err := json.MarshalIndent(array, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if again := collect(Offers(bytes.NewReader(pretty))); len(again.rows) != want || again.fatal != nil {
			t.Fatalf("%s as an array: %d rows, %v", name, len(again.rows), again.fatal)
		}
	}
}

// TestOffersMemory reads 50 MB in each form and asks how much was needed.
func TestOffersMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 150 MB")
	}
	offer := `{"id":"1","description":"` + strings.Repeat("x", 5000) + `"}`
	for name, form := range map[string][3]string{
		"lines": {"", "\n", ""}, "array": {"[", ",", "]"}, "answer": {`{"filtresPossibles":[],"resultats":[`, ",", `]}`},
	} {
		n := 10_000
		if racing {
			n = 2_000
		}
		var before, during runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		rows, peak := 0, uint64(0)
		for _, err := range Offers(repeated(form[0], offer, form[1], form[2], n)) {
			if err != nil {
				t.Fatal(name, err)
			}
			if rows++; rows%(n/5) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&during)
				peak = max(peak, during.HeapAlloc-min(before.HeapAlloc, during.HeapAlloc))
			}
		}
		if rows != n || peak > 16<<20 {
			t.Errorf("%s: %d rows, %d MB kept while reading", name, rows, peak>>20)
		}
	}
}

// repeated is a file of n times the same text, made while it is read.
func repeated(before, text, between, after string, n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, before)
		for i := 0; i < n && err == nil; i++ {
			if i > 0 {
				_, err = io.WriteString(w, between)
			}
			if err == nil {
				_, err = io.WriteString(w, text)
			}
		}
		if err == nil {
			_, err = io.WriteString(w, after)
		}
		w.CloseWithError(err)
	}()
	return r
}

func FuzzOffers(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[{}]", `{"resultats":[{"id":"1"}]}`, "{\"a\":1}\n{\"b\":", "[1,{]}", "\xef\xbb\xbf[{}\n,{}]", "{\n\"a\":\"\\\"\"\n}",
		`{"filtresPossibles":[],"resultats":[{"id":"1"},3,{"a":`, "[[[[", `{"a":{"resultats":[{}]}}`,
	} {
		f.Add([]byte(seed))
	}
	const most = 4 << 10
	f.Fuzz(func(t *testing.T, file []byte) {
		last := -1
		for row, err := range offers(bytes.NewReader(file), most) {
			var refused *RowError
			if err != nil && !errors.As(err, &refused) {
				continue
			}
			if row.Index != last+1 {
				t.Fatalf("row %d follows row %d", row.Index, last)
			}
			last = row.Index
			if row.Offset < 0 || row.Offset > int64(len(file)) || row.Line != 1+bytes.Count(file[:row.Offset], []byte{'\n'}) {
				t.Fatalf("row %d: line %d, offset %d", row.Index, row.Line, row.Offset)
			}
			if err == nil && (!json.Valid(row.Raw) || row.Raw[0] != '{' || !bytes.HasPrefix(file[row.Offset:], row.Raw)) {
				t.Fatalf("row %d is not the object at its offset: %q", row.Index, row.Raw)
			}
		}
		// What is JSON, and an array of objects, is read whole.
		if len(file) > most {
			return
		}
		var array []map[string]json.RawMessage
		if bytes.HasPrefix(bytes.TrimLeft(file, " \t\r\n"), []byte("[")) && json.Unmarshal(file, &array) == nil {
			objects := 0
			for _, o := range array {
				if o != nil {
					objects++
				}
			}
			if got := collect(offers(bytes.NewReader(file), most)); len(got.rows) != objects && bytes.Equal(file, bytes.ToValidUTF8(file, nil)) {
				t.Fatalf("%d of %d objects", len(got.rows), objects)
			}
		}
	})
}
