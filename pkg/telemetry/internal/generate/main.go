// Command generate writes names.go and docs/telemetry.md from registry.yaml; go
// generate runs it in pkg/telemetry.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/goccy/go-yaml"
)

// What is read and written, from pkg/telemetry.
const (
	source = "registry.yaml"
	names  = "names.go"
	guide  = "../../docs/telemetry.md"
)

type registry struct{ Groups []group }

type group struct {
	Title, About, Origin, Stability string
	Metrics                         []metric
	Attributes                      []attribute
}

type metric struct {
	Const, Name, Instrument, Unit, Endpoint, EN, FR string
	Attributes                                      []string
}

type attribute struct {
	Const, Name, EN, On, Personal string
	Values, Examples              []string
}

// Prefix says that the name is the beginning of names.
func (m metric) Prefix() bool { return strings.HasSuffix(m.Name, ".") }

// suffixes are what the exporter for Prometheus makes of the units that we have.
var suffixes = map[string]string{"": "", "s": "_seconds", "d": "_days"}

// Prometheus is the name as boards and alerts have it.
func (m metric) Prometheus() string {
	name := strings.ReplaceAll(m.Name, ".", "_") + suffixes[m.Unit]
	if m.Instrument == "counter" {
		name += "_total"
	}
	return name
}

// Label is the name as boards and alerts have it.
func (a attribute) Label() string { return strings.ReplaceAll(a.Name, ".", "_") }

// Comment is what stands before the constant of a metric.
func (m metric) Comment() string {
	kind := m.Instrument
	if m.Unit != "" {
		kind += ", " + m.Unit
	}
	if m.Endpoint != "" {
		kind += ", of the KPI endpoint only"
	}
	return m.Const + " (" + kind + "): " + m.EN + "."
}

// Comment is what stands before the constant of an attribute.
func (a attribute) Comment() string {
	only := ""
	if a.On != "" {
		only = " (of " + a.On + " only)"
	}
	return a.Const + only + ": " + a.EN + "."
}

// Source is the sentence on where a group's names come from.
func (g group) Source() string {
	if version, ok := strings.CutPrefix(g.Origin, "semconv "); ok {
		return "Names of OpenTelemetry's semantic conventions " + version + " (" + g.Stability + ")."
	}
	return "Names of Masar's own."
}

func (r registry) metrics() (all []metric) {
	for _, g := range r.Groups {
		all = append(all, g.Metrics...)
	}
	return all
}

func (r registry) attributes() (all []attribute) {
	for _, g := range r.Groups {
		all = append(all, g.Attributes...)
	}
	return all
}

var (
	nameRule     = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*(\.[a-z][a-z0-9]*(_[a-z0-9]+)*)*$`)
	constantRule = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	originRule   = regexp.MustCompile(`^(masar|semconv 1\.\d+)$`)
)

// read reads a registry and refuses one that breaks a rule.
func read(data []byte) (registry, error) {
	var r registry
	if err := yaml.UnmarshalWithOptions(data, &r, yaml.Strict()); err != nil {
		return r, fmt.Errorf("%s: %w", source, err)
	}
	var broken []string
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	seen := map[string]bool{}
	once := func(what, name string) {
		if name != "" && seen[what+name] {
			fail("%s: the %s is there twice", name, what)
		}
		seen[what+name] = true
	}
	var known []string
	for _, a := range r.attributes() {
		known = append(known, a.Name)
	}
	for _, g := range r.Groups {
		stable := slices.Contains([]string{"stable", "development"}, g.Stability)
		if g.Title == "" || !originRule.MatchString(g.Origin) || stable != (g.Origin != "masar") {
			fail("group %q: a title is needed, and an origin: masar, or semconv 1.x with a stability", g.Title)
		}
		for _, m := range g.Metrics {
			once("name", m.Name)
			once("name for Prometheus", m.Prometheus())
			once("constant", m.Const)
			bare := strings.TrimSuffix(m.Name, ".")
			if !nameRule.MatchString(bare) || !strings.Contains(m.Name, ".") || (g.Origin == "masar") != strings.HasPrefix(m.Name, "masar.") {
				fail("%s: not a metric's name by the conventions, or not below masar. and of our own", m.Name)
			}
			if strings.HasSuffix(bare, "total") || strings.HasSuffix(bare, "seconds") {
				fail("%s: the unit and _total are no part of the name", m.Name)
			}
			if !constantRule.MatchString(m.Const) {
				fail("%s: the constant %q is none that Go exports", m.Name, m.Const)
			}
			if !slices.Contains([]string{"counter", "gauge", "histogram"}, m.Instrument) {
				fail("%s: the instrument %q", m.Name, m.Instrument)
			}
			if _, ok := suffixes[m.Unit]; !ok && !(strings.HasPrefix(m.Unit, "{") && strings.HasSuffix(m.Unit, "}")) {
				fail("%s: the unit %q; what is counted stands in braces", m.Name, m.Unit)
			}
			if m.Endpoint != "" && m.Endpoint != "kpi" {
				fail("%s: the endpoint %q", m.Name, m.Endpoint)
			}
			if m.EN == "" || m.FR == "" || strings.HasSuffix(m.EN+m.FR, ".") {
				fail("%s: no description in English and French, or a full stop at its end", m.Name)
			}
			for _, name := range m.Attributes {
				if !slices.Contains(known, name) {
					fail("%s: the attribute %s is nowhere", m.Name, name)
				}
			}
		}
		for _, a := range g.Attributes {
			once("name", a.Name)
			once("label", a.Label())
			once("constant", a.Const)
			if !nameRule.MatchString(a.Name) {
				fail("%s: not an attribute's name by the conventions", a.Name)
			}
			if a.Const != "" && !constantRule.MatchString(a.Const) {
				fail("%s: the constant %q is none that Go exports", a.Name, a.Const)
			}
			if a.EN == "" || len(a.Values)+len(a.Examples) == 0 {
				fail("%s: no description, or neither values nor examples", a.Name)
			}
			if a.On != "" && a.On != "spans" {
				fail("%s: on %q", a.Name, a.On)
			}
			if a.Personal != "never" {
				fail("%s: an attribute is never personal, and must say so", a.Name)
			}
		}
	}
	if len(broken) > 0 {
		return r, fmt.Errorf("%s:\n%s", source, strings.Join(broken, "\n"))
	}
	return r, nil
}

//go:embed names.go.tmpl
var namesTemplate string

//go:embed guide.md.tmpl
var guideTemplate string

// generate gives the files that are made from a registry, by their path.
func generate(r registry) (map[string][]byte, error) {
	files := map[string][]byte{}
	for path, text := range map[string]string{names: namesTemplate, guide: guideTemplate} {
		t, err := template.New(path).Funcs(template.FuncMap{"code": code}).Parse(text)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, r); err != nil {
			return nil, err
		}
		files[path] = b.Bytes()
	}
	var err error
	files[names], err = format.Source(files[names])
	return files, err
}

// code sets values as code in a cell of a table; what is empty would not be seen.
func code(values []string) string {
	var all []string
	for _, v := range values {
		if v == "" {
			v = `""`
		}
		all = append(all, "`"+v+"`")
	}
	return strings.Join(all, ", ")
}

func run() error {
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	r, err := read(data)
	if err != nil {
		return err
	}
	files, err := generate(r)
	if err != nil {
		return err
	}
	for path, text := range files {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
