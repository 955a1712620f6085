package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/xuri/excelize/v2"

	"masar.local/tests/harness"
)

// world is a running platform, whichever way it runs.
type world struct {
	url     string // of the services
	metrics string // page with the KPI gauges
	kafka   string // broker
	token   func(role string) string
	cli     []string // flags by which the binary finds the platform
}

func upWorld(t *testing.T, p *harness.Platform) world {
	tokens := map[string]string{}
	return world{
		url: p.URL, metrics: p.URL + "/metrics", kafka: p.Kafka, cli: []string{"--data", p.Data},
		token: func(role string) string {
			if tokens[role] == "" {
				tokens[role] = p.Token(t, role)
			}
			return tokens[role]
		},
	}
}

func (w world) call(t *testing.T, role, method, path string, body, answer any) int {
	t.Helper()
	return harness.Call(t, w.token(role), method, w.url+path, body, answer)
}

// must is call that fails the test unless the answer has one of the statuses.
func (w world) must(t *testing.T, role, method, path string, body, answer any, statuses ...int) {
	t.Helper()
	var raw json.RawMessage
	if status := w.call(t, role, method, path, body, &raw); !slices.Contains(statuses, status) {
		t.Fatalf("%s %s: %d %s", method, path, status, raw)
	}
	if err := json.Unmarshal(raw, answer); answer != nil && err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, raw)
	}
}

func (w world) masar(t *testing.T, args ...string) (string, int) {
	t.Helper()
	return harness.Masar(t, append(args, w.cli...)...)
}

// candidates writes a workbook as a counsellor keeps one: Arabic and accented
// names, French headers, and some rows that cannot be used.
func candidates(t *testing.T) string {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	rows := [][]any{
		{"Nom", "Prénom", "اللقب", "الاسم", "Sexe", "Date de naissance", "Gouvernorat", "CIN", "Téléphone", "Courriel", "Langue", "Code ROME", "Expérience (mois)", "Français", "Disponible du", "Programme", "Consentements"},
		{"Ben Saïd", "Nadège", "بن سعيد", "نادية", "F", "1995-04-12", "Gafsa", "01234567", "20 123 456", "nadege@example.tn", "fr", "A1401", 24, "B1", "2026-01-01", "agri", "matching; notification; employer_disclosure; transfer; statistics"},
		{"Trabelsi", "Mohamed", "الطرابلسي", "محمد", "M", "12/03/1990", "قفصة", "07654321", "+21698765432", "mohamed@example.tn", "ar", "A1401", 48, "A2", "2026-01-01", "agri", "matching; notification; employer_disclosure; transfer; statistics"},
		{"Élouafi", "Zoé", "", "", "F", "2000-02-30", "Tunis", "02222222", "", "", "fr", "A1401", 0, "A2", "", "agri", "matching"},
		{"Gharbi", "Sami", "", "", "M", "1992-05-05", "Atlantide", "03333333", "", "", "fr", "A1401", 0, "A2", "", "agri", "matching"},
		{"Jeune", "Ali", "", "", "M", time.Now().AddDate(-16, 0, 0).Format(time.DateOnly), "Sfax", "04444444", "", "", "fr", "A1401", 0, "A2", "", "agri", "matching"},
		{"Mansouri", "Leïla", "المنصوري", "ليلى", "F", "1988-11-02", "Le Kef", "05555555", "", "leila@example.tn", "ar", "J1501", 36, "B2", "2026-01-01", "soin", "matching; notification"},
	}
	for n, row := range rows {
		cell, err := excelize.CoordinatesToCellName(1, n+1)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.SetSheetRow("Sheet1", cell, &row); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "liste.xlsx")
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

type page[T any] struct {
	Items []T `json:"items"`
}

type candidate struct {
	ID           string `json:"id"`
	FamilyName   string `json:"family_name"`
	FamilyNameAR string `json:"family_name_ar"`
	GivenName    string `json:"given_name"`
	Governorate  string `json:"governorate"`
}

type pathway struct {
	ID    string `json:"id"`
	Stage string `json:"stage"`
}

// story walks the main job from end to end on a fresh platform, as its users
// would: real offers in, a workbook of candidates in, a shortlist, decisions, a
// pathway to placement, figures, messages.
func story(t *testing.T, w world) {
	// Offers: real ones where they are, twice; then one of ours.
	offersIn := 0
	if file := filepath.Join(harness.Root(t), "..", "shared", "data", "offres", "ft_dep01_2025-08.jsonl"); exists(file) {
		out, code := w.masar(t, "import", "offers", file)
		if code != 0 || !strings.Contains(out, "créées : 455, mises à jour : 0, inchangées : 0, refusées : 0") {
			t.Fatalf("import of real offers: %d %s", code, out)
		}
		if out, code = w.masar(t, "import", "offers", file); code != 0 || !strings.Contains(out, "créées : 0, mises à jour : 0, inchangées : 455") {
			t.Fatalf("the same offers again: %d %s", code, out)
		}
		offersIn = 455
	}
	var employer, offer struct {
		ID string `json:"id"`
	}
	w.must(t, "officer", "POST", "/api/employers/employers", map[string]any{"legal_name": "Vergers du Rhône", "siret": "73282932000074", "naf": "01.24Z", "address": map[string]any{"departement": "26"}}, &employer, 201)
	terms := map[string]any{
		"employer_id": employer.ID, "title": "Cueillette de fruits", "rome": "A1401", "scheme": "agri", "contract": "SAI", "contract_months": 5,
		"posts": 1, "departement": "26", "languages": []map[string]any{{"code": "fr", "cefr": "A2", "required": true}}, "starts_on": "2027-03-01", "ends_on": "2027-08-01",
	}
	w.must(t, "officer", "POST", "/api/employers/offers", terms, &offer, 201)

	// Candidates: a dry run writes nothing, the import says which rows it refused.
	list := candidates(t)
	out, code := w.masar(t, "import", "candidates", list, "--dry-run")
	if code != 1 || !strings.Contains(out, "rien n'est écrit") {
		t.Fatalf("dry run: %d %s", code, out)
	}
	out, code = w.masar(t, "import", "candidates", list)
	if code != 1 || !strings.Contains(out, "créées : 3, mises à jour : 0, inchangées : 0, refusées : 3") {
		t.Fatalf("import of candidates: %d %s", code, out)
	}
	for _, want := range []string{"ligne 4", "2000-02-30", "ligne 5", "Atlantide", "ligne 6"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report of refused rows does not say %q:\n%s", want, out)
		}
	}
	if out, _ = w.masar(t, "import", "candidates", list); !strings.Contains(out, "créées : 0, mises à jour : 0, inchangées : 3, refusées : 3") {
		t.Fatalf("the same candidates again: %s", out)
	}
	var found page[candidate]
	w.call(t, "counsellor", "GET", "/api/candidates/candidates?name=ben+said", nil, &found)
	if len(found.Items) != 1 || found.Items[0].FamilyName != "Ben Saïd" || found.Items[0].FamilyNameAR != "بن سعيد" || found.Items[0].Governorate != "TN-71" {
		t.Fatalf("search by a name without accents: %+v", found)
	}
	nadia := found.Items[0].ID
	w.call(t, "counsellor", "GET", "/api/candidates/candidates?name=%D8%A7%D9%84%D8%B7%D8%B1%D8%A7%D8%A8%D9%84%D8%B3%D9%8A", nil, &found)
	if len(found.Items) != 1 || found.Items[0].FamilyName != "Trabelsi" {
		t.Fatalf("search by an Arabic name: %+v", found)
	}
	mohamed := found.Items[0].ID
	w.call(t, "counsellor", "GET", "/api/candidates/candidates?name=mansouri", nil, &found)
	if len(found.Items) != 1 {
		t.Fatalf("search: %+v", found)
	}
	leila := found.Items[0].ID

	// Pathways open; one follows the offer to the end.
	open := func(person, scheme string, at time.Time) (p pathway) {
		t.Helper()
		w.must(t, "counsellor", "POST", "/api/candidates/pathways", map[string]any{"candidate_id": person, "scheme": scheme, "occurred_at": at}, &p, 201)
		if p.Stage != "P02" {
			t.Fatalf("opened at %+v", p)
		}
		return p
	}
	start := time.Now().UTC().AddDate(0, 0, -40).Truncate(time.Hour)
	path := open(nadia, "agri", start)
	open(mohamed, "agri", start.AddDate(0, 0, 1))
	leilas := open(leila, "soin", start.AddDate(0, 0, 2))

	// The shortlist explains itself, and learns of people within seconds.
	var shortlist struct {
		Candidates []struct {
			CandidateID string `json:"candidate_id"`
			Score       int    `json:"score"`
			Parts       []any  `json:"parts"`
		} `json:"candidates"`
	}
	harness.Eventually(t, "both are on the shortlist", func() error {
		if status := w.call(t, "counsellor", "GET", "/api/matching/offers/"+offer.ID+"/candidates?k=5", nil, &shortlist); status != http.StatusOK {
			return fmt.Errorf("status %d", status)
		}
		if len(shortlist.Candidates) != 2 {
			return fmt.Errorf("%d on the shortlist", len(shortlist.Candidates))
		}
		return nil
	})
	for _, c := range shortlist.Candidates {
		if len(c.Parts) < 3 || c.Score <= 0 {
			t.Errorf("the score of %s is not explained: %+v", c.CandidateID, c)
		}
	}

	// Decisions move the pathway.
	stage := func(want string) func() error {
		return func() error {
			var p pathway
			if w.call(t, "counsellor", "GET", "/api/candidates/pathways/"+path.ID, nil, &p); p.Stage != want {
				return fmt.Errorf("stage is %s, want %s", p.Stage, want)
			}
			return nil
		}
	}
	at := start
	decide := func(kind string) {
		t.Helper()
		at = at.AddDate(0, 0, 2)
		harness.Eventually(t, "decision "+kind, func() error {
			var problem json.RawMessage
			if status := w.call(t, "counsellor", "POST", "/api/matching/decisions", map[string]any{"offer_id": offer.ID, "candidate_id": nadia, "kind": kind, "occurred_at": at}, &problem); status >= 300 {
				return fmt.Errorf("status %d: %s", status, problem)
			}
			return nil
		})
	}
	decide("shortlisted")
	harness.Eventually(t, "shortlisted moves to P04", stage("P04"))
	decide("interview")
	harness.Eventually(t, "interview moves to P07", stage("P07"))
	decide("hired")
	harness.Eventually(t, "hired moves to P08", stage("P08"))
	harness.Eventually(t, "the offer's only post is filled", func() error {
		var o struct {
			Status string `json:"status"`
		}
		if w.call(t, "officer", "GET", "/api/employers/offers/"+offer.ID, nil, &o); o.Status != "filled" && o.Status != "closed" {
			return fmt.Errorf("status %s", o.Status)
		}
		return nil
	})
	for _, next := range []string{"P09", "P10", "P11", "P12", "P13", "P14", "P15", "P16"} {
		at = at.AddDate(0, 0, 2)
		w.must(t, "officer", "POST", "/api/candidates/pathways/"+path.ID+"/moves", map[string]any{"to": next, "occurred_at": at}, &path, 200, 201)
	}
	w.must(t, "counsellor", "POST", "/api/candidates/pathways/"+leilas.ID+"/exit", map[string]any{"exit": "DESISTEMENT", "occurred_at": at}, &leilas, 200, 201)

	// An ordinary Kafka client publishes an offer and reads the answer and the event.
	kafkaClient(t, w)

	// The figures: counted by hand above, on the metrics page and by verify.
	harness.Eventually(t, "figures on the metrics page", func() error {
		m := harness.Metrics(t, w.metrics)
		for series, want := range map[string]float64{
			"masar_kpi_people_followed": 3,
			"masar_kpi_people_placed":   1,
			"masar_kpi_pathways_exited": 1,
			// Ours was filled; one came over Kafka.
			"masar_kpi_offers_open": float64(offersIn + 1),
		} {
			got, ok := sum(m, series)
			if !ok || got != want {
				return fmt.Errorf("%s is %v (there: %v), want %v", series, got, ok, want)
			}
		}
		return nil
	})
	if out, code := w.masar(t, "verify"); code != 0 {
		t.Fatalf("verify: %s", out)
	}

	correction(t, w, path.ID, at)

	// Messages: history is not news, so only what is recent was sent.
	harness.Eventually(t, "messages", func() error {
		var messages page[struct {
			Status string `json:"status"`
		}]
		w.call(t, "operator", "GET", "/api/notifications/messages?candidate="+nadia, nil, &messages)
		if len(messages.Items) < 10 {
			return fmt.Errorf("%d messages planned", len(messages.Items))
		}
		for _, m := range messages.Items {
			if m.Status == "planned" || m.Status == "sending" {
				return fmt.Errorf("a message is still %s", m.Status)
			}
		}
		return nil
	})
}

// correction gives the arrival of the only person placed the date before: the
// figure of either day follows within seconds, and what was known before is still
// told to who asks for it.
func correction(t *testing.T, w world, path string, arrived time.Time) {
	t.Helper()
	var p struct {
		History []struct {
			To string `json:"to"`
		} `json:"history"`
	}
	w.must(t, "officer", "GET", "/api/candidates/pathways/"+path, nil, &p, 200)
	entry := 0
	for i, e := range p.History {
		if e.To == "P16" {
			entry = i + 1
		}
	}
	tunis, err := time.LoadLocation("Africa/Tunis")
	if err != nil {
		t.Fatal(err)
	}
	// placed gives people placed by day, as known at a moment; zero: now.
	placed := func(asOf time.Time) (map[string]float64, error) {
		var answer struct {
			Rows []struct {
				Period string   `json:"period"`
				Value  *float64 `json:"value"`
			} `json:"rows"`
		}
		ask := "/api/indicators/values?code=people_placed&grain=day"
		if !asOf.IsZero() {
			ask += "&as_of=" + asOf.Format(time.RFC3339Nano)
		}
		if status := w.call(t, "statistician", "GET", ask, nil, &answer); status != http.StatusOK {
			return nil, fmt.Errorf("status %d", status)
		}
		days := map[string]float64{}
		for _, r := range answer.Rows {
			if r.Value != nil && *r.Value > 0 {
				days[r.Period] = *r.Value
			}
		}
		return days, nil
	}
	right := arrived.AddDate(0, 0, -1)
	was, is := map[string]float64{arrived.In(tunis).Format(time.DateOnly): 1}, map[string]float64{right.In(tunis).Format(time.DateOnly): 1}
	harness.Eventually(t, "the day of arrival as it was told", func() error {
		if days, err := placed(time.Time{}); err != nil || !maps.Equal(days, was) {
			return fmt.Errorf("%v, %v; want %v", days, err, was)
		}
		return nil
	})
	before := time.Now().UTC().Add(-10 * time.Millisecond) // moments are kept to the millisecond
	w.must(t, "officer", "POST", "/api/candidates/pathways/"+path+"/corrections", map[string]any{"entry": entry, "occurred_at": right}, nil, 200)
	harness.Eventually(t, "the figures follow the correction", func() error {
		if days, err := placed(time.Time{}); err != nil || !maps.Equal(days, is) {
			return fmt.Errorf("%v, %v; want %v", days, err, is)
		}
		return nil
	})
	// Another replica may answer, which has yet to read the fact that was corrected.
	harness.Eventually(t, "what was known before the correction is told", func() error {
		if days, err := placed(before); err != nil || !maps.Equal(days, was) {
			return fmt.Errorf("%v, %v; want %v", days, err, was)
		}
		return nil
	})
	harness.Eventually(t, "the metrics page follows too", func() error {
		for series, days := range harness.Metrics(t, w.metrics) {
			if strings.HasPrefix(series, "masar_kpi_stage_days_by_stage{") && strings.Contains(series, `stage="P15"`) && days != 1 {
				return fmt.Errorf("%s is %v, want 1 day", series, days)
			}
		}
		return nil
	})
	if out, code := w.masar(t, "verify"); code != 0 {
		t.Errorf("verify after the correction: %s", out)
	}
}

// sum adds the samples of a metric, whatever its labels.
func sum(m map[string]float64, name string) (total float64, ok bool) {
	for series, v := range m {
		if series == name || strings.HasPrefix(series, name+"{") {
			total, ok = total+v, true
		}
	}
	return total, ok
}

// kafkaClient is an integrator with a client that is not ours.
func kafkaClient(t *testing.T, w world) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	writer := &kafka.Writer{Addr: kafka.TCP(w.kafka), Topic: "masar.in.offers.v1", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer writer.Close()
	good := `{"id":"KAFKA-1","intitule":"Aide agricole","description":"Récolte","dateCreation":"2026-06-01T08:00:00.000Z","romeCode":"A1402","typeContrat":"CDD","typeContratLibelle":"CDD - 6 Mois","nombrePostes":2,"lieuTravail":{"libelle":"84 - CAVAILLON","codePostal":"84300","commune":"84035"}}`
	if err := writer.WriteMessages(ctx, kafka.Message{Key: []byte("KAFKA-1"), Value: []byte(good)}, kafka.Message{Key: []byte("KAFKA-2"), Value: []byte("not an offer")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"KAFKA-1": true, "KAFKA-2": true}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{w.kafka}, GroupID: "sigaf", Topic: "masar.in.answers.v1", MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset})
	defer reader.Close()
	for len(want) > 0 {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("no answer for %v: %v", want, err)
		}
		text := string(m.Value)
		for key := range want {
			if strings.Contains(text, key) || string(m.Key) == key {
				delete(want, key)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// TestUp tells the story on `masar up`, stops it by SIGTERM, and finds
// everything again after the start.
func TestUp(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := harness.Up(t, data)
	story(t, upWorld(t, p))

	before := harness.Metrics(t, p.URL+"/metrics")
	if err := p.Stop(t); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, p.Output())
	}
	p = harness.Up(t, data)
	w := upWorld(t, p)
	if out, code := w.masar(t, "verify"); code != 0 {
		t.Fatalf("verify after a restart: %s", out)
	}
	after := harness.Metrics(t, p.URL+"/metrics")
	for series, v := range before {
		if strings.HasPrefix(series, "masar_kpi_") && after[series] != v {
			t.Errorf("after a restart %s is %v, was %v", series, after[series], v)
		}
	}
	// Group offsets are there: nothing is answered a second time.
	answers, code := w.masar(t, "tail", "masar.in.answers.v1", "--from-start", "--until-end")
	if code != 0 || strings.Count(answers, "\n") != 2 {
		t.Errorf("answers after a restart: %s", answers)
	}
	if out, code := w.masar(t, "doctor"); code != 0 && !strings.Contains(out, "dead letters") {
		t.Errorf("doctor: %s", out)
	}
}
