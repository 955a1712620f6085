package shortage

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const head = "source,country,zone,nomenclature,occupation,period,measure,value\n"

func read(t *testing.T, text string) (*Dataset, Report) {
	t.Helper()
	d, report, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return d, report
}

func TestSeries(t *testing.T) {
	d, _ := read(t, head+"aneti,TN,TN-71,ROME,A1401,2026-Q3,offers,12.50\naneti,TN,TN-71,ROME,A1401,2026-Q3,seekers_in,*\n")
	if d.Source != "aneti" || d.Name() != "aneti-2026-q3" || len(d.Observations) != 2 {
		t.Errorf("%+v", d)
	}
	if o := d.Observations[0]; o.Value.String() != "12.5" || o.Rows != 1 || o.Zone != "TN-71" {
		t.Errorf("%+v", o)
	}
	if o := d.Observations[1]; o.Rows != 0 || o.HiddenRows != 1 {
		t.Errorf("%+v", o)
	}
	// As spreadsheets of the region write it.
	semi, _ := read(t, "\ufeff"+strings.ReplaceAll(head, ",", ";")+"aneti;TN;TN-71;ROME;A1401;2026-Q3;offers;12,5\n;;;;;;;\n")
	if semi == nil || !semi.Observations[0].Value.Equal(d.Observations[0].Value) {
		t.Errorf("%+v", semi)
	}
}

// Every wrong cell is named with its line, column and value, in both languages, and
// then nothing of the file is taken.
func TestSeriesFaults(t *testing.T) {
	good := "aneti,TN,TN-71,ROME,A1401,2026-Q3,offers,12\n"
	for _, x := range []struct{ row, column, value, code string }{
		{"ANETI,TN,TN-71,ROME,A1401,2026-Q3,exits,1", "source", "ANETI", "source"},
		{"masar,TN,TN-71,ROME,A1401,2026-Q3,exits,1", "source", "masar", "source"},
		{"other,TN,TN-71,ROME,A1401,2026-Q3,exits,1", "source", "other", "sources"},
		{"aneti,FR,TN-71,ROME,A1401,2026-Q3,exits,1", "country", "FR", "country"},
		{"aneti,TN,TN-99,ROME,A1401,2026-Q3,exits,1", "zone", "TN-99", "zone"},
		{"aneti,TN,TN-71,FAP,A0Z40,2026-Q3,exits,1", "nomenclature", "FAP", "nomenclature"},
		{"aneti,TN,TN-71,ROME,A0Z40,2026-Q3,exits,1", "occupation", "A0Z40", "occupation"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q5,exits,1", "period", "2026-Q5", "period"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exit,1", "measure", "exit", "measure"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits,", "value", "", "required"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits,1e999999999", "value", "1e999999999", "number"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits,-1", "value", "-1", "range"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,offers,12", "value", "12", "duplicate"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,offers_durable,13", "value", "13 > 12 (offers, ligne 2)", "part"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits", "", "7", "columns"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits,\"1\"2", "", "", "csv"},
		{"aneti,TN,TN-71,ROME,A1401,2026-Q3,exits,\xff", "value", "?", "text"},
	} {
		d, report := read(t, head+good+x.row+"\n")
		if d != nil || len(report.Errors) == 0 {
			t.Errorf("%s was taken", x.row)
			continue
		}
		e := report.Errors[0]
		if e.Line != 3 || e.Column != x.column || e.Value != x.value || e.Code != x.code || e.ReasonFR == "" || e.ReasonAR == "" {
			t.Errorf("%s: %+v", x.row, e)
		}
	}
	for _, text := range []string{"", "a,b,c\n1,2,3\n", head} {
		var whole *FileError
		if _, _, err := Read(strings.NewReader(text)); !errors.As(err, &whole) || whole.FR == "" || whole.AR == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Two nomenclatures of FAP, whose codes look alike, are never joined.
func TestFAPsAreNeverJoined(t *testing.T) {
	_, report := read(t, "from_nomenclature,from_code,to_nomenclature,to_code\nFAP2009,A0Z40,FAP2021,A0X40\n")
	if len(report.Errors) != 1 || report.Errors[0].Code != "direct" {
		t.Errorf("%+v", report)
	}
	if _, err := NewPassage([]Link{{From: Occupation{FAP2021, "A0X40"}, To: Occupation{FAP2009, "A0X40"}}}); err == nil {
		t.Error("there is a passage between the FAPs")
	}
	b := NewBook()
	d, _ := read(t, strings.Replace(head, "\n", ",label\n", 1)+"x1,FR,FR,FAP2021,T2A60,2025,projects,10,Aides à domicile\n")
	if err := b.Add(d); err != nil {
		t.Fatal(err)
	}
	if b.Label(Occupation{FAP2009, "T2A60"}) != "" || b.Label(Occupation{FAP2021, "T2A60"}) == "" {
		t.Error("a code of one FAP has the name of the other's")
	}
	if rows := b.Table(Query{Zone: "FR", Nomenclature: FAP2009, Period: "2025"}, Settings{}).Rows; len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
}

// Spreading loses nothing but what has no link, and says what that is.
func TestSpread(t *testing.T) {
	d, _ := read(t, "from_nomenclature,from_code,to_nomenclature,to_code,weight\nRTMC,a,ROME,A1401,3\nRTMC,a,ROME,A1402,1\nRTMC,b,ROME,A1402,2\n")
	p, err := NewPassage(d.Links)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		rows, want := map[Occupation]Inputs{}, 0.0
		for _, code := range []string{"a", "b", "c"} {
			n := float64(rapid.IntRange(0, 1000).Draw(t, code))
			rows[Occupation{RTMC, code}] = Inputs{Offers: {Number: n, Rows: 1}, Index: {Number: 9, Rows: 1}}
			if code != "c" {
				want += n
			}
		}
		out, lost := p.Spread(rows)
		got := 0.0
		for _, in := range out {
			got += in[Offers].Number
			if _, ok := in[Index]; ok {
				t.Fatal("an index was spread")
			}
		}
		if math.Abs(got-want) > 1e-9 || !slices.Equal(lost, []Occupation{{RTMC, "c"}}) {
			t.Fatalf("%v of %v, lost %v", got, want, lost)
		}
		if a := out[Occupation{ROME, "A1401"}][Offers].Number; a != 0.75*rows[Occupation{RTMC, "a"}][Offers].Number {
			t.Fatalf("by weight: %v", a)
		}
	})
}

// A file that unpacks to more than is read is refused, not read.
func TestBomb(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(strings.Replace(head, "\n", ",note\n", 1)))
	row := slices.Concat([]byte("aneti,TN,TN-71,ROME,A1401,2026-Q3,offers,12,"), bytes.Repeat([]byte("x"), 1<<18), []byte("\n"))
	for range mostBytes/len(row) + 2 {
		_, _ = z.Write(row)
	}
	_ = z.Close()
	var whole *FileError
	if _, _, err := Read(&packed); !errors.As(err, &whole) {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		head + "aneti,TN,TN-71,ROME,A1401,2026-Q3,offers,12.5\naneti,TN,TN-71,ROME,A1401,2026-Q3,exits,*\n",
		"annee,Code métier BMO,Nom métier BMO,Famille_met,Lbl_fam_met,REG,NOM_REG,Dept,NomDept,BE25,NOMBE25,met,xmet,smet\n2025,A0X40,Agriculteurs,Z,Autres,84,ARA,01,Ain,101,B,26,*,26\n",
		"fap,Emploi moyen,Tension ,Catégorie Tension,Intensité d'embauches,Lien formation-emploi,Manque de main-d'œuvre disponible,Non-durabilité de l'emploi,Conditions de travail contraignantes,Inadéquation géographique,Année,niveau_geo,niveau_fap,reg,dep\nA0Z40,63100,-0.006,3.0,5.0,3.0,2.0,5.0,4.0,5.0,2019,reg ,fap 225,1.0,\n",
		"fap,Tension ,Année\nA0Z40,-0.479,2011\n",
		"Fap;Rome;intitule_rome\nA0Z40;A1416;Polyculture, \xe9levage\nA0Z00;NA;NA\n",
		"ROME;Intitule_ROME;Qualif;FAP341;Intitule_FAP341\nA1101;Conduite;0;A0X43a;Conducteurs\n",
		"from_nomenclature,from_code,to_nomenclature,to_code,weight\nRTMC,a,ROME,A1401,3\n",
		"\x1f\x8b", "\ufeff", "\"", ";;;\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, report, err := Read(bytes.NewReader(data))
		if d != nil && (err != nil || report.Faults > 0) || d == nil && err == nil && report.Faults == 0 {
			t.Fatalf("%v, %+v, %v", d, report, err)
		}
		if d == nil {
			return
		}
		_ = d.Name()
		b := NewBook()
		if err := b.Add(d); err != nil {
			t.Fatal(err)
		}
		for _, o := range d.Observations {
			if _, err := ParseOccupation(o.Occupation.Nomenclature, o.Occupation.Code); err != nil {
				t.Fatal(err)
			}
			if _, err := ParseZone(string(o.Zone)); err != nil {
				t.Fatal(err)
			}
			for _, r := range b.Table(Query{Zone: o.Zone, Nomenclature: o.Occupation.Nomenclature, Period: o.Period}, Settings{}).Rows {
				if r.T != nil && (math.IsNaN(*r.T) || math.IsInf(*r.T, 0)) {
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}
