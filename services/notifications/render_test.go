package notifications

import (
	"bytes"
	"flag"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"masar.local/pkg/reference"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(go test -update accepts it)", name, got, want)
	}
}

func renderer(t testing.TB) *Renderer {
	t.Helper()
	r, err := NewRenderer(reference.Schemes())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sample is a message as it would be planned.
func sample(kind Template) *Message {
	return &Message{
		CandidateID: "01JD8Z7Q4M0000000000000000", PathwayID: "01JD8Z8XAMPLE0000000000000", CauseID: "01JD8Z9CAUSE00000000000000",
		Template: kind, Scheme: "agri", SchemeVersion: "1", Stage: "P07",
		// Past midnight in Tunis, the day before in UTC.
		OccurredAt: time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC),
		PlannedAt:  time.Date(2026, 11, 22, 23, 31, 0, 0, time.UTC),
		Status:     Planned,
	}
}

// mails to one person in each language.
var people = map[string]struct{ name, address string }{
	French: {"Améni Ben Salah", "ameni@example.tn"},
	Arabic: {"أماني بن صالح", "ameni@example.tn"},
}

func sampleMail(t testing.TB, kind Template, language string) Mail {
	t.Helper()
	m := sample(kind)
	subject, body, err := renderer(t).Text(m, people[language].name, language)
	if err != nil {
		t.Fatal(err)
	}
	return Mail{
		MessageID: MessageID(m.CauseID, m.CandidateID), From: mail.Address{Name: "Masar", Address: "masar@example.tn"},
		To: people[language].address, Subject: subject, Body: body, Language: language, Date: m.PlannedAt, News: m.OccurredAt,
	}
}

func TestGoldenTexts(t *testing.T) {
	for _, kind := range Templates {
		for _, language := range Languages {
			m := sampleMail(t, kind, language)
			golden(t, string(kind)+"."+language+".txt", []byte(m.Subject+"\n\n"+m.Body))
		}
	}
}

// TestReadme: the samples in README.md are what is sent.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range Languages {
		if m := sampleMail(t, StageEntered, language); !strings.Contains(string(readme), m.Subject+"\n\n"+strings.TrimSpace(m.Body)) {
			t.Errorf("README.md does not show the text in %s as it is", language)
		}
	}
}

func TestGoldenMails(t *testing.T) {
	for _, language := range Languages {
		msg, err := sampleMail(t, StageEntered, language).compose()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := msg.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, "stage_entered."+language+".eml", b.Bytes())
	}
}

// TestEveryNews renders what any scheme can cause, in both languages, and looks
// for what must never be said.
func TestEveryNews(t *testing.T) {
	r := renderer(t)
	health := []string{"médical", "medical", "santé", "inapt", "طبي", "الصحة", "صحي"}
	for _, scheme := range reference.Schemes().All() {
		for _, stage := range scheme.Stages {
			for _, kind := range Templates {
				if discreet[stage.Code] && (kind == PathwayOpened || kind == StageEntered) {
					continue // Plan makes it StageDiscreet
				}
				for _, language := range Languages {
					m := sample(kind)
					m.Scheme, m.SchemeVersion, m.Stage = scheme.Code, scheme.Version, stage.Code
					subject, body, err := r.Text(m, "Zoé", language)
					if err != nil {
						t.Fatal(err)
					}
					text := subject + "\n" + body
					for _, word := range health {
						if strings.Contains(strings.ToLower(text), word) {
							t.Errorf("%s %s %s in %s speaks of health: %q", scheme.Code, stage.Code, kind, language, word)
						}
					}
					for _, exit := range scheme.Exits {
						if strings.Contains(text, exit.Code) || strings.Contains(text, exit.LabelFR) || strings.Contains(text, exit.LabelAR) {
							t.Errorf("%s %s %s in %s tells an exit: %s", scheme.Code, stage.Code, kind, language, exit.Code)
						}
					}
					if !strings.Contains(text, "23/11/2026") {
						t.Errorf("%s in %s lacks the date in Tunis", kind, language)
					}
					if !strings.Contains(text, m.PathwayID) || strings.Contains(text, m.CandidateID) {
						t.Errorf("%s in %s: the reference is the pathway, not the person", kind, language)
					}
				}
			}
		}
	}
}

// TestIsolates: whatever a name is made of, every isolate that is opened in a
// line is closed in it, and a name is one line.
func TestIsolates(t *testing.T) {
	r := renderer(t)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.OneOf(
			rapid.RuneFrom([]rune("Aé'- \n\r\t\u202a\u202e\u2066\u2067\u2068\u2069\u200f\u2028")), rapid.Rune(),
			rapid.RuneFrom([]rune("أماني بن صالح")),
		)).Draw(t, "name")
		language := rapid.SampledFrom(Languages).Draw(t, "language")
		subject, body, err := r.Text(sample(StageEntered), name, language)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(subject+"\n"+body, "\n")
		plain, _, _ := r.Text(sample(StageEntered), "X", language)
		if got, want := len(lines), len(strings.Split(plain+"\n"+mustBody(r, language), "\n")); got != want {
			t.Fatalf("%d lines instead of %d: the name broke out", got, want)
		}
		for _, line := range lines {
			open := 0
			for _, c := range line {
				switch c {
				case '\u2066', '\u2067', '\u2068':
					open++
				case '\u2069':
					if open--; open < 0 {
						t.Fatalf("an isolate is closed that was not opened: %q", line)
					}
				case '\u202a', '\u202b', '\u202c', '\u202d', '\u202e':
					t.Fatalf("a direction override is in %q", line)
				}
			}
			if open != 0 {
				t.Fatalf("an isolate is left open: %q", line)
			}
		}
	})
}

func mustBody(r *Renderer, language string) string {
	_, body, err := r.Text(sample(StageEntered), "X", language)
	if err != nil {
		panic(err)
	}
	return body
}

func TestTextOfUnknown(t *testing.T) {
	r := renderer(t)
	for name, change := range map[string]func(*Message){
		"scheme":   func(m *Message) { m.Scheme = "mars" },
		"version":  func(m *Message) { m.SchemeVersion = "99" },
		"stage":    func(m *Message) { m.Stage = "P99" },
		"template": func(m *Message) { m.Template = "birthday" },
	} {
		m := sample(StageEntered)
		change(m)
		if _, _, err := r.Text(m, "Zoé", French); err == nil {
			t.Errorf("a text about an unknown %s", name)
		}
	}
	if subject, _, err := r.Text(sample(StageEntered), "Zoé", "de"); err != nil || !strings.HasPrefix(subject, "Votre") {
		t.Errorf("a language without templates: %q, %v", subject, err)
	}
}
