package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"masar.local/pkg/reference"
)

// read reads a whole list, one line of text a row and a problem.
func read(t *testing.T, l *List) string {
	t.Helper()
	var b strings.Builder
	for row, err := range l.Rows() {
		if err != nil {
			fmt.Fprintf(&b, "end: %v\n", err)
			break
		}
		if !row.Refused() {
			record, err := json.Marshal(row.Candidate)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%d %s\n", row.Line, record)
		}
		for _, p := range row.Problems {
			mark := "!"
			if p.Warning {
				mark = "~"
			}
			fmt.Fprintf(&b, "%s %d %s|%s|%s %s: %s\n", mark, p.Line, p.Letter, p.Column, p.Value, p.Code, french(p.Reason))
		}
	}
	for _, c := range l.Unknown() {
		fmt.Fprintf(&b, "unknown %s %s\n", c.Letter, c.Name)
	}
	for _, n := range l.Notices() {
		fmt.Fprintf(&b, "notice %s\n", french(n))
	}
	return b.String()
}

func readCSV(t *testing.T, text string) string {
	t.Helper()
	l, err := Candidates(strings.NewReader(text), Options{Format: CSV})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	defer l.Close()
	return read(t, l)
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimLeft(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCSVWholeRecord(t *testing.T) {
	check(t, readCSV(t, strings.Join([]string{
		"Référence;Nom;Prénom;اللقب;الاسم;Sexe;Date de naissance (jj/mm/aaaa);Gouvernorat;CIN;Passeport;Téléphone;Courriel;Langue;Diplôme;Métier;Expérience (mois);Niveau de français;Anglais;Permis;Disponible du;Disponible au;Programme;Régions souhaitées;Consentement(s);Observations",
		"A-1;Ben Salah;Ameni;بن صالح;أماني;F;05/11/1995;قفصة;01234567;x 123 456;98 123 456;ameni@example.tn;العربية;Bac;A1401; 24;b1;A2;B, CE;2026-12-01;31/03/2027;agri;Occitanie;matching, notification;rien",
		`;Trabelsi;"Mohamed Amine";;;Homme;1990-2-9;Le Kef;;;0033612345678;;fr;;A1401 - Aide agricole / a1416;12;;;non;;;Soins et accompagnement;;tous;`,
	}, "\n")), `
2 {"ref":"A-1","national_id":"01234567","passport":"X123456","family_name":"Ben Salah","given_name":"Ameni","family_name_ar":"بن صالح","given_name_ar":"أماني","sex":"F","birth_date":"1995-11-05","governorate":"TN-71","email":"ameni@example.tn","phone":"+21698123456","language":"ar","diploma_level":"bac","occupations":[{"rome":"A1401","experience_months":24}],"languages":[{"code":"fr","cefr":"B1"},{"code":"en","cefr":"A2"}],"licences":["B","CE"],"available_from":"2026-12-01","available_to":"2027-03-31","schemes":["agri"],"regions":["76"],"consents":["matching","notification"]}
! 3 V|Programme|Soins et accompagnement scheme: "Soins et accompagnement" n'est pas un programme : agri, soin
unknown Y Observations
`)
}

const head = "Nom,Prénom,Date de naissance,Gouvernorat"

func TestCSVForms(t *testing.T) {
	plain := head + "\nAïd,Zoé,31/01/2000,Béja\n"
	want := `2 {"family_name":"Aïd","given_name":"Zoé","birth_date":"2000-01-31","governorate":"TN-31"}` + "\n"
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(strings.ReplaceAll(plain, ",", "\t"))
	if err != nil {
		t.Fatal(err)
	}
	latin, err := charmap.Windows1252.NewEncoder().String(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"comma":           {plain, want},
		"semicolon":       {strings.ReplaceAll(plain, ",", ";"), want},
		"tab":             {strings.ReplaceAll(plain, ",", "\t"), want},
		"byte order mark": {"\ufeff" + plain, want},
		"windows ends":    {strings.ReplaceAll(plain, "\n", "\r\n"), want},
		"no last end":     {strings.TrimSuffix(plain, "\n"), want},
		"UTF-16":          {utf16, want},
		"Windows-1252":    {latin, want + "notice des lignes ne sont pas en UTF-8 et ont été lues comme Windows-1252\n"},
		"capitals":        {"NOM,PRENOM,DATE DE NAISSANCE *, gouvernorat :\nAïd,Zoé,31/01/2000,beja\n", want},
		"decomposed":      {"Nom,Pre\u0301nom,Date de naissance,Gouvernorat\nAi\u0308d,Zoe\u0301,31/01/2000,Be\u0301ja\n", want},
		"blank lines":     {"\n\nListe des candidats\n\n" + plain, "6 " + want[2:]},
		"invisible": {
			head + "\n\u200f Aïd\u00a0,Zoé\u200b,\u202a31/01/2000\u202c,Béja\n", want,
		},
	} {
		t.Run(name, func(t *testing.T) { check(t, readCSV(t, c.file), c.want) })
	}
}

func TestCSVWindows1256(t *testing.T) {
	text, err := charmap.Windows1256.NewEncoder().String("Prénom;Nom;الاسم;اللقب;Date de naissance;Gouvernorat\nZoé;Aid;زوي;عيد;31/01/2000;باجة\n")
	if err != nil {
		t.Fatal(err)
	}
	check(t, readCSV(t, text), `
2 {"family_name":"Aid","given_name":"Zoé","family_name_ar":"عيد","given_name_ar":"زوي","birth_date":"2000-01-31","governorate":"TN-31"}
notice des lignes ne sont pas en UTF-8 et ont été lues comme Windows-1256
`)
}

func TestCSVQuotesAndPlaces(t *testing.T) {
	check(t, readCSV(t, head+",Remarque\n"+
		"\"Ben\nAli\",\"Sa\"\"mi\",01/02/1990,Sfax,\"a, b\nc\"\n"+ // lines 2 to 4
		"Un,Deux,32/01/1990,Sfax,\n"+ // 5
		"\"Trois,Quatre,01/01/1990,Sfax,\n"+ // 6: quote not closed
		"Cinq,Six,01/01/1990,Sfax,\n"+ // 7
		"Sept,\"Huit\" x,01/01/1990,Sfax,\n"+ // 8
		"Neuf,Dix,01/01/1990,Sfax,,trop\n"+ // 9
		"Onze,Douze,01/01/1990\n"+ // 10
		",,,,\n"+
		"Fin,Fin,01/01/1990,Sfax,\"\n"), `
2 {"family_name":"Ben Ali","given_name":"Sa\"mi","birth_date":"1990-02-01","governorate":"TN-61"}
! 5 C|Date de naissance|32/01/1990 date: il n'y a pas de jour 32 du mois 1 en 1990 (le jour d'abord, puis le mois)
! 6 ||"Trois,Quatre,01/01/1990,Sfax, quote: du texte suit le guillemet qui ferme un champ
7 {"family_name":"Cinq","given_name":"Six","birth_date":"1990-01-01","governorate":"TN-61"}
! 8 ||Sept,"Huit" x,01/01/1990,Sfax, quote: du texte suit le guillemet qui ferme un champ
! 9 F||trop cells: la ligne a 6 cellules et l'en-tête 5 : un séparateur de trop, ou un séparateur dans un texte sans guillemets
! 10 D|Gouvernorat| required: il manque : gouvernorat
! 12 ||Fin,Fin,01/01/1990,Sfax," quote: un guillemet est ouvert et n'est pas fermé
unknown E Remarque
`)
}

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"missing": {
			"Prénom;Nom;Sexe;Age\nA;B;F;20\n",
			`ligne 1, l'en-tête : il manque date de naissance ("Date de naissance") ; gouvernorat ("Gouvernorat"). Colonnes présentes : A "Prénom" B "Nom" C "Sexe" D "Age" | السطر 1، سطر العناوين: ينقص تاريخ الولادة ("Date de naissance")؛ الولاية ("Gouvernorat"). الأعمدة الموجودة: A "Prénom" B "Nom" C "Sexe" D "Age"`,
		},
		"none": {
			"un,deux\ntrois,quatre\n",
			`pas d'en-tête dans les 20 premières lignes ; il faut nom de famille ("Nom" ou "Nom (arabe)") ; prénom ("Prénom" ou "Prénom (arabe)") ; date de naissance ("Date de naissance") ; gouvernorat ("Gouvernorat") | `,
		},
		"empty": {"", "pas d'en-tête dans les 20 premières lignes"},
		"twice": {
			head + ",Nom de famille\n",
			`ligne 1, l'en-tête : les colonnes A ("Nom") et E ("Nom de famille") disent la même chose : gardez-en une | `,
		},
		"workbook": {"PK\x03\x04", "nommez-le .xlsx"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Candidates(strings.NewReader(c.file), Options{Format: CSV})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			var missing *MissingColumnsError
			if lacks := name == "missing" || name == "none" || name == "empty"; errors.As(err, &missing) != lacks {
				t.Fatalf("a MissingColumnsError: %v", !lacks)
			}
		})
	}
}

// TestColumnNames: no name means two things, and each is understood in capitals,
// without accents, with spaces and punctuation around.
func TestColumnNames(t *testing.T) {
	owner := map[string]string{}
	for _, c := range columns {
		for _, name := range c.names {
			key := reference.Fold(name)
			if key == "" {
				t.Fatalf("%s: the name %q is empty when folded", c.field, name)
			}
			if other, taken := owner[key]; taken && other != c.field {
				t.Errorf("%q is both %s and %s", name, other, c.field)
			}
			owner[key] = c.field
			for _, variant := range []string{name, strings.ToUpper(name), "  " + name + " * ", name + " (à remplir)"} {
				if got := kindOf(variant); got == nil || got.field != c.field {
					t.Errorf("%q is not understood as %s", variant, c.field)
				}
			}
		}
	}
	for _, strange := range []string{"", "Age", "Nom et prénom", "Nom du père", "Téléphone 2", "Nom (mère)", "Téléphone (employeur)"} {
		if got := kindOf(strange); got != nil {
			t.Errorf("%q is understood as %s", strange, got.field)
		}
	}
}

func TestFields(t *testing.T) {
	// One column beside a good identity; want is the JSON of the field, or the
	// code of the problem with "!" or "~".
	for _, c := range []struct{ header, value, want string }{
		{"Sexe", "femme", `"sex":"F"`},
		{"Sexe", "Féminin", `"sex":"F"`},
		{"Sexe", "أنثى", `"sex":"F"`},
		{"الجنس", "ذكر", `"sex":"M"`},
		{"Sexe", "H", `"sex":"M"`},
		{"Sexe", "?", "!sex"},
		{"CIN", "00012345", `"national_id":"00012345"`},
		{"CIN", "12345", `~cin_padded "national_id":"00012345"`},
		{"CIN", "1.2345678E7", `"national_id":"12345678"`},
		{"CIN", "٠١٢٣٤٥٦٧", `"national_id":"01234567"`},
		{"CIN", "1234", "!cin"},
		{"CIN", "123456789", "!cin"},
		{"CIN", "00000000", "!cin"},
		{"CIN", "AB123456", "!cin"},
		{"Téléphone", "98.123.456", `"phone":"+21698123456"`},
		{"Téléphone", "+216 98 123 456", `"phone":"+21698123456"`},
		{"Téléphone", "00216 98123456", `"phone":"+21698123456"`},
		{"Téléphone", "21698123456", `"phone":"+21698123456"`},
		{"Téléphone", "9.8123456E7", `"phone":"+21698123456"`},
		{"Téléphone", "٩٨١٢٣٤٥٦", `"phone":"+21698123456"`},
		{"Téléphone", "+33 6 12 34 56 78", `"phone":"+33612345678"`},
		{"Téléphone", "06 12 34 56 78", "!phone"},
		{"Téléphone", "98123456 / 97654321", "!phone"},
		{"Téléphone", "+2169812345", "!phone"},
		{"Téléphone", "néant", "!phone"},
		{"Email", "a.b@example.tn", `"email":"a.b@example.tn"`},
		{"Email", "a.b@example", "!email"},
		{"Email", "Moi <a@b.tn>", "!email"},
		{"Email", "a@b.tn, c@d.tn", "!email"},
		{"Langue", "Arabe", `"language":"ar"`},
		{"Langue", "fr", `"language":"fr"`},
		{"Langue", "anglais", "!language"},
		{"Diplôme", "doctorat de cuisine", "!diploma"},
		{"Métier", "A1401;A1405", `"occupations":[{"rome":"A1401","experience_months":0},{"rome":"A1405","experience_months":0}]`},
		{"Métier", "Aide agricole de production fruitière ou viticole", `"occupations":[{"rome":"A1401","experience_months":0}]`},
		{"Métier", "astronaute", "!rome"},
		{"Expérience (mois)", "12", "~experience_unused"},
		{"Expérience", "12", "!experience"},
		{"Expérience (mois)", "beaucoup", "!experience"},
		{"Niveau de français", "Niveau B1 (TCF)", `"languages":[{"code":"fr","cefr":"B1"}]`},
		{"Français", "A2/B1", "!cefr"},
		{"Français", "bien", "!cefr"},
		{"Français", "Néant", ``},
		{"Permis", "Permis B et C", `"licences":["B","C"]`},
		{"Permis", "b+ce", `"licences":["B","CE"]`},
		{"Permis", "non", ``},
		{"Permis", "oui", "!licence"},
		{"Permis", "Z", "!licence"},
		{"Compétences", "100023; 100063|125000", `"competences":["100023","100063","125000"]`},
		{"Compétences (OGR)", "100023, 100063 / 100023", `"competences":["100023","100063"]`},
		{"الكفاءات", "١٠٠٠٢٣؛ 100063", `"competences":["100023","100063"]`},
		{"OGR", "1.00023E5", `"competences":["100023"]`},
		{"Codes OGR 2", "100023 - Abattre, débiter un arbre de 20 m | 100063: Tailler les arbres", `"competences":["100023","100063"]`},
		{"Compétences", "néant", ``},
		{"Compétences", "conduite de tracteur; 100023", `~competence "competences":["100023"]`},
		{"Compétences", "0100023", "~competence"},
		{"Compétences", " ; | ", ``},
		{"Disponible du", "١/٢/٢٠٢٧", `"available_from":"2027-02-01"`},
		{"Disponible du", "2027/02/01", `"available_from":"2027-02-01"`},
		{"Disponible du", "01-02-2027", `"available_from":"2027-02-01"`},
		{"Disponible du", "01.02.2027", `"available_from":"2027-02-01"`},
		{"Disponible du", "2027-02-01T00:00:00", `"available_from":"2027-02-01"`},
		{"Disponible du", "2027-02-01 00:00:00", `"available_from":"2027-02-01"`},
		{"Disponible du", "29/02/2027", "!date"},
		{"Disponible du", "12/25/2026", "!date"},
		{"Disponible du", "01/02/27", "!date"},
		{"Disponible du", "2027", "!date"},
		{"Disponible du", "46054", "!date"}, // a serial number means nothing in CSV
		{"Disponible du", "printemps", "!date"},
		{"Disponible du", "-", "!date"},
		{"Programme", "Travail saisonnier agricole", `"schemes":["agri"]`},
		{"Programme", "agri; soin", `"schemes":["agri","soin"]`},
		{"Région", "Provence-Alpes-Côte d'Azur / 84", `"regions":["93","84"]`},
		{"Région", "Atlantide", "!region"},
		{"Consentements", "notification; mise en relation", `"consents":["notification","matching"]`},
		{"Consentements", purposesFR, `"consents":["matching","employer_disclosure","transfer","notification","statistics"]`},
		{"Consentements", purposesAR, `"consents":["matching","employer_disclosure","transfer","notification","statistics"]`},
		{"Consentements", "non", ``},
		{"Consentements", "oui", "!consent"},
		{"Consentement notification", "oui", `"consents":["notification"]`},
		{"Consentement notification", "نعم", `"consents":["notification"]`},
		{"Consentement notification", "Non", ``},
		{"Consentement notification", "peut-être", "!consent"},
		{"Passeport", "n/a", "!passport"},
		{"CIN", "#N/A", "!formula"},
	} {
		t.Run(c.header+" "+c.value, func(t *testing.T) {
			quoted := `"` + strings.ReplaceAll(c.value, `"`, `""`) + `"`
			l, err := Candidates(strings.NewReader("اللقب,الاسم,تاريخ الولادة,الولاية,"+c.header+"\nعيد,زوي,31/01/2000,باجة,"+quoted+"\n"), Options{Format: CSV})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for row, err := range l.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, p := range row.Problems {
					if p.Letter != "E" || p.Column != c.header || p.Line != 2 {
						t.Errorf("problem is said to be at line %d, column %s %q", p.Line, p.Letter, p.Column)
					}
					if p.Warning {
						got += "~" + p.Code
					} else {
						got += "!" + p.Code
					}
				}
				if !row.Refused() {
					record, err := json.Marshal(row.Candidate)
					if err != nil {
						t.Fatal(err)
					}
					rest := string(record)
					for _, known := range []string{`"family_name_ar":"عيد"`, `"given_name_ar":"زوي"`, `"birth_date":"2000-01-31"`, `"governorate":"TN-31"`} {
						rest = strings.Replace(rest, known, "", 1)
					}
					got = strings.TrimSpace(got + " " + strings.Trim(rest, "{},"))
				}
				if got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			}
		})
	}
}

func TestExperienceOfOccupations(t *testing.T) {
	check(t, readCSV(t, head+`,Métier 1,Expérience (années) 1,Métier 2,Expérience (années) 2`+"\n"+
		"A,B,01/01/1990,Sfax,A1401,\"1,5\",A1405,18 mois\n"+
		"A,B,01/01/1990,Sfax,A1401;A1405,2,,\n"+
		"A,B,01/01/1990,Sfax,A1401;A1405;A1416,2;3,,\n"), `
2 {"family_name":"A","given_name":"B","birth_date":"1990-01-01","governorate":"TN-61","occupations":[{"rome":"A1401","experience_months":18},{"rome":"A1405","experience_months":18}]}
3 {"family_name":"A","given_name":"B","birth_date":"1990-01-01","governorate":"TN-61","occupations":[{"rome":"A1401","experience_months":24},{"rome":"A1405","experience_months":24}]}
! 4 F|Expérience (années) 1|2;3 experience: 2 durées d'expérience pour 3 métiers : donnez-en une pour chacun, ou une pour tous
`)
}

// TestPlace: a fault that a service finds in a field is shown in the list.
func TestPlace(t *testing.T) {
	l, err := Candidates(strings.NewReader(head+",Métier 1,Métier 2,Expérience (mois),Français,Consentement notification\nA,B,01/01/2015,Sfax,,A1401,12,B1,oui\n"), Options{Format: CSV})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for row, err := range l.Rows() {
		if err != nil || row.Refused() {
			t.Fatal(err, row.Problems)
		}
		for path, want := range map[string]string{
			"birth_date": "C 01/01/2015", "occupations[0].rome": "F A1401", "occupations[0].experience_months": "G 12",
			"languages[0].cefr": "H B1", "consents[0]": "I oui", "family_name": "A A", "family_name_ar": "  false",
		} {
			c, value, ok := row.Place(path)
			got := c.Letter + " " + value
			if !ok {
				got += " false"
			}
			if got != want {
				t.Errorf("%s is said to be at %q, want %q", path, got, want)
			}
		}
	}
}

// book makes a workbook of one sheet, or of a second one when named.
func book(t *testing.T, sheet string, rows [][]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	if sheet != "Sheet1" {
		if _, err := f.NewSheet(sheet); err != nil {
			t.Fatal(err)
		}
	}
	for i, row := range rows {
		if row == nil {
			continue
		}
		if err := f.SetSheetRow(sheet, fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestXLSX(t *testing.T) {
	day := func(serial float64) any { return serial }
	file := book(t, "Candidats", [][]any{
		{"Liste des candidats, gouvernorat de Gafsa"},
		nil,
		{"اللقب", "الاسم", "Nom", "Prénom", "Date de naissance", "Gouvernorat", "CIN", "Téléphone", "", "Remarque"},
		{"بن صالح", "أماني", "Ben Salah", "Améni", day(35008), "Gafsa", 12345678, 98123456},
		{"العيّاري", "محمّد", "Ayari", "Mohamed", "05/11/1995", "توزر", 12345, "+216 97 000 111", "sans titre", "x"},
		nil,
		{"", "", "Sans", "Date", "", "Gafsa"},
		{"", "", "Jour", "Absurde", day(60), "Gafsa"},
		{"", "", "Heure", "Aussi", day(35008.75), "Gafsa", "", "", "", "", "au-delà"},
		{"", "", "Année", "Seule", day(1995), "Gafsa"},
		{"", "", "Lieu", "Inconnu", day(35008), "Paris", "#REF!"},
	})
	l, err := Candidates(bytes.NewReader(file), Options{Format: XLSX, Sheet: "Candidats"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Header != 3 {
		t.Errorf("header at line %d", l.Header)
	}
	check(t, read(t, l), `
4 {"national_id":"12345678","family_name":"Ben Salah","given_name":"Améni","family_name_ar":"بن صالح","given_name_ar":"أماني","birth_date":"1995-11-05","governorate":"TN-71","phone":"+21698123456"}
5 {"national_id":"00012345","family_name":"Ayari","given_name":"Mohamed","family_name_ar":"العيّاري","given_name_ar":"محمّد","birth_date":"1995-11-05","governorate":"TN-72","phone":"+21697000111"}
~ 5 G|CIN|12345 cin_padded: les zéros du début, que les tableurs suppriment, ont été remis : 00012345
! 7 E|Date de naissance| required: il manque : date de naissance
! 8 E|Date de naissance|60 date: un nombre qui n'est pas une date : écrivez AAAA-MM-JJ ou JJ/MM/AAAA
9 {"family_name":"Heure","given_name":"Aussi","birth_date":"1995-11-05","governorate":"TN-71"}
~ 9 K||au-delà cells: la cellule est au-delà de la dernière colonne de l'en-tête : elle n'est pas lue
! 10 E|Date de naissance|1995 date: seulement une année : écrivez AAAA-MM-JJ ou JJ/MM/AAAA
! 11 F|Gouvernorat|Paris governorate: ce n'est pas l'un des 24 gouvernorats, en français, en arabe ou par un code tel que TN-71
! 11 G|CIN|#REF! formula: la cellule contient une erreur du tableur
unknown J Remarque
notice la colonne I a des valeurs mais pas d'en-tête : elle n'est pas lue
`)
	if _, err := Candidates(bytes.NewReader(file), Options{Format: XLSX, Sheet: "Absente"}); err == nil || !strings.Contains(err.Error(), "Candidats") {
		t.Errorf("a sheet that is not there: %v", err)
	}
	if _, err := Candidates(bytes.NewReader(file), Options{Format: XLSX}); err == nil {
		t.Error("the first sheet is empty: no header")
	}
	if _, err := Candidates(strings.NewReader("Nom;Prénom"), Options{Format: XLSX}); err == nil || !strings.Contains(err.Error(), "pas un classeur Excel") {
		t.Errorf("text as a workbook: %v", err)
	}
}

func TestXLSX1904(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	yes := true
	if err := f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &yes}); err != nil {
		t.Fatal(err)
	}
	for i, row := range [][]any{{"Nom", "Prénom", "Date de naissance", "Gouvernorat"}, {"A", "B", 35008 - 1462, "Sfax"}} {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	l, err := Candidates(&b, Options{Format: XLSX})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check(t, read(t, l), `
2 {"family_name":"A","given_name":"B","birth_date":"1995-11-05","governorate":"TN-61"}
`)
}

func TestOpenCandidates(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"a.CSV": []byte(head + "\nA,B,01/01/1990,Sfax\n"),
		"b.xlsx": book(t, "Sheet1", [][]any{
			{"Nom", "Prénom", "Date de naissance", "Gouvernorat"},
			{"A", "B", "01/01/1990", "Sfax"},
		}),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := OpenCandidates(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, read(t, l), `
2 {"family_name":"A","given_name":"B","birth_date":"1990-01-01","governorate":"TN-61"}
`)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenCandidates(filepath.Join(dir, "c.ods"), Options{}); err == nil {
		t.Error("a format that is not read is opened")
	}
	if _, err := OpenCandidates(filepath.Join(dir, "absent.csv"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestXLSXMemory reads a workbook of 50,000 rows (5,000 under the race detector), every seventh broken, and asks
// how much memory was needed and whether every row and fault is in its place.
func TestXLSXMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a workbook of 50,000 rows")
	}
	n := 50_000
	if racing {
		n = 5_000
	}
	path := filepath.Join(t.TempDir(), "liste.xlsx")
	broken := func(i int) bool { return i%7 == 3 }
	func() {
		f := excelize.NewFile()
		defer f.Close()
		w, err := f.NewStreamWriter("Sheet1")
		if err != nil {
			t.Fatal(err)
		}
		set := func(line int, row ...any) {
			if err := w.SetRow(fmt.Sprintf("A%d", line), row); err != nil {
				t.Fatal(err)
			}
		}
		set(1, "Référence", "Nom", "Prénom", "اللقب", "الاسم", "Sexe", "Date de naissance", "Gouvernorat", "CIN", "Téléphone", "Métier", "Expérience (mois)", "Niveau de français")
		for i := range n {
			born := any(30000 + i%5000)
			if broken(i) {
				born = "30/02/1999"
			}
			set(i+2, fmt.Sprintf("R-%d", i), "Aïd Béchir", "Zoé", "عيد البشير", "زوي", "F", born, "قابس", 10000000+i, 20000000+i, "A1401;A1405", "12;6", "B1")
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := f.SaveAs(path); err != nil {
			t.Fatal(err)
		}
	}()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.GC() // what the pools of the writer held goes with the second
	runtime.ReadMemStats(&before)
	l, err := OpenCandidates(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i, peak := 0, uint64(0)
	for row, err := range l.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		if row.Line != i+2 {
			t.Fatalf("row %d is said to be line %d", i, row.Line)
		}
		if broken(i) {
			if p := row.Problems; len(p) != 1 || p[0].Line != i+2 || p[0].Letter != "G" || p[0].Column != "Date de naissance" || p[0].Value != "30/02/1999" {
				t.Fatalf("row %d: %v", i, p)
			}
		} else if c := row.Candidate; row.Refused() || c.Ref != fmt.Sprintf("R-%d", i) || c.FamilyName != "Aïd Béchir" || c.GivenNameAR != "زوي" || c.NationalID != fmt.Sprint(10000000+i) {
			t.Fatalf("row %d: %+v %v", i, c, row.Problems)
		}
		if i++; i%(n/10) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&during)
			peak = max(peak, during.HeapAlloc-min(before.HeapAlloc, during.HeapAlloc))
		}
	}
	if i != n {
		t.Fatalf("%d rows of %d", i, n)
	}
	t.Logf("%.1f MB kept while reading", float64(peak)/(1<<20))
	if peak > 24<<20 {
		t.Errorf("%d MB kept while reading", peak>>20)
	}
}

func FuzzCandidatesCSV(f *testing.F) {
	for _, seed := range []string{
		"", head, head + "\nA,B,01/01/1990,Sfax\n", head + "\n\"A\n\"\"B\",C,٠١/٠١/١٩٩٠,صفاقس\n\"", "Nom;Prénom\t\"x\n",
		"\xff\xfeN\x00", "Nom,Pr\xe9nom,Date de naissance,Gouvernorat\n\xc9\xc9\xc9\xc9,b,1/1/1990,Sfax",
		head + ",Compétences\na,b,1/1/1990,71,\"100023 - x, y|1e5;٣;z\"\n",
		head + ",Permis,Métier,Expérience,CIN,Téléphone,Français,Consentements\na,b,1/1/1990,71,B+C,A1401/x,\"2 ans;3\",1e7,+1,b1,tous\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		l, err := Candidates(bytes.NewReader(file), Options{Format: CSV})
		if err != nil {
			return
		}
		defer l.Close()
		last := l.Header
		for row, err := range l.Rows() {
			if err != nil {
				return
			}
			if row.Line <= last {
				t.Fatalf("line %d follows line %d", row.Line, last)
			}
			last = row.Line
			if row.Refused() {
				continue
			}
			c := row.Candidate
			if c.FamilyName+c.FamilyNameAR == "" || c.GivenName+c.GivenNameAR == "" || c.BirthDate == "" || c.Governorate == "" {
				t.Fatalf("line %d lacks what identifies a person: %+v", row.Line, c)
			}
			if _, err := json.Marshal(c); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzCandidatesXLSX(f *testing.F) {
	var t testing.T
	f.Add(book(&t, "Sheet1", [][]any{{"Nom", "Prénom", "Date de naissance", "Gouvernorat"}, {"A", "B", 35008, "Sfax"}}))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, file []byte) {
		l, err := Candidates(bytes.NewReader(file), Options{Format: XLSX})
		if err != nil {
			return
		}
		defer l.Close()
		n := 0
		for _, err := range l.Rows() {
			if n++; err != nil || n > 10_000 {
				return
			}
		}
	})
}

var _ io.Closer = (*List)(nil)
