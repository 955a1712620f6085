package notifications

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
	"time"
	"unicode"

	// The image that runs this service may carry no time zones.
	_ "time/tzdata"

	"masar.local/pkg/reference"
)

//go:embed templates/*.txt
var templateFiles embed.FS

// Unicode isolates (UAX 9): a date or a code must read left to right inside an
// Arabic sentence, and a name in one script must not turn the sentence of the
// other around.
const (
	leftToRight = "\u2066"
	firstStrong = "\u2068"
	popIsolate  = "\u2069"
)

// Renderer writes the texts.
type Renderer struct {
	texts   map[Template]map[string]*template.Template
	schemes reference.SchemeSet
	zone    *time.Location
}

// NewRenderer reads the embedded templates. The error names the one that is
// missing or cannot be read.
func NewRenderer(schemes reference.SchemeSet) (*Renderer, error) {
	zone, err := time.LoadLocation("Africa/Tunis")
	if err != nil {
		return nil, fmt.Errorf("notifications: time zone of the texts: %w", err)
	}
	r := &Renderer{texts: map[Template]map[string]*template.Template{}, schemes: schemes, zone: zone}
	for _, kind := range Templates {
		r.texts[kind] = map[string]*template.Template{}
		for _, language := range Languages {
			source, err := source(kind, language)
			if err != nil {
				return nil, err
			}
			t, err := template.New(string(kind) + "." + language).Option("missingkey=error").Parse(source)
			if err != nil {
				return nil, fmt.Errorf("notifications: template %s in %s: %w", kind, language, err)
			}
			r.texts[kind][language] = t
		}
	}
	return r, nil
}

// source is a template with the footer of its language.
func source(kind Template, language string) (string, error) {
	text, err := fs.ReadFile(templateFiles, "templates/"+string(kind)+"."+language+".txt")
	if err != nil {
		return "", fmt.Errorf("notifications: template %s in %s: %w", kind, language, err)
	}
	footer, err := fs.ReadFile(templateFiles, "templates/footer."+language+".txt")
	if err != nil {
		return "", fmt.Errorf("notifications: footer in %s: %w", language, err)
	}
	return string(text) + string(footer), nil
}

// words are what a template may say.
type words struct{ Name, Scheme, Stage, Date, Reference string }

// Text renders the message for a person of that name in that language ("fr" or
// "ar"; any other is written in French). The first line of a template is the
// subject.
func (r *Renderer) Text(m *Message, name, language string) (subject, body string, err error) {
	if language != Arabic {
		language = French
	}
	scheme, ok := r.schemes.Get(m.Scheme, m.SchemeVersion)
	if !ok {
		return "", "", fmt.Errorf("notifications: scheme %s %s is not known", m.Scheme, m.SchemeVersion)
	}
	w := words{
		Name:      phrase(language, name),
		Scheme:    label(language, scheme.LabelFR, scheme.LabelAR),
		Date:      plain(language, m.OccurredAt.In(r.zone).Format("02/01/2006")),
		Reference: plain(language, m.PathwayID),
	}
	if m.Template != StageDiscreet {
		stage, ok := scheme.Stage(m.Stage)
		if !ok {
			return "", "", fmt.Errorf("notifications: scheme %s %s has no stage %s", m.Scheme, m.SchemeVersion, m.Stage)
		}
		w.Stage = label(language, stage.LabelFR, stage.LabelAR)
	}
	t, ok := r.texts[m.Template][language]
	if !ok {
		return "", "", fmt.Errorf("notifications: template %q is not known", m.Template)
	}
	var text strings.Builder
	if err := t.Execute(&text, w); err != nil {
		return "", "", fmt.Errorf("notifications: template %s in %s: %w", m.Template, language, err)
	}
	subject, body, _ = strings.Cut(text.String(), "\n")
	return subject, strings.TrimLeft(body, "\n"), nil
}

// label chooses the label in the language, and the French one where the scheme
// has no other.
func label(language, fr, ar string) string {
	if language == Arabic && ar != "" {
		return clean(ar)
	}
	return phrase(language, fr)
}

// phrase prepares a text of either direction for a sentence in the language.
func phrase(language, s string) string {
	s = clean(s)
	if language == Arabic || strings.ContainsFunc(s, rightToLeft) {
		return firstStrong + s + popIsolate
	}
	return s
}

// plain prepares a code or a date, which always reads left to right.
func plain(language, s string) string {
	if language == Arabic {
		return leftToRight + clean(s) + popIsolate
	}
	return clean(s)
}

// rightToLeft says whether the character belongs to a script written from the
// right that a name in Tunisia may come in.
func rightToLeft(c rune) bool { return unicode.In(c, unicode.Arabic, unicode.Hebrew) }

// clean takes out control characters and stray direction marks: a name is one
// line and must not break out of its isolate.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029':
			return ' '
		case c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069':
			return -1
		}
		return c
	}, strings.TrimSpace(s))
}
