package candidates

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/api"
	"masar.local/pkg/reference"
)

var testNow = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const goodRecord = `{"national_id":"01234567","family_name":"Ben Ali","given_name":"Hédi","family_name_ar":"بن علي","given_name_ar":"الهادي",
"sex":"M","birth_date":"1995-04-30","governorate":"TN-71","email":"hedi@Example.TN","phone":"20 123 456","language":"ar",
"diploma_level":"cap","occupations":[{"rome":"A1401","experience_months":24}],"languages":[{"code":"fr","cefr":"A2"}],
"licences":["b","B"],"competences":["125000"," 100023","100023"],"available_from":"2026-05-01","available_to":"2026-10-31","schemes":["agri"],"regions":["93","84"],
"consents":["matching","notification"]}`

func TestGoodRecordIsCleaned(t *testing.T) {
	rec, fields := decodeRecord([]byte(goodRecord), reference.EmbeddedOccupations())
	if fields != nil {
		t.Fatal(fields)
	}
	c := Candidate{}.with(rec)
	if fields := c.check(testNow); len(fields) > 0 {
		t.Fatal(fields)
	}
	want := Candidate{
		FamilyName: "Ben Ali", GivenName: "Hédi", FamilyNameAR: "بن علي", GivenNameAR: "الهادي", Sex: "M",
		BirthDate: "1995-04-30", Governorate: "TN-71", Email: "hedi@example.tn", Phone: "+21620123456", Language: "ar",
		Diploma: "cap", Occupations: []Occupation{{ROME: "A1401", ExperienceMonths: 24}}, Languages: []LanguageLevel{{Code: "fr", CEFR: "A2"}},
		Licences: []string{"B"}, Competences: []string{"100023", "125000"}, From: "2026-05-01", To: "2026-10-31", Schemes: []string{"agri"}, Regions: []string{"84", "93"},
		Consents: []string{"matching", "notification"}, NameKeys: c.NameKeys,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("cleaned to\n%+v\nwant\n%+v", c, want)
	}
	p := c.profile()
	if p.GetBirthYear() != 1995 || p.GetGovernorate() != "TN-71" || p.GetOccupations()[0].GetRome() != "A1401" || p.GetLanguages()[0].GetCefr() != "A2" ||
		!slices.Equal(p.GetCompetences(), want.Competences) {
		t.Errorf("profile: %v", p)
	}
}

// with sets members of the good record, "" removes one.
func variant(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(goodRecord), &m); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			delete(m, pairs[i])
		} else {
			m[pairs[i]] = json.RawMessage(pairs[i+1])
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wrong gives "path:code" of everything that is wrong with a record.
func wrong(data []byte) []string {
	rec, fields := decodeRecord(data, reference.EmbeddedOccupations())
	if fields == nil {
		c := Candidate{}.with(rec)
		fields = once(c.check(testNow))
	}
	var out []string
	for _, f := range fields {
		out = append(out, f.Path+":"+f.Code)
	}
	return out
}

func TestWrongRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs []string
		want  string
	}{
		{"cin too short", []string{"national_id", `"1234567"`}, "national_id:format"},
		{"cin a number", []string{"national_id", `12345678`}, "national_id:type"},
		{"passport", []string{"passport", `"X-1"`}, "passport:format"},
		{"no name", []string{"family_name", "", "family_name_ar", ""}, "family_name:required"},
		{"a name of digits", []string{"family_name", `"R2D2"`}, "family_name:format"},
		{"a name of dots", []string{"given_name", `"..."`}, "given_name:format"},
		{"latin in the arabic name", []string{"given_name_ar", `"Hedi"`}, "given_name_ar:script"},
		{"sex", []string{"sex", `"X"`}, "sex:unknown"},
		{"no birth", []string{"birth_date", ""}, "birth_date:required"},
		{"30 February", []string{"birth_date", `"1995-02-30"`}, "birth_date:date"},
		{"french date", []string{"birth_date", `"30/04/1995"`}, "birth_date:date"},
		{"17 years", []string{"birth_date", `"2008-03-03"`}, "birth_date:minor"},
		{"born in the future", []string{"birth_date", `"2095-04-30"`}, "birth_date:minor"},
		{"101 years", []string{"birth_date", `"1925-03-01"`}, "birth_date:range"},
		{"governorate", []string{"governorate", `"TN-99"`}, "governorate:unknown"},
		{"no governorate", []string{"governorate", ""}, "governorate:required"},
		{"mail", []string{"email", `"Hédi <h@x.tn>"`}, "email:format"},
		{"mail without a domain", []string{"email", `"h@x"`}, "email:format"},
		{"mail injection", []string{"email", `"h@x.tn\r\nBcc: all@x.tn"`}, "email:format"},
		{"phone", []string{"phone", `"123"`}, "phone:format"},
		{"language", []string{"language", `"de"`}, "language:unknown"},
		{"diploma", []string{"diploma_level", `"magician"`}, "diploma_level:unknown"},
		{"competences by name", []string{"competences", `["100023","Abattre un arbre","0100023",""]`}, "competences[1]:format competences[2]:format competences[3]:format"},
		{"a competence as a number", []string{"competences", `[100023]`}, "competences[0]:type"},
		{"too many competences", []string{"competences", "[" + strings.Repeat(`"100023",`, 100) + `"100023"]`}, "competences:too_many"},
		{"rome", []string{"occupations", `[{"rome":"1401","experience_months":1}]`}, "occupations[0].rome:format"},
		{"rome twice", []string{"occupations", `[{"rome":"A1401"},{"rome":"a1401"}]`}, "occupations[1].rome:duplicate"},
		{"experience", []string{"occupations", `[{"rome":"A1401","experience_months":-1}]`}, "occupations[0].experience_months:range"},
		{"cefr", []string{"languages", `[{"code":"fr","cefr":"A9"}]`}, "languages[0].cefr:unknown"},
		{"language code", []string{"languages", `[{"code":"french","cefr":"A1"}]`}, "languages[0].code:format"},
		{"licence", []string{"licences", `["B","Z"]`}, "licences[1]:unknown"},
		{"order", []string{"available_to", `"2026-04-30"`}, "available_to:order"},
		{"scheme", []string{"schemes", `["agri","moon"]`}, "schemes[1]:unknown"},
		{"region", []string{"regions", `["99"]`}, "regions[0]:unknown"},
		{"consent", []string{"consents", `["everything"]`}, "consents[0]:unknown"},
		{"unknown member", []string{"salary", `1`}, "salary:unknown"},
		{"wrong type", []string{"licences", `"B"`}, "licences:type"},
		{"too long", []string{"ref", `"` + strings.Repeat("x", 101) + `"`}, "ref:too_long"},
		{"too many", []string{"licences", `[` + strings.Repeat(`"B",`, 30) + `"B"]`}, "licences:too_many"},
		{"all at once", []string{"sex", `"X"`, "phone", `"1"`, "language", `"de"`}, "sex:unknown phone:format language:unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(wrong(variant(t, c.pairs...)), " "); got != c.want {
				t.Errorf("wrong is %q, want %q", got, c.want)
			}
		})
	}
	for _, data := range []string{``, `{`, `[]`, `"x"`, `null x`, "{\"ref\":\"\xff\"}"} {
		if got := wrong([]byte(data)); len(got) == 0 {
			t.Errorf("%q passes", data)
		}
	}
}

func TestAcceptedVariants(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs []string
		check func(c Candidate) bool
	}{
		{"18 today", []string{"birth_date", `"2008-03-02"`}, func(c Candidate) bool { return c.BirthDate == "2008-03-02" }},
		{"governorate in French", []string{"governorate", `"Béja"`}, func(c Candidate) bool { return c.Governorate == "TN-31" }},
		{"governorate in Arabic", []string{"governorate", `"قفصة"`}, func(c Candidate) bool { return c.Governorate == "TN-71" }},
		{
			"Arabic names in the Latin columns",
			[]string{"family_name", `"بن علي"`, "given_name", `"الهادي"`, "family_name_ar", "", "given_name_ar", ""},
			func(c Candidate) bool { return c.FamilyName == "" && c.FamilyNameAR == "بن علي" },
		},
		{"00216", []string{"phone", `"00 216 20.123.456"`}, func(c Candidate) bool { return c.Phone == "+21620123456" }},
		{"a French number", []string{"phone", `"+33 (6) 12-34-56-78"`}, func(c Candidate) bool { return c.Phone == "+33612345678" }},
		{"empty cells", []string{"sex", `""`, "email", `"  "`, "passport", `""`}, func(c Candidate) bool { return c.Sex == "" && c.Email == "" }},
		{"null is absent", []string{"sex", `null`}, func(c Candidate) bool { return c.Sex == "" }},
		{"no language", []string{"language", ""}, func(c Candidate) bool { return c.Language == "fr" }},
		{"direction marks", []string{"given_name", `"\u200fH\u00e9di\u200e"`}, func(c Candidate) bool { return c.GivenName == "Hédi" }},
		{"decomposed accents", []string{"given_name", `"He\u0301di"`}, func(c Candidate) bool { return c.GivenName == "Hédi" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := variant(t, c.pairs...)
			if faults := wrong(data); len(faults) > 0 {
				t.Fatal(faults)
			}
			rec, _ := decodeRecord(data, reference.EmbeddedOccupations())
			if got := (Candidate{}).with(rec); !c.check(got) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestReasonsNeverQuoteValues(t *testing.T) {
	data := variant(t, "national_id", `"9876543"`, "passport", `"canary!"`, "family_name", `"Canary9"`, "given_name", `"9"`, "birth_date", `"canary"`,
		"email", `"canary"`, "phone", `"canary"`, "governorate", `"canary"`, "sex", `"canary"`, "language", `"canary"`)
	_, fields := decodeRecord(data, reference.EmbeddedOccupations())
	if len(fields) < 10 {
		t.Fatalf("only %d faults: %v", len(fields), fields)
	}
	text := strings.ToLower(fmt.Sprint(fields, api.Invalid(fields...)))
	if strings.Contains(text, "canary") || strings.Contains(text, "9876543") {
		t.Errorf("a reason quotes a value: %s", text)
	}
}

func TestAbsentFieldsStay(t *testing.T) {
	rec, _ := decodeRecord([]byte(goodRecord), reference.EmbeddedOccupations())
	stored := Candidate{}.with(rec)
	patch, fields := decodeRecord([]byte(`{"national_id":"01234567","phone":"98 765 432","licences":[]}`), reference.EmbeddedOccupations())
	if fields != nil {
		t.Fatal(fields)
	}
	got := stored.with(patch)
	want := stored
	want.Phone, want.Licences = "+21698765432", nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if !got.same(got.with(patch)) {
		t.Error("the same record twice is a change")
	}
}

func TestIdentities(t *testing.T) {
	ring := testRing(t)
	text := func(s string) *string { return &s }
	kinds := func(ids []string) string {
		var out []string
		for _, id := range ids {
			kind, _, _ := strings.Cut(id, ":")
			out = append(out, kind)
		}
		return strings.Join(out, " ")
	}
	c := &Candidate{Ref: "A-1", FamilyName: "Ben Ali", GivenName: "Hédi", BirthDate: "1995-04-30", Governorate: "TN-71"}
	if got := kinds(ring.identities(c, nil, text("01234567"), text("X123456"))); got != "cin passport" {
		t.Errorf("with numbers: %s", got)
	}
	byReference := ring.identities(c, nil, nil, nil)
	if got := kinds(byReference); got != "ref" {
		t.Errorf("without numbers: %s", got)
	}
	// A number added later does not make the list forget the person.
	if got := kinds(ring.identities(c, byReference, text("01234567"), nil)); got != "cin ref" {
		t.Errorf("number added: %s", got)
	}
	c.Ref = ""
	byNames := ring.identities(c, nil, nil, nil)
	if got := kinds(byNames); got != "name" {
		t.Errorf("names only: %s", got)
	}
	same := &Candidate{FamilyName: "BENALI", GivenName: "Hedi", BirthDate: "1995-04-30", Governorate: "TN-71"}
	if !slices.Equal(byNames, ring.identities(same, nil, nil, nil)) {
		t.Error("case, accents and spaces make another person")
	}
	other := &Candidate{FamilyName: "Ben Ali", GivenName: "Hedi", BirthDate: "1995-05-30", Governorate: "TN-71"}
	if slices.Equal(byNames, ring.identities(other, nil, nil, nil)) {
		t.Error("another date of birth makes the same person")
	}
	old := ring.identities(c, nil, text("01234567"), nil)
	if got := ring.identities(c, old, nil, nil); !slices.Equal(got, old) {
		t.Errorf("a number that is not given again is lost: %v", kinds(got))
	}
	if got := kinds(ring.identities(c, old, text(""), nil)); got != "name" {
		t.Errorf("a number that is removed: %s", got)
	}
	if _, yes := contradicts(old, ring.identities(c, nil, text("99999999"), nil)); !yes {
		t.Error("two different numbers are one person's")
	}
	if _, yes := contradicts(old, byNames); yes {
		t.Error("a number and a name contradict each other")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(goodRecord))
	f.Add([]byte(`{"rows":[]}`))
	f.Add([]byte(`{"competences":["100023","100023","x",""]}`))
	f.Add([]byte(`{"licences":["b",null],"occupations":[null],"family_name":"\u200f"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, fields := decodeRecord(data, reference.EmbeddedOccupations())
		if (rec == nil) == (fields == nil) {
			t.Fatal("neither a record nor a reason")
		}
		if rec == nil {
			for _, field := range fields {
				if field.Code == "" || field.Reason == "" {
					t.Fatalf("a fault without code or reason: %+v", field)
				}
			}
			return
		}
		c := Candidate{}.with(rec)
		if len(c.check(testNow)) > 0 {
			return
		}
		// What is stored is clean already: cleaning it again changes nothing.
		shown, err := json.Marshal(card(docOf(c)).Record)
		if err != nil {
			t.Fatal(err)
		}
		again, fields := decodeRecord(shown, reference.EmbeddedOccupations())
		if fields != nil {
			t.Fatalf("what was accepted is refused when it comes back: %v", fields)
		}
		if second := (Candidate{}).with(again); !second.same(c) {
			t.Fatalf("first %+v\nthen %+v", c, second)
		}
	})
}
