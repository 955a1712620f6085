package reference

import (
	"compress/gzip"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"masar.local/pkg/opendata"
)

func TestGovernoratesAreFoundAsPeopleWriteThem(t *testing.T) {
	if n := len(Governorates()); n != 24 {
		t.Fatalf("%d governorates, want 24", n)
	}
	for text, want := range map[string]string{
		"TN-71": "TN-71", "tn71": "TN-71", " 71 ": "TN-71", "٧١": "TN-71", "Gafsa": "TN-71", "قفصة": "TN-71", "قفصه": "TN-71",
		"Le Kef": "TN-33", "El Kef": "TN-33", "KEF": "TN-33", "الكاف": "TN-33", "كاف": "TN-33", "Gouvernorat du Kef": "TN-33", "ولاية الكاف": "TN-33",
		"L'Ariana": "TN-12", "أريانة": "TN-12", "اريانه": "TN-12", "La Manouba": "TN-14", "منّوبة": "TN-14",
		"beja": "TN-31", "BÉJA": "TN-31", "Be\u0301ja": "TN-31", "Kebili": "TN-73", "gabes": "TN-81", "Médenine": "TN-82",
		"sidi-bouzid": "TN-43", "Sidi  Bou Zid": "TN-43", "القيروان": "TN-41", "قيروان": "TN-41", "Ben Arous": "TN-13", "Benarous": "TN-13",
	} {
		if g, ok := FindGovernorate(text); !ok || g.Code != want {
			t.Errorf("FindGovernorate(%q) = %q, %v; want %s", text, g.Code, ok, want)
		}
	}
	for _, text := range []string{"", " ", "ال", "le", "Paris", "99", "TN-99", "TN", "la la la"} {
		if g, ok := FindGovernorate(text); ok {
			t.Errorf("FindGovernorate(%q) = %s, want none", text, g.Code)
		}
	}
}

func TestGovernorateSurvivesArticlesCaseAndAccents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rapid.SampledFrom(Governorates()).Draw(t, "governorate")
		text := rapid.SampledFrom([]string{g.LabelFR, g.LabelEN, g.LabelAR, g.Code}).Draw(t, "label")
		text = rapid.SampledFrom([]string{"", " ", "Gouvernorat de ", "el ", "Al-", "ولاية "}).Draw(t, "before") + text
		text = rapid.SampledFrom([]func(string) string{strings.ToUpper, strings.ToLower, strings.TrimSpace}).Draw(t, "case")(text)
		if got, ok := FindGovernorate(text); !ok || got != g {
			t.Fatalf("FindGovernorate(%q) = %v, %v; want %s", text, got, ok, g.Code)
		}
	})
}

func TestDepartementsAndRegions(t *testing.T) {
	if n := len(Departements()); n != 101 {
		t.Fatalf("%d departments, want 101", n)
	}
	regions := map[string]bool{}
	for _, r := range Regions() {
		regions[r.Code] = true
	}
	used := map[string]bool{}
	for _, d := range Departements() {
		if !regions[d.Region] {
			t.Errorf("department %s is in region %q, which is none", d.Code, d.Region)
		}
		used[d.Region] = true
	}
	if len(used) != 18 {
		t.Errorf("%d regions have departments, want 18", len(used))
	}
	for commune, want := range map[string]string{
		"01053": "01", "2A004": "2A", "2b033": "2B", "97411": "974", "97608": "976", "75056": "75",
		"": "", "1053": "", "20004": "", "98818": "", "99100": "", "97801": "",
	} {
		if got := DepartementOfCommune(commune); got != want {
			t.Errorf("DepartementOfCommune(%q) = %q, want %q", commune, got, want)
		}
	}
	for postal, want := range map[string]string{
		"01000": "01", "20000": "2A", "20167": "2A", "20200": "2B", "20600": "2B", "97400": "974", "75008": "75", "": "", "2A000": "2A", "98800": "",
	} {
		if got := DepartementOfPostalCode(postal); got != want {
			t.Errorf("DepartementOfPostalCode(%q) = %q, want %q", postal, got, want)
		}
	}
	for departement, want := range map[string]string{"01": "84", "2A": "94", "2b": "94", "976": "06", "07": "84", "99": "", "": ""} {
		if got := Region(departement); got != want {
			t.Errorf("Region(%q) = %q, want %q", departement, got, want)
		}
	}
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]int{"A1": 1, "b1": 3, " C2 ": 6} {
		if rank, ok := CEFR(text); !ok || rank != want {
			t.Errorf("CEFR(%q) = %d, %v; want %d", text, rank, ok, want)
		}
	}
	for _, text := range []string{"", "A0", "B", "B3", "fluent"} {
		if rank, ok := CEFR(text); ok {
			t.Errorf("CEFR(%q) = %d, want none", text, rank)
		}
	}
	for text, want := range map[string]int{
		"CAP, BEP et équivalents": 3, "Bac ou équivalent": 4, "Bac+2 ou équivalents": 5, "Bac+3, Bac+4 ou équivalents": 6,
		"Bac+5 et plus ou équivalents": 7, "Aucune formation scolaire": 0, "doctorat": 8, "BTP": 3, "bac": 4, "4": 4, "niveau 3": 3, "الإجازة": 6,
	} {
		if level, ok := DiplomaLevel(text); !ok || level != want {
			t.Errorf("DiplomaLevel(%q) = %d, %v; want %d", text, level, ok, want)
		}
	}
	for _, text := range []string{"", "0", "9", "diplôme inconnu"} {
		if level, ok := DiplomaLevel(text); ok {
			t.Errorf("DiplomaLevel(%q) = %d, want none", text, level)
		}
	}
	if d, _ := FindDiploma("3"); d.Code != "cap" {
		t.Errorf("level 3 is named %q, want cap", d.Code)
	}
	if len(ExitCodes()) != 15 {
		t.Errorf("%d exit codes, want 15", len(ExitCodes()))
	}
	for _, s := range Schemes().All() {
		for _, e := range s.Exits {
			if !slices.Contains(ExitCodes(), e.Code) {
				t.Errorf("scheme %s has exit %s, which is not a common one", s.Code, e.Code)
			}
		}
	}
}

func TestLicences(t *testing.T) {
	for text, want := range map[string]string{
		"B - Véhicule léger": "B", "CE - Poids lourd + remorque (= EC)": "CE", "C - Poids lourd": "C", "b": "B", "EC": "CE",
		"B mention 79.06 (= EB)": "BE", "DE - Transport de personnes + remorque (= ED)": "DE", "D1E": "D1E", "AM - Cyclomoteur": "AM",
	} {
		if got, ok := Licence(text); !ok || got != want {
			t.Errorf("Licence(%q) = %q, %v; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", " ", "Véhicule léger", "CACES", "F"} {
		if got, ok := Licence(text); ok {
			t.Errorf("Licence(%q) = %q, want none", text, got)
		}
	}
	// Pairs read off the directive by hand.
	for pair, want := range map[string]bool{
		"CE>C": true, "CE>B": true, "CE>BE": true, "CE>C1E": true, "CE>C1": true, "CE>AM": true, "CE>D": false, "CE>DE": false, "CE>A": false,
		"C>B": true, "C>BE": false, "C>CE": false, "C>C1": true, "C1E>BE": true, "B>C": false, "B>B1": true, "B>AM": true, "B>A1": false,
		"A>A2": true, "A>A1": true, "A2>A1": true, "A1>A2": false, "DE>D1E": true, "DE>C": false, "D>B": true, "B>B": true, "AM>B": false, ">B": false, "B>": false,
	} {
		have, need, _ := strings.Cut(pair, ">")
		if got := LicenceCovers(have, need); got != want {
			t.Errorf("LicenceCovers(%q, %q) = %v, want %v", have, need, got, want)
		}
	}
	if !LicencesCover([]string{"CE", "D"}, "DE") {
		t.Error("CE with D must cover DE (art. 6(2)(b))")
	}
}

func TestLicenceCoverIsAnOrder(t *testing.T) {
	categories := rapid.SampledFrom([]string{"AM", "A1", "A2", "A", "B1", "B", "BE", "C1", "C1E", "C", "CE", "D1", "D1E", "D", "DE"})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := categories.Draw(t, "a"), categories.Draw(t, "b"), categories.Draw(t, "c")
		if !LicenceCovers(a, a) {
			t.Fatalf("%s does not cover itself", a)
		}
		if a != b && LicenceCovers(a, b) && LicenceCovers(b, a) {
			t.Fatalf("%s and %s cover each other", a, b)
		}
		if LicenceCovers(a, b) && LicenceCovers(b, c) && !LicenceCovers(a, c) {
			t.Fatalf("%s covers %s, which covers %s, but %s does not cover it", a, b, c, a)
		}
	})
}

func TestSectorsAndSchemes(t *testing.T) {
	for rome, want := range map[string]string{
		"A1401": "agriculture", "A1444": "agriculture", "a1416": "agriculture", "J1501": "soin", "K1302": "soin", "K1311": "soin",
		"N4101": "transport", "H2913": "industrie", "G1602": "thr", "H2402": "confection", "M1607": "autre", "": "autre", "ZZZ": "autre",
	} {
		if got := Sector(rome); got != want {
			t.Errorf("Sector(%q) = %q, want %q", rome, got, want)
		}
	}
	for pair, want := range map[string]string{
		"agriculture>SAI": "agri", "agriculture>CDD": "agri", "agriculture>cdd": "agri", "agriculture>CDI": "", "agriculture>MIS": "",
		"soin>CDI": "soin", "soin>CDD": "soin", "soin>": "soin", "soin>LIB": "", "autre>CDD": "", "thr>SAI": "", ">": "",
	} {
		sector, contract, _ := strings.Cut(pair, ">")
		if got := SchemeOf(sector, contract); got != want {
			t.Errorf("SchemeOf(%q, %q) = %q, want %q", sector, contract, got, want)
		}
	}
	for _, s := range Schemes().All() {
		if !slices.ContainsFunc(EmbeddedOccupations().Codes(), func(c string) bool { return Sector(c) == s.Sector }) {
			t.Errorf("scheme %s is of sector %q, in which there is no occupation", s.Code, s.Sector)
		}
	}
}

func TestROMEAsDelivered(t *testing.T) {
	dir := opendata.Path(t, "rome")
	o, err := ImportROME(dir)
	if err != nil {
		t.Fatal(err)
	}
	parents, names, links, items, core := map[string]bool{}, 0, 0, 0, 0
	for _, j := range o.Jobs {
		items += len(j.Items)
		for _, item := range j.Items {
			if label, ok := o.Item(item.Code); !ok || label == "" {
				t.Errorf("%s has item %s, which has no label", j.Code, item.Code)
			}
			if item.Core {
				core++
			}
		}
		parents[j.Parent] = true
		names += len(j.Names)
		links += len(j.Mobility)
		if o.Domains[j.Domain()] == "" || o.Domains[j.Code[:1]] == "" {
			t.Errorf("%s has no domain label", j.Code)
		}
	}
	if len(o.Jobs) != 1584 || len(parents) != 532 || names != 13120 || links != 14912 || !strings.HasPrefix(o.Version, "460-") || len(o.Domains) == 0 {
		t.Errorf("%d codes, %d parents, %d names, %d links, version %s; want 1584, 532, 13120, 14912, 460-...",
			len(o.Jobs), len(parents), names, links, o.Version)
	}
	if items != 104219 || core != 18900 || len(o.Items) != 33850 {
		t.Errorf("%d items on sheets, %d of them core, %d labels; want 104219, 18900, 33850", items, core, len(o.Items))
	}
	if label, ok := o.Item("100023"); !ok || label != "Abattre un arbre" {
		t.Errorf("item 100023 is %q", label)
	}
	if again, err := ImportROME(dir); err != nil || again.Version != o.Version {
		t.Errorf("imported again it has version %s, %v; want %s", again.Version, err, o.Version)
	}
	j, _ := o.Occupation("a1101")
	if j.LabelFR != "Conducteur / Conductrice d'engins agricoles" || j.ISCO != "8341" || j.Sector != "agriculture" || j.Mobility[4] != "A1201" || j.Mobility[5] != "A1102" {
		t.Errorf("A1101 is %+v", j)
	}
	// The embedded list says the same of the codes it knows.
	for _, code := range EmbeddedOccupations().Codes() {
		here, _ := Occupation(code)
		whole, ok := o.Occupation(code)
		if !ok || here.LabelFR != whole.LabelFR || here.Parent != whole.Parent || here.Sector != o.Sector(code) {
			t.Errorf("%s: embedded %+v, official %+v", code, here, whole)
		}
	}

	data := t.TempDir()
	if kept, err := Load(data); err != nil || kept != EmbeddedOccupations() {
		t.Fatalf("Load without a file: %v", err)
	}
	if err := o.Save(data); err != nil {
		t.Fatal(err)
	}
	kept, err := Load(data)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := kept.Occupation("A1101")
	if len(kept.Jobs) != 1584 || !slices.Equal(again.Mobility, j.Mobility) || !slices.Equal(again.Names, j.Names) ||
		!slices.Equal(again.Items, j.Items) || !maps.Equal(kept.Items, o.Items) || kept.Version != o.Version {
		t.Errorf("kept list differs: %d codes, A1101 %+v", len(kept.Jobs), again)
	}
}

func TestROMEFaultsAreNamed(t *testing.T) {
	good := map[string]string{
		"referentiel_code_rome":   "\"code_rome\",\"libelle_rome\",\"code_rome_parent\"\n\"A1101\",\"x\",\"A1101\"\n",
		"grand_domaine":           "code_grand_domaine,libelle_grand_domaine\nA,a\n",
		"domaine_professionnel":   "code_domaine_professionnel,libelle_domaine_professionnel\nA11,a\n",
		"rubrique_mobilite":       "code_rome,code_rome_cible,numero_ordre\nA1101,A1101,1\n",
		"referentiel_appellation": "libelle_appellation_long,code_rome\nx,A1101\n",
		"item":                    "code_ogr,libelle\n100023,abattre\n",
		"coherence_item":          "code_rome,code_ogr,coeur_metier\nA1101,100023,\n",
	}
	try := func(file, content string) error {
		dir := t.TempDir()
		for name, text := range good {
			if name == file {
				text = content
			}
			if text == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "unix_"+name+"_v999_utf8.csv"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ImportROME(dir)
		return err
	}
	if err := try("", ""); err != nil {
		t.Fatalf("good files: %v", err)
	}
	if err := try("referentiel_code_rome", "\ufeff"+good["referentiel_code_rome"]); err != nil {
		t.Fatalf("with a byte order mark: %v", err)
	}
	for _, c := range []struct{ file, content, want string }{
		{"referentiel_code_rome", "", "0 files unix_referentiel_code_rome"},
		{"referentiel_code_rome", "code\nA1101\n", `no column "code_rome"`},
		{"referentiel_code_rome", "code_rome,libelle_rome,code_rome_parent\nA11,x,A11\n", `"A11"`},
		{"referentiel_code_rome", "code_rome,libelle_rome,code_rome_parent\nA1101,x,A1102\n", `parent "A1102"`},
		{"referentiel_code_rome", "code_rome,libelle_rome,code_rome_parent\nA1101,x,A1101\nA1101,x,A1101\n", "twice"},
		{"rubrique_mobilite", "code_rome,code_rome_cible,numero_ordre\nA1101,B9999,1\n", "B9999"},
		{"rubrique_mobilite", "code_rome,code_rome_cible,numero_ordre\nA1101,A1101,first\n", "first"},
		{"referentiel_appellation", "libelle_appellation_long,code_rome\n\"x", "referentiel_appellation"},
		{"referentiel_appellation", "libelle_appellation_long,code_rome\nx,K9999\n", "K9999"},
		{"item", "code_ogr,libelle\nOGR1,x\n", "OGR1"},
		{"item", "code_ogr,libelle\n100023,\n", "100023"},
		{"item", "code_ogr,libelle\n100023,x\n100023,y\n", "once"},
		{"item", "", "0 files unix_item_v"},
		{"coherence_item", "code_rome,code_ogr,coeur_metier\nA1101,999,\n", "999"},
		{"coherence_item", "code_rome,code_ogr,coeur_metier\nB9999,100023,\n", "B9999"},
		{"coherence_item", "code_rome,code_ogr,coeur_metier\nA1101,100023,\nA1101,100023,Principale\n", "twice"},
		{"coherence_item", "code_rome,code_ogr\nA1101,100023\n", `no column "coeur_metier"`},
	} {
		if err := try(c.file, c.content); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %q: error %v, want %q", c.file, c.content, err, c.want)
		}
	}
}

// list is a small list of occupations of some version.
func list(number string, items ...Item) *Occupations {
	o := &Occupations{Jobs: map[string]Job{"A1101": {Code: "A1101", LabelFR: "x", Parent: "A1101", Items: items}}}
	return o.named(number)
}

// TestVersionsStayLoadable: what was worked out with a list can be worked out
// again after others were imported.
func TestVersionsStayLoadable(t *testing.T) {
	dir := t.TempDir()
	// A list of the time before items and versions, as it was kept then.
	old := &Occupations{Version: "459", Jobs: map[string]Job{"A1101": {Code: "A1101", LabelFR: "old", Parent: "A1101"}}}
	if err := old.write(filepath.Join(dir, occupationsFile)); err != nil {
		t.Fatal(err)
	}
	if o, err := Load(dir); err != nil || o.Version != "459" || len(o.Jobs["A1101"].Items) != 0 {
		t.Fatalf("a list without items: %+v, %v", o, err)
	}
	first, second := list("460"), list("460", Item{"100023", true})
	if first.Version == second.Version || list("460").Version != first.Version {
		t.Fatalf("versions %s and %s do not follow from what the lists say", first.Version, second.Version)
	}
	for _, o := range []*Occupations{first, second, second} {
		if err := o.Save(dir); err != nil {
			t.Fatal(err)
		}
		if kept, err := Load(dir); err != nil || kept.Version != o.Version {
			t.Fatalf("in force is %v, %v; want %s", kept, err, o.Version)
		}
	}
	for _, want := range []*Occupations{old, first, second, EmbeddedOccupations()} {
		got, err := LoadVersion(dir, want.Version)
		if err != nil || !reflect.DeepEqual(got.Jobs, want.Jobs) || got.Version != want.Version {
			t.Errorf("version %s is %+v, %v", want.Version, got, err)
		}
	}
	if got, err := LoadVersion(t.TempDir(), EmbeddedOccupations().Version); err != nil || got != EmbeddedOccupations() {
		t.Errorf("the embedded list by its version: %v", err)
	}
	for _, version := range []string{"", "458-00000000", "../rome", "459/../459", "*"} {
		_, err := LoadVersion(dir, version)
		if err == nil || !strings.Contains(err.Error(), "there are 459, "+first.Version) && !strings.Contains(err.Error(), "there are 459, "+second.Version) {
			t.Errorf("version %q: error %v, want one that says which are there", version, err)
		}
	}
}

func TestItemCodes(t *testing.T) {
	for text, want := range map[string]string{"100023": "100023", " 12345 ": "12345", "": "", "0123": "", "1000231234": "", "10 23": "", "A1": "", "١٢": "", "-5": ""} {
		if code, ok := ItemCode(text); code != want || ok != (want != "") {
			t.Errorf("ItemCode(%q) = %q, %v; want %q", text, code, ok, want)
		}
	}
}

func TestLoadSaysWhatIsBroken(t *testing.T) {
	for name, write := range map[string]func(f *os.File) error{
		"not gzip": func(f *os.File) error { _, err := f.WriteString("hello"); return err },
		"cut off": func(f *os.File) error {
			z := gzip.NewWriter(f)
			_, err := z.Write([]byte(`{"version":"460","jobs":{"A11`))
			z.Close()
			return err
		},
		"empty": func(f *os.File) error {
			z := gzip.NewWriter(f)
			_, err := z.Write([]byte(`{}`))
			z.Close()
			return err
		},
	} {
		dir := t.TempDir()
		if err := EmbeddedOccupations().Save(dir); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, occupationsFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := write(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "import ROME again") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"El Kéf", "قفصة", "TN-71", "\xff", "ﷺ", "Œuvre"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Fold(s)
		if twice := Fold(once); twice != once {
			t.Fatalf("Fold(%q) = %q, folded again %q", s, once, twice)
		}
		FindGovernorate(s)
		FindDiploma(s)
		Licence(s)
	})
}
