package indicators

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/opendata"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	employersv1 "masar.local/proto/masar/employers/v1"
	matchingv1 "masar.local/proto/masar/matching/v1"
	"masar.local/services/indicators/shortage"
)

var updateBulletin = flag.Bool("update-bulletin", false, "write the golden bulletins anew")

// tunisia is a made-up series: offers, seekers and exits of two quarters in two
// governorates, a survey of employers for the year, some figures missing or
// confidential.
func tunisia() string {
	var b strings.Builder
	b.WriteString("source,country,zone,nomenclature,occupation,period,measure,value,label\n")
	codes := []string{"A1401", "A1402", "A1403", "A1405", "A1407", "G1602", "G1803", "H2913", "J1501", "N4101"}
	for z, zone := range []string{"TN-71", "TN-23"} {
		for q, quarter := range []string{"2025-Q4", "2026-Q1"} {
			for i, code := range codes {
				row := func(period string, m shortage.Measure, value string) {
					fmt.Fprintf(&b, "aneti,TN,%s,ROME,%s,%s,%s,%s,\n", zone, code, period, m, value)
				}
				offers := fmt.Sprint((i*7+q*5*(i%3)+z*3)%23 + 2)
				if i == 3 && z == 0 {
					offers = "*"
				}
				row(quarter, shortage.Offers, offers)
				row(quarter, shortage.SeekersIn, fmt.Sprint(40+(i*13+q)%29))
				if i != 5 {
					row(quarter, shortage.SeekersStock, fmt.Sprint(100+i*10))
					row(quarter, shortage.Exits, fmt.Sprint(10+(i*5+q*i)%37))
				}
				if q == 0 {
					row("2025", shortage.Projects, fmt.Sprint(50+i))
					row("2025", shortage.Difficult, fmt.Sprint((i*17+z)%47))
					row("2025", shortage.Employment, fmt.Sprint(1000+100*i))
				}
			}
		}
	}
	return b.String()
}

func (r *rig) importFile(p access.Principal, query, name string, file []byte) (int, ShortageImported) {
	r.t.Helper()
	status, _, body := r.post(p, "/api/indicators/shortage/imports"+query, "", ShortageImport{Name: name, File: file})
	var out ShortageImported
	if status < 300 {
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			r.t.Fatalf("%v in %s", err, body)
		}
	}
	return status, out
}

// The same file again changes nothing, a corrected one makes a new version, the
// old version stays, and when the old file comes once more it does not undo the
// correction.
func TestShortageImport(t *testing.T) {
	r := newRig(t, nil)
	statistician := as(access.Statistician)
	file := []byte(tunisia())
	if status, _ := r.importFile(as(access.Counsellor), "", "", file); status != http.StatusForbidden {
		t.Errorf("a counsellor imported: %d", status)
	}
	for _, x := range []struct {
		what, query, name string
		file              []byte
		status            int
		outcome           string
		version, inForce  int
	}{
		{"tried", "?dry_run=true", "", file, 200, ImportCreated, 1, 1},
		{"first", "", "", file, 201, ImportCreated, 1, 1},
		{"again", "", "", file, 200, ImportUnchanged, 1, 1},
		{"the same values, written otherwise", "", "", bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), 200, ImportUnchanged, 1, 1},
		{"correction tried", "?dry_run=true", "", bytes.Replace(file, []byte("offers,2,"), []byte("offers,3,"), 1), 200, ImportReplaced, 2, 2},
		{"corrected", "", "", bytes.Replace(file, []byte("offers,2,"), []byte("offers,3,"), 1), 201, ImportReplaced, 2, 2},
		{"the old one again", "", "", file, 200, ImportUnchanged, 1, 2},
		{"under another name", "", "essai", file, 201, ImportCreated, 1, 1},
	} {
		status, got := r.importFile(statistician, x.query, x.name, x.file)
		if status != x.status || got.Outcome != x.outcome || got.Dataset == nil || got.Dataset.Version != x.version || got.InForce != x.inForce {
			t.Errorf("%s: %d %+v %+v", x.what, status, got, got.Dataset)
		}
	}
	list := ask[[]ShortageDataset](r, statistician, "/api/indicators/shortage/imports")
	if len(list) != 3 {
		t.Errorf("datasets: %+v", list)
	}
	// A wrong cell: nothing is taken, and the report says where and why.
	status, got := r.importFile(statistician, "", "", bytes.Replace(file, []byte("ROME,A1401"), []byte("ROME,A14O1"), 1))
	if status != 200 || got.Outcome != ImportRefused || got.Dataset != nil || got.Report.Faults != 1 {
		t.Fatalf("%d %+v", status, got)
	}
	if e := got.Report.Errors[0]; e.Line != 2 || e.Column != "occupation" || e.Value != "A14O1" || e.ReasonFR == "" || e.ReasonAR == "" {
		t.Errorf("%+v", e)
	}
	if list := ask[[]ShortageDataset](r, statistician, "/api/indicators/shortage/imports"); len(list) != 3 {
		t.Errorf("a refused file was stored: %+v", list)
	}
	for _, bad := range []struct {
		name string
		file []byte
	}{{"Ü", file}, {"", nil}, {"", []byte("a,b\n1,2\n")}} {
		if status, _ := r.importFile(statistician, "", bad.name, bad.file); status != http.StatusUnprocessableEntity && status != http.StatusBadRequest {
			t.Errorf("%q: %d", bad.name, status)
		}
	}
	// Another process reads the same.
	before := ask[Shortage](r, statistician, "/api/indicators/shortage?zone=TN-71&period=2026-Q1")
	r.stop()
	r.start()
	after := ask[Shortage](r, statistician, "/api/indicators/shortage?zone=TN-71&period=2026-Q1")
	if x, y := fmt.Sprintf("%+v", before.Datasets), fmt.Sprintf("%+v", after.Datasets); x != y || len(after.Tables) != 1 || len(before.Tables[0].Rows) != len(after.Tables[0].Rows) {
		t.Errorf("after a restart: %s, before %s", y, x)
	}
}

// campaign is an event of matching.
func campaign(s *story, when, id string, occupations ...*matchingv1.OccupationScarcity) {
	s.t.Helper()
	s.add(when, id, &matchingv1.CampaignCompleted{CampaignId: id, Objective: "placements", Posts: 30, Filled: 20, Occupations: occupations})
}

// A quarter takes the survey of its year, what is missing is said, and what our
// own campaign lacks stands beside it.
func TestShortageClasses(t *testing.T) {
	r := newRig(t, nil)
	p := as(access.Statistician)
	if status, _ := r.importFile(p, "", "", []byte(tunisia())); status != 201 {
		t.Fatal(status)
	}
	s := newStory(t)
	campaign(s, "2026-03-02 10:00", "c2", &matchingv1.OccupationScarcity{Rome: "A1401", Posts: 9, Filled: 4, Candidates: 3, Unplaced: 1, OneMoreCandidate: 1})
	campaign(s, "2026-02-02 10:00", "c1", &matchingv1.OccupationScarcity{Rome: "A1401", Posts: 5, Filled: 5, Candidates: 80, Unplaced: 60})
	s.add("2026-01-05 09:00", "o1", &employersv1.OfferOpened{Terms: &employersv1.Terms{Rome: "A1401", Region: "84", Posts: 6}})
	s.add("2026-02-05 09:00", "o2", &employersv1.OfferOpened{Terms: &employersv1.Terms{Rome: "A1401", Region: "76", Posts: 2}})
	r.publish(s.events...)
	r.publish(s.events...) // twice changes nothing
	r.folded(4)

	a := ask[Shortage](r, p, "/api/indicators/shortage?zone=TN-71&period=2026-Q1")
	if len(a.Tables) != 1 || len(a.Tables[0].Rows) != 10 || a.Tables[0].Annual || a.Tables[0].Nomenclature != shortage.ROME {
		t.Fatalf("%+v", a.Tables)
	}
	table := a.Tables[0]
	for _, f := range []shortage.Flag{shortage.NoMinimum, shortage.ProvisionalRef} {
		if !slices.Contains(table.Flags, f) || a.FlagTexts[f].FR == "" || a.FlagTexts[f].AR == "" {
			t.Errorf("flags %v %v", table.Flags, a.FlagTexts)
		}
	}
	row := func(table ShortageTable, code string) ShortageRow {
		i := slices.IndexFunc(table.Rows, func(r ShortageRow) bool { return r.Code == code })
		if i < 0 {
			t.Fatalf("no %s", code)
		}
		return table.Rows[i]
	}
	if x := row(table, "A1405"); x.Components[0] != nil || x.Class == nil || !slices.Contains(x.Flags, shortage.Partial) || !slices.Contains(x.Flags, shortage.Confidential) {
		t.Errorf("confidential offers: %+v", x)
	}
	if x := row(table, "G1602"); x.Components[1] != nil || x.Components[2] == nil || !slices.Contains(x.Flags, shortage.Annual) || x.Weights[1] != 0 {
		t.Errorf("no exits: %+v", x)
	}
	x := row(table, "A1401")
	if x.T == nil || x.Class == nil || x.Before == nil || x.Before.Period != "2025-Q4" || len(x.Sources) != 1 || x.Levels[0] == nil {
		t.Errorf("%+v", x)
	}
	// The campaign of March, though that of February came later; who reads facts sees few people too.
	if len(x.Scarcity) != 1 || *x.Scarcity[0].Candidates != 3 || x.Scarcity[0].OneMoreCandidate != 1 || a.Campaign.ID != "c2" {
		t.Errorf("%+v", x.Scarcity)
	}
	manager := ask[Shortage](r, as(access.Manager), "/api/indicators/shortage?zone=TN-71&period=2026-Q1&occupation=A1401")
	if rows := manager.Tables[0].Rows; len(rows) != 1 || rows[0].Scarcity[0].Candidates != nil || !rows[0].Scarcity[0].Suppressed || rows[0].Scarcity[0].Posts != 9 {
		t.Errorf("%+v", rows)
	}
	// Of a quarter before the campaign of March, that of February is the last.
	if a := ask[Shortage](r, p, "/api/indicators/shortage?zone=TN-71&period=2025-Q4"); a.Campaign != nil {
		t.Errorf("a campaign before there was one: %+v", a.Campaign)
	}
	// Our own offers only when they are asked for.
	if a := ask[Shortage](r, p, "/api/indicators/shortage?zone=FR-84"); len(a.Tables) != 0 {
		t.Errorf("our own events among official series: %+v", a.Tables)
	}
	own := ask[Shortage](r, p, "/api/indicators/shortage?zone=FR&source=masar&period=2026-Q1")
	if len(own.Tables) != 1 || own.Tables[0].Rows[0].Counts[shortage.Offers] != 2 || own.Tables[0].Rows[0].Class != nil || own.Tables[0].Sources[0] != "masar" {
		t.Errorf("%+v", own.Tables)
	}
	// In lines.
	status, header, text := r.get(p, "/api/indicators/shortage?zone=TN-71&period=2026-Q1&format=csv")
	if lines := strings.Split(strings.TrimSpace(text), "\r\n"); status != 200 || len(lines) != 11 || !strings.HasPrefix(lines[0], "zone,nomenclature,period,occupation") || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") {
		t.Errorf("%d %s", status, text)
	}
	for _, query := range []string{"", "zone=TN-99", "zone=TN-71&period=2026-Q9", "zone=TN-71&nomenclature=FAP", "zone=TN-71&format=pdf"} {
		if status, _, body := r.get(p, "/api/indicators/shortage?"+query); status/100 != 4 {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// Below the configured minimum there is no class, and the index is still shown.
func TestShortageMinimum(t *testing.T) {
	settings := filepath.Join(t.TempDir(), "programme.yaml")
	text := strings.Replace(string(defaultProgramme), "minimum_offers: null", "minimum_offers: 10", 1)
	text = strings.NewReplacer("reference_from: null", "reference_from: 2025", "reference_to: null", "reference_to: 2025").Replace(text)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, map[string]string{"MASAR_PROGRAMME": settings})
	p := as(access.Statistician)
	r.importFile(p, "", "", []byte(tunisia()))
	a := ask[Shortage](r, p, "/api/indicators/shortage?zone=TN-71&period=2026-Q1")
	few := 0
	for _, x := range a.Tables[0].Rows {
		n, ok := x.Counts[shortage.Offers]
		below := ok && n < 10
		if below != slices.Contains(x.Flags, shortage.TooFew) || below == (x.Class != nil) || x.T == nil {
			t.Errorf("%v offers: %+v", n, x)
		}
		if below {
			few++
		}
	}
	if a.Tables[0].Reference.From != "2025-Q4" || a.Tables[0].Reference.To != "2025-Q4" || slices.Contains(a.Tables[0].Flags, shortage.ProvisionalRef) {
		t.Errorf("the configured reference: %+v, flags %v", a.Tables[0].Reference, a.Tables[0].Flags)
	}
	if few == 0 || slices.Contains(a.Tables[0].Flags, shortage.NoMinimum) {
		t.Errorf("%d below the minimum, flags %v", few, a.Tables[0].Flags)
	}
}

// The bulletin of a governorate, in French and Arabic, to the letter.
func TestBulletin(t *testing.T) {
	r := newRig(t, nil)
	p := as(access.Statistician)
	if status, _ := r.importFile(p, "", "", []byte(tunisia())); status != 201 {
		t.Fatal(status)
	}
	s := newStory(t)
	for i := range 7 {
		s.add("2026-02-03 10:00", fmt.Sprintf("p%d", i), &candidatesv1.CandidateRegistered{Profile: &candidatesv1.Profile{Sex: "F", Governorate: "TN-71", BirthYear: 2000}})
	}
	campaign(s, "2026-03-02 10:00", "c2",
		&matchingv1.OccupationScarcity{Rome: "A1401", Posts: 1200, Filled: 4, Candidates: 30, Unplaced: 12, OneMoreCandidate: 1},
		&matchingv1.OccupationScarcity{Rome: "J1501", Posts: 3, Filled: 3, Candidates: 3, Unplaced: 0, OneMorePost: 1})
	r.publish(s.events...)
	r.folded(8)
	manager := as(access.Manager)
	for _, lang := range []string{"fr", "ar"} {
		status, header, page := r.get(manager, "/api/indicators/shortage/bulletin?zone=TN-71&quarter=2026-Q1&lang="+lang)
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Fatalf("%d %s", status, page)
		}
		for _, outside := range []string{"http://", "https://", "<script", "@import", "url("} {
			if strings.Contains(page, outside) {
				t.Errorf("%s: the page has %q", lang, outside)
			}
		}
		golden(t, "bulletin-TN-71-2026-Q1-"+lang+".html", page)
		// The reader who has it already is not sent it again.
		if tag := header.Get("ETag"); tag == "" {
			t.Error("no ETag")
		}
	}
	b := ask[Bulletin](r, manager, "/api/indicators/shortage/bulletin?zone=TN-71&quarter=2026-Q1&format=json")
	if len(b.Headlines) < 3 || b.Figures[0].Value == nil || *b.Figures[0].Value != 7 || b.Running {
		t.Errorf("%+v", b)
	}
	// A zone of which nothing is known says so.
	none := ask[Bulletin](r, manager, "/api/indicators/shortage/bulletin?zone=TN-83&quarter=2025-Q4&format=json")
	if len(none.Tables) != 0 || !strings.Contains(none.Headlines[0].FR, "Aucun métier") || len(none.Missing) == 0 {
		t.Errorf("%+v", none)
	}
	for _, query := range []string{"zone=TN-71", "zone=TN-71&quarter=2026", "zone=TN-71&quarter=2031-Q1", "zone=TN-71&quarter=2026-Q1&lang=en", "zone=X&quarter=2026-Q1"} {
		if status, _, body := r.get(manager, "/api/indicators/shortage/bulletin?"+query); status/100 != 4 {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// golden compares with testdata, or writes it with -update-bulletin.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateBulletin {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		at := 0
		for at < len(got) && at < len(want) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s is different at byte %d: %.120q; want %.120q (go test -run TestBulletin -update-bulletin)", name, at, got[at:], want[at:])
	}
}

// What comes from files and events stays text in the page.
func TestBulletinEscapes(t *testing.T) {
	var page bytes.Buffer
	evil := `<script>alert(1)</script>"'`
	class, score := 5, 1.5
	b := Bulletin{Quarter: "2026-Q1", Shortage: Shortage{Zone: "TN-71", LabelFR: evil, LabelAR: evil, Tables: []ShortageTable{{
		Table: shortage.Table{Nomenclature: shortage.ROME, Period: "2026-Q1", Sources: []string{evil}},
		Rows:  []ShortageRow{{Row: shortage.Row{Code: evil, Label: evil, Class: &class, T: &score}}},
	}}}}
	b.headlines()
	for _, lang := range []string{"fr", "ar"} {
		page.Reset()
		if err := writeBulletin(&page, b, lang); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), "<script") {
			t.Errorf("%s: a name became part of the page", lang)
		}
	}
}

// The real files, through the real import: every class as it is published, and
// the survey beside it, never joined.
func TestRealShortage(t *testing.T) {
	r := newRig(t, nil)
	p := as(access.Manager)
	for _, elem := range [][]string{
		{"marche", "dares_tensions", "tensions.csv"}, {"marche", "bmo_2025.csv.gz"}, {"marche", "dares_tensions", "fap225_rome.csv"},
	} {
		data, err := os.ReadFile(opendata.Path(t, elem...))
		if err != nil {
			t.Fatal(err)
		}
		status, got := r.importFile(p, "", "", data)
		if status != 201 || got.Report.Faults != 0 || len(got.Report.Errors) != 0 {
			t.Fatalf("%v: %d %+v", elem, status, got.Report)
		}
	}
	book, _, err := r.service.shortages.load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	classed := 0
	for _, zone := range append(zonesOf(t, book), "FR") {
		table := book.Table(shortage.Query{Zone: zone, Nomenclature: shortage.FAP2009, Period: "2019"}, shortage.Settings{})
		for _, x := range table.Rows {
			if slices.Contains(x.Flags, shortage.PublishedDiffers) {
				t.Errorf("%s %s: class %d, T %v", zone, x.Code, *x.Class, *x.T)
			}
			if x.Class != nil {
				classed++
			}
		}
	}
	if classed != 17143 {
		t.Errorf("%d classes, want 17143", classed)
	}
	a := ask[Shortage](r, p, "/api/indicators/shortage?zone=FR-84")
	if len(a.Tables) != 2 || a.Tables[0].Nomenclature != shortage.FAP2009 || !a.Tables[0].Rows[0].Published || a.Tables[1].Nomenclature != shortage.FAP2021 || a.Tables[1].Rows[0].Published {
		t.Errorf("%d tables", len(a.Tables))
	}
	if err := writeBulletin(io.Discard, Bulletin{Quarter: "2026-Q1", Shortage: a}, "fr"); err != nil {
		t.Error(err)
	}

	// What is short in France and scarce in our campaign is seen together, wherever
	// one looks from.
	s := newStory(t)
	campaign(s, "2026-03-02 10:00", "c1",
		&matchingv1.OccupationScarcity{Rome: "J1501", Posts: 40, Filled: 10, Candidates: 10, OneMoreCandidate: 1},
		&matchingv1.OccupationScarcity{Rome: "H2913", Posts: 10, Filled: 10, Candidates: 90, Unplaced: 80, OneMorePost: 1})
	r.publish(s.events...)
	r.folded(1)
	b := ask[Bulletin](r, p, "/api/indicators/shortage/bulletin?zone=TN-71&quarter=2026-Q1&format=json")
	care := b.Campaign.Occupations[0].France
	if len(care) == 0 || care[0].Nomenclature != shortage.FAP2009 || care[0].Code != "V0Z60" || care[0].Class == nil || *care[0].Class != 4 || !strings.Contains(care[0].Label, "confort du patient") || care[0].Zone != "FR" {
		t.Errorf("J1501 in France: %+v", care)
	}
	if last := b.Headlines[len(b.Headlines)-1].FR; !strings.HasPrefix(last, "En tension en France (classe 4 ou 5) et rares dans notre campagne, 1\u00a0métier") {
		t.Errorf("%q", last)
	}
	region := ask[Shortage](r, p, "/api/indicators/shortage?zone=FR-84&nomenclature=FAP2009&occupation=V0Z60")
	if x := region.Tables[0].Rows[0]; len(x.Scarcity) != 1 || x.Scarcity[0].ROME != "J1501" || x.Scarcity[0].OneMoreCandidate != 1 {
		t.Errorf("%+v", x)
	}
	// In sheets of ROME, by the passage, when it is asked for so.
	sheets := ask[Shortage](r, p, "/api/indicators/shortage?zone=FR-84&nomenclature=ROME&period=2019")
	if len(sheets.Tables) != 1 || len(sheets.Tables[0].Rows) == 0 || !slices.Contains(sheets.Tables[0].Flags, shortage.Spread) {
		t.Errorf("%+v", sheets.Tables)
	}
}

func zonesOf(t *testing.T, book *shortage.Book) (zones []shortage.Zone) {
	t.Helper()
	for i := range 1000 {
		for _, text := range []string{fmt.Sprintf("FR-%02d", i), fmt.Sprintf("FR-D%02d", i), fmt.Sprintf("FR-D%dA", i), fmt.Sprintf("FR-D%dB", i)} {
			if z, err := shortage.ParseZone(text); err == nil && len(book.Sheets(z, nil)) > 0 && !slices.Contains(zones, z) {
				zones = append(zones, z)
			}
		}
	}
	return zones
}
