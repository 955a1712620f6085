package employers

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/reference"

	"masar.local/pkg/opendata"
)

// realOffers are the 605 offers of two departments, as published.
func realOffers(t testing.TB) (rows []json.RawMessage) {
	t.Helper()
	for _, name := range []string{"ft_dep01_2025-08.jsonl", "ft_dep07_2025-05.jsonl"} {
		f, err := os.Open(opendata.Path(t, filepath.Join("offres", name)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			rows = append(rows, slices.Clone(lines.Bytes()))
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func TestRealOffersAreAllTaken(t *testing.T) {
	rows := realOffers(t)
	if len(rows) != 605 {
		t.Fatalf("%d rows, want 605", len(rows))
	}
	var answer struct{ Resultats []json.RawMessage }
	text, err := os.ReadFile(opendata.Path(t, "offres/reponse_api_exemple.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	rows = append(rows, answer.Resultats...)

	count, asked, required := map[string]int{}, 0, 0
	texts, understood := map[string]bool{}, map[string]bool{}
	for i, row := range rows {
		c, wrong := readFranceTravail(row)
		if wrong != nil {
			t.Errorf("row %d refused: %+v", i, wrong)
			continue
		}
		for _, note := range c.Notes {
			count[note.Code]++
		}
		for _, competence := range c.competences() {
			asked++
			if competence.Required {
				required++
			}
		}
		if c.Place.Departement == "" || c.Place.Region == "" {
			t.Errorf("row %d: no department in %+v", i, c.Place)
		}
		if c.Pay.Text != "" {
			texts[c.Pay.Text] = true
			if c.Pay.MaxCents > 0 {
				understood[c.Pay.Text] = true
			}
		}
		if strings.Contains(c.Pay.Text, "Euro") && c.Pay.MaxCents == 0 && !slices.ContainsFunc(c.Notes, func(n Note) bool { return strings.HasPrefix(n.Code, "salary") }) {
			t.Errorf("row %d: pay %q was dropped without a note", i, c.Pay.Text)
		}
		if c.Hours.Text != "" && strings.ContainsAny(c.Hours.Text, "0123456789") && c.Hours.Week == 0 {
			t.Errorf("row %d: hours %q not understood", i, c.Hours.Text)
		}
		if strings.ContainsAny(c.Experience.Text, "0123456789") && c.Experience.Months == 0 {
			t.Errorf("row %d: experience %q not understood", i, c.Experience.Text)
		}
		if strings.Contains(c.Contract.Text, " - ") && c.Contract.Months == 0 {
			t.Errorf("row %d: contract %q not understood", i, c.Contract.Text)
		}
	}
	// Counted by other means over the same 610 rows: 197 distinct pay texts, of
	// which 8 cannot be what they say and one names no amount.
	if len(texts) != 197 || len(texts)-len(understood) != 9 {
		t.Errorf("%d distinct pay texts, %d not understood; want 197 and 9", len(texts), len(texts)-len(understood))
	}
	if count["salary_text"] != 0 || count["type"] != 0 || count["date"] != 0 || count["licence"] != 0 || count["language"] != 0 || count["diploma"] != 0 || count["rome"] != 0 {
		t.Errorf("unexpected notes: %v", count)
	}
	// Likewise: 747 competences with a code in 163 offers, 159 of them required; 13
	// offers ask for something in their own words.
	if asked != 747 || required != 159 || count["competence"] != 13 {
		t.Errorf("%d competences, %d required, %d offers with others; want 747, 159, 13", asked, required, count["competence"])
	}
	t.Logf("notes: %v; pay texts understood: %d of %d", count, len(understood), len(texts))
}

// One real offer, every field by hand.
func TestOneRealOffer(t *testing.T) {
	rows := realOffers(t)
	at := slices.IndexFunc(rows, func(r json.RawMessage) bool {
		return strings.Contains(string(r), `"id": "1215299"`) || strings.Contains(string(r), `"id":"1215299"`)
	})
	if at < 0 {
		t.Fatal("offer 1215299 is not there")
	}
	c, wrong := readFranceTravail(rows[at])
	if wrong != nil {
		t.Fatal(wrong)
	}
	if c.Title != "Opérateur(trice) machine de pliage F/H - ENERGIS RH Villefranche-sur-Saône (H/F)" || !strings.HasPrefix(c.Description, "Opérateur(trice) machine de pliage H/F") {
		t.Errorf("title %q, description %.40q", c.Title, c.Description)
	}
	c.Title, c.Description = "", ""
	published := time.Date(2025, 8, 21, 2, 29, 58, 0, time.UTC)
	want := Content{
		SourceID: "1215299", EmployerName: "ENERGIS RH Villefranche-sur-Saône",
		ROME: "H2903", ROMELabel: "Tourneur-fraiseur / Tourneuse-fraiseuse", JobTitle: "Opérateur / Opératrice de centre d'usinage",
		Sector: "industrie", NAF: "78.20Z",
		Place:       Place{Text: "01 - CONFRANCON", Commune: "01115", Postcode: "01310", Departement: "01", Region: "84", Latitude: 46.264765, Longitude: 5.065628},
		Contract:    Contract{Code: "MIS", Text: "Mission intérimaire - 6 Mois", Nature: "Contrat travail", Months: 6},
		Posts:       1,
		Experience:  Experience{Text: "Expérience exigée de 2 An(s)", Need: "E", Months: 24},
		Hours:       Hours{Text: "39 H", Week: 3900},
		Pay:         Pay{Text: "Autre de 2300,00 Euros à 2300,00 Euros", MinCents: 230000, MaxCents: 230000},
		PublishedAt: published, RevisedAt: published,
		Notes: []Note{{Path: "salaire.libelle", Code: "salary_period", Reason: "the period of the amount is not stated", Value: "Autre de 2300,00 Euros à 2300,00 Euros"}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
}

// minimal is an offer with a few members replaced or, with nil, left out.
func minimal(t testing.TB, changes map[string]any) json.RawMessage {
	t.Helper()
	row := map[string]any{
		"id": "193ABCD", "intitule": "Ouvrier viticole (H/F)", "dateCreation": "2026-03-01T08:00:00.000Z", "dateActualisation": "2026-03-02T08:00:00.000Z",
		"lieuTravail": map[string]any{"libelle": "01 - BOURG EN BRESSE", "commune": "01053", "codePostal": "01000"},
		"romeCode":    "A1401", "typeContrat": "SAI", "typeContratLibelle": "Saisonnier - 3 Mois", "nombrePostes": 2,
	}
	for k, v := range changes {
		if v == nil {
			delete(row, k)
		} else {
			row[k] = v
		}
	}
	raw, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOddRows(t *testing.T) {
	place := func(m map[string]any) map[string]any { return map[string]any{"lieuTravail": m} }
	for _, c := range []struct {
		name    string
		changes map[string]any
		refused string // path of the reason
		note    string // path:code that must be among the notes
		check   func(Content) bool
	}{
		{name: "as it should be", check: func(c Content) bool {
			return c.Sector == "agriculture" && c.Scheme == "agri" && c.Posts == 2 && len(c.Notes) == 0
		}},
		{name: "no id", changes: map[string]any{"id": nil}, refused: "id"},
		{name: "id is an object", changes: map[string]any{"id": map[string]any{"a": 1}}, refused: "id"},
		{name: "id of a book", changes: map[string]any{"id": strings.Repeat("9", 300)}, refused: "id"},
		{name: "id is a number", changes: map[string]any{"id": 1250534}, note: "id:type", check: func(c Content) bool { return c.SourceID == "1250534" }},
		{name: "empty title", changes: map[string]any{"intitule": "  "}, refused: "intitule"},
		{name: "no date at all", changes: map[string]any{"dateCreation": nil, "dateActualisation": nil}, refused: "dateCreation"},
		{name: "impossible date", changes: map[string]any{"dateCreation": "2026-02-30T08:00:00.000Z"}, refused: "dateCreation"},
		{name: "not a date", changes: map[string]any{"dateActualisation": "hier"}, refused: "dateActualisation"},
		{name: "a date of another age", changes: map[string]any{"dateActualisation": "0001-01-01T00:00:00Z"}, refused: "dateActualisation"},
		{name: "a date as a number", changes: map[string]any{"dateCreation": 45012}, refused: "dateCreation"},
		{name: "only the creation", changes: map[string]any{"dateActualisation": nil}, check: func(c Content) bool { return c.RevisedAt.Equal(c.PublishedAt) }},
		{name: "only the revision", changes: map[string]any{"dateCreation": ""}, note: "dateCreation:missing"},
		{name: "a date with a zone", changes: map[string]any{"dateActualisation": "2026-03-02T10:00:00+02:00"}, check: func(c Content) bool {
			return c.RevisedAt.Equal(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
		}},
		{name: "a bare day", changes: map[string]any{"dateActualisation": "2026-03-02"}, check: func(c Content) bool { return c.RevisedAt.Day() == 2 }},
		{name: "unknown fields", changes: map[string]any{"nouveauChamp": map[string]any{"x": []int{1}}}, check: func(c Content) bool { return len(c.Notes) == 0 }},
		{name: "wrong types everywhere", changes: map[string]any{
			"description": []int{1}, "romeCode": map[string]any{}, "entreprise": "Dupont", "lieuTravail": 7, "salaire": []int{}, "langues": "Français",
			"permis": 3, "formations": true, "competences": map[string]any{"libelle": "Tailler"}, "typeContrat": 5, "nombrePostes": "beaucoup", "experienceExige": false, "dureeTravailLibelle": 35,
		}, note: "nombrePostes:range", check: func(c Content) bool {
			return c.Posts == 1 && c.Description == "" && len(c.Skills) == 1 && c.Place.Departement == "" && len(c.Languages) == 0
		}},
		{name: "posts missing", changes: map[string]any{"nombrePostes": nil}, note: "nombrePostes:missing", check: func(c Content) bool { return c.Posts == 1 }},
		{name: "posts as a text", changes: map[string]any{"nombrePostes": "12"}, check: func(c Content) bool { return c.Posts == 12 }},
		{name: "posts below one", changes: map[string]any{"nombrePostes": 0}, note: "nombrePostes:range"},
		{name: "posts and a half", changes: map[string]any{"nombrePostes": 1.5}, note: "nombrePostes:range"},
		{name: "posts beyond reason", changes: map[string]any{"nombrePostes": 1e300}, note: "nombrePostes:range"},
		{name: "a code outside the table", changes: map[string]any{"romeCode": "Z9999"}, check: func(c Content) bool { return c.ROME == "Z9999" && c.Sector == "autre" && c.Scheme == "" }},
		{name: "no code", changes: map[string]any{"romeCode": nil}, note: "romeCode:rome", check: func(c Content) bool { return c.ROME == "" && c.Sector == "autre" }},
		{name: "Corsica", changes: place(map[string]any{"libelle": "2A - AJACCIO", "commune": "2A004", "codePostal": "20000"}), check: func(c Content) bool { return c.Place.Departement == "2A" && c.Place.Region == "94" }},
		{name: "Corsica by the label", changes: place(map[string]any{"libelle": "2B - Haute-Corse"}), check: func(c Content) bool { return c.Place.Departement == "2B" }},
		{name: "La Réunion", changes: place(map[string]any{"libelle": "974 - ST DENIS", "commune": "97411"}), check: func(c Content) bool { return c.Place.Departement == "974" && c.Place.Region == "04" }},
		{name: "a department only", changes: place(map[string]any{"libelle": "01 - Ain"}), check: func(c Content) bool { return c.Place.Departement == "01" && c.Place.Commune == "" }},
		{name: "a region only", changes: place(map[string]any{"libelle": "Auvergne-Rhône-Alpes"}), note: "lieuTravail:departement"},
		{name: "France", changes: place(map[string]any{"libelle": "France"}), note: "lieuTravail:departement"},
		{name: "a commune that is none", changes: place(map[string]any{"libelle": "01 - X", "commune": "99999"}), note: "lieuTravail.commune:commune", check: func(c Content) bool { return c.Place.Departement == "01" }},
		{name: "off the globe", changes: place(map[string]any{"libelle": "01 - X", "latitude": 460.2, "longitude": "cinq"}), note: "lieuTravail.latitude:range"},
		{
			name: "a language in full", changes: map[string]any{"langues": []any{map[string]any{"libelle": "Français", "exigence": "E"}, map[string]any{"libelle": "Français", "exigence": "E"}, map[string]any{"libelle": "Klingon"}}},
			note: "langues[2].libelle:language", check: func(c Content) bool {
				return len(c.Languages) == 2 && c.Languages[0] == Language{Code: "fr", Required: true, Text: "Français"} && c.Languages[1].Code == ""
			},
		},
		{
			name: "licences", changes: map[string]any{"permis": []any{map[string]any{"libelle": "CE - Poids lourd + remorque (= EC)", "exigence": "E"}, map[string]any{"libelle": "CACES"}}},
			note: "permis[1].libelle:licence", check: func(c Content) bool {
				return c.Licences[0].Category == "CE" && c.Licences[0].Required && c.Licences[1].Category == ""
			},
		},
		{
			name: "training", changes: map[string]any{"formations": []any{map[string]any{"niveauLibelle": "CAP, BEP et équivalents", "exigence": "S"}, 5, map[string]any{}}},
			note: "formations[1]:type", check: func(c Content) bool { return len(c.Training) == 1 && c.Training[0].Level == 3 },
		},
		{
			name: "competences", changes: map[string]any{"competences": []any{
				map[string]any{"code": "100023", "libelle": "Abattre un arbre", "exigence": "E"},
				map[string]any{"code": 125000, "exigence": "X"},
				map[string]any{"libelle": "sportif"},
				map[string]any{"code": "A1401"},
				map[string]any{},
			}},
			note: "competences[2].libelle:competence", check: func(c Content) bool {
				told := c.Notes[len(c.Notes)-1]
				return slices.Equal(c.competences(), []CompetenceRecord{{"100023", true}, {"125000", false}}) && len(c.Skills) == 4 &&
					strings.HasPrefix(told.Reason, "2 of 4 ") && told.Value == "sportif; A1401"
			},
		},
		{name: "an anonymous offer", changes: map[string]any{"entreprise": map[string]any{"entrepriseAdaptee": false}}, check: func(c Content) bool { return c.EmployerName == "" && c.EmployerID == "" }},
		{name: "nothing but nulls", changes: map[string]any{"description": json.RawMessage("null"), "entreprise": json.RawMessage("null"), "salaire": json.RawMessage("null"), "langues": json.RawMessage("null")}, check: func(c Content) bool { return len(c.Notes) == 0 }},
		{name: "a very long text", changes: map[string]any{"description": strings.Repeat("é", 30_000)}, note: "description:length", check: func(c Content) bool { return len([]rune(c.Description)) == maxText }},
		{name: "contacts", changes: map[string]any{"contact": map[string]any{"nom": "Jeanne Martin", "courriel": "jeanne@example.fr", "telephone": "0601020304"}}, check: func(c Content) bool {
			text, _ := json.Marshal(c)
			return !strings.Contains(string(text), "eanne") && !strings.Contains(string(text), "0601020304")
		}},
	} {
		got, wrong := readFranceTravail(minimal(t, c.changes))
		if c.refused != "" {
			if len(wrong) == 0 || wrong[0].Path != c.refused || wrong[0].Code == "" || wrong[0].Reason == "" {
				t.Errorf("%s: refused for %+v, want %s", c.name, wrong, c.refused)
			}
			continue
		}
		if wrong != nil {
			t.Errorf("%s: refused: %+v", c.name, wrong)
			continue
		}
		if c.note != "" && !slices.ContainsFunc(got.Notes, func(n Note) bool { return n.Path+":"+n.Code == c.note }) {
			t.Errorf("%s: notes %+v, want %s", c.name, got.Notes, c.note)
		}
		if c.check != nil && !c.check(got) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
	for _, raw := range []string{"", "null", "[]", `"x"`, "{", "17", `{"id":}`} {
		if _, wrong := readFranceTravail([]byte(raw)); len(wrong) != 1 || wrong[0].Code != "json" {
			t.Errorf("%q: refused for %+v, want json", raw, wrong)
		}
	}
}

func TestContactsInTheDescriptionAreTakenOut(t *testing.T) {
	for text, want := range map[string]string{
		"Écrire à jeanne.martin@verger-sud.fr ou appeler le 04 74 00 11 22.": "Écrire à [retiré] ou appeler le [retiré].",
		"Tél : 0601020304, +33 6 01 02 03 04, 04.74.00.11.22":                "Tél : [retiré], [retiré], [retiré]",
		"35 heures, 1 801,80 euros, du 01/04/2026 au 30-09-2026":             "35 heures, 1 801,80 euros, du 01/04/2026 au 30-09-2026",
		"SIRET 732 829 320 00074":                                            "SIRET 732 829 320 00074",
		"SIRET 73282932000074 réf. 2026-0412":                                "SIRET 73282932000074 réf. 2026-0412",
	} {
		if got := withoutContacts(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzFranceTravail(f *testing.F) {
	f.Add([]byte(minimal(f, nil)))
	f.Add([]byte(`{"id":1,"intitule":"x","dateCreation":"2026-01-01","langues":{"libelle":5},"salaire":{"libelle":"Mensuel de 9.9.9 Euros"},"nombrePostes":-1e99}`))
	f.Add([]byte(`{"id":"a\u0000b","intitule":"\ud800","dateCreation":"2026-01-01","permis":[[],null,{"libelle":"(="}]}`))
	f.Add([]byte(`{"id":"1","intitule":"x","dateCreation":"2026-01-01","competences":[{"code":"100023","exigence":"E"},{"code":100023},{"libelle":"sportif"},[],{"code":"٣"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, wrong := readFranceTravail(raw)
		if wrong != nil {
			if c.SourceID != "" && len(wrong) == 0 {
				t.Fatal("refused without a reason")
			}
			return
		}
		if c.SourceID == "" || c.Title == "" || c.PublishedAt.IsZero() || c.RevisedAt.IsZero() || c.Posts < 1 || len(c.Notes) > maxNotes {
			t.Fatalf("taken: %+v", c)
		}
		again, _ := readFranceTravail(raw)
		if again.digest() != c.digest() {
			t.Fatal("the same row reads differently twice")
		}
		for i, a := range c.competences() {
			if _, ok := reference.ItemCode(a.Code); !ok || i > 0 && a.Code <= c.competences()[i-1].Code {
				t.Fatalf("competences %+v", c.competences())
			}
		}
		// What others hear of it must be encodable.
		o := Offer{Origin: OriginFranceTravail, Content: c}
		if _, err := protoJSON(&o); err != nil {
			t.Fatal(err)
		}
	})
}
