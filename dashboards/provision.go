package dashboards

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	gapi "github.com/grafana/grafana-api-golang-client"
)

// Settings are what the boards of an installation need to know of it.
type Settings struct {
	Grafana string // its address
	Token   string // of a service account with the role Admin

	Metrics      string // address of the Prometheus that scrapes Masar, as Grafana reaches it
	Figures      string // address of Masar, as Grafana reaches it
	Public       string // address of Masar, as browsers reach it; "": as Grafana does
	FiguresToken string // with which Grafana reads figures; what it may read is its scope
	Traces       string // address of Tempo, or after "jaeger+" of Jaeger, as Grafana reaches it; "": nothing leads to traces

	Runbooks       string   // address of docs/runbook.md, for the links of alerts; may be empty
	OperatorsMails []string // where alerts about the platform go; none: left as it is
	ManagersMails  []string // where alerts about delays and milestones go
}

// OldestGrafana is the oldest major version with everything that the boards use.
const OldestGrafana = 11

// What is ours, by its uid or name.
const (
	managersFolder  = "masar-pilotage"
	operatorsFolder = "masar-plateforme"
	figuresSource   = "masar-kpi"
	metricsSource   = "masar-metrics"
	tracesSource    = "masar-traces"
	managersTeam    = "Masar – pilotage"
	operatorsTeam   = "Masar – exploitation"
)

// Change is one difference between what should be in Grafana and what is.
type Change struct {
	Kind, UID, Title string
	Action           string   // create, update or delete
	Details          []string // of an update: what differs
	// Manual says why somebody else's work would be lost: then it is only done by force.
	Manual string
}

// Provisioner brings the boards, and what they need, into a Grafana.
type Provisioner struct {
	grafana  grafana
	settings Settings
}

// Connect checks the address, the token and the version of a Grafana.
func Connect(s Settings) (*Provisioner, error) {
	g, err := connect(s.Grafana, s.Token)
	if err != nil {
		return nil, err
	}
	version, err := g.version()
	if err != nil {
		return nil, err
	}
	if !atLeast(version, OldestGrafana) {
		return nil, fmt.Errorf("grafana: %s is version %q: the boards need %d or a later one", s.Grafana, version, OldestGrafana)
	}
	return &Provisioner{grafana: g, settings: s}, nil
}

// Diff lists what Apply would do.
func (p *Provisioner) Diff() ([]Change, error) {
	var all []Change
	err := p.each(func(c Change, _ func() error) error {
		all = append(all, c)
		return nil
	})
	return all, err
}

// Apply makes every difference disappear, and says what it does before it does it.
// What somebody changed or made by hand is left alone and returned, unless force.
// Twice is once, and one that was stopped half-way can be started again.
func (p *Provisioner) Apply(force bool, say func(Change)) (left []Change, err error) {
	err = p.each(func(c Change, do func() error) error {
		if c.Manual != "" && !force {
			left = append(left, c)
			return nil
		}
		say(c)
		if err := do(); err != nil {
			return fmt.Errorf("%s %s: %w", c.Kind, c.UID, err)
		}
		return nil
	})
	return left, err
}

// Check asks whether the data sources answer, and lists what differs. The traces are
// not asked: Grafana 11 has no health check of Tempo for others.
func (p *Provisioner) Check() ([]Change, error) {
	var faults []error
	for _, source := range []string{figuresSource, metricsSource} {
		if err := p.grafana.answers(source); err != nil {
			faults = append(faults, fmt.Errorf("data source %s: %w", source, err))
		}
	}
	changes, err := p.Diff()
	return changes, errors.Join(append(faults, err)...)
}

// each finds the differences, in the order in which they can be done.
func (p *Provisioner) each(found func(c Change, do func() error) error) error {
	all, err := p.wanted()
	if err != nil {
		return err
	}
	ours := map[kind][]string{}
	for _, w := range all {
		ours[w.kind] = append(ours[w.kind], w.uid)
		have, err := p.grafana.get(w.kind, w.uid)
		if err != nil {
			return fmt.Errorf("%s %s: %w", w.kind, w.uid, err)
		}
		want, err := w.complete(have)
		if err != nil {
			return fmt.Errorf("%s %s: %w", w.kind, w.uid, err)
		}
		c := Change{Kind: string(w.kind), UID: w.uid, Title: w.title, Action: "create"}
		if have != nil {
			bare := have
			if w.stamp != nil {
				bare, c.Manual = w.stamp.bare(have), w.stamp.manual(have)
			}
			visible := maps.Clone(want)
			delete(visible, "secureJsonData") // which Grafana does not show again
			c.Action, c.Details = "update", differences(visible, bare)
			if len(c.Details) == 0 {
				continue
			}
		}
		if err := found(c, func() error { return p.write(w, want, have != nil) }); err != nil {
			return err
		}
	}
	return p.eachGone(ours, found)
}

// eachGone finds what we made once, and is no longer wanted.
func (p *Provisioner) eachGone(ours map[kind][]string, found func(c Change, do func() error) error) error {
	for _, k := range []kind{rules, boardsKind} {
		list, err := p.grafana.list(k)
		if err != nil {
			return fmt.Errorf("%ss: %w", k, err)
		}
		for _, o := range list {
			uid := o.text("uid")
			if !strings.HasPrefix(uid, "masar-") || slices.Contains(ours[k], uid) {
				continue
			}
			have, err := p.grafana.get(k, uid)
			if err != nil {
				return fmt.Errorf("%s %s: %w", k, uid, err)
			}
			stamp := stamps[k]
			if have == nil || stamp.read(have) == "" {
				continue // it is not ours
			}
			c := Change{Kind: string(k), UID: uid, Title: o.text("title"), Action: "delete", Manual: stamp.manual(have)}
			if err := found(c, func() error { return p.grafana.remove(k, uid) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted is an object that should be there.
type wanted struct {
	kind       kind
	uid, title string
	complete   func(have object) (object, error) // what it should be, given what is there
	stamp      *stamp                            // of what people may change by hand
}

func exactly(o object) func(object) (object, error) {
	return func(object) (object, error) { return o, nil }
}

// write writes an object. Of one with a stamp it reads what Grafana made of it: it
// may keep it in another form than it was given.
func (p *Provisioner) write(w wanted, want object, there bool) error {
	if w.stamp == nil {
		return p.grafana.put(w.kind, w.uid, want, there)
	}
	mark := w.stamp.mark(want)
	for range 2 {
		if err := p.grafana.put(w.kind, w.uid, w.stamp.write(want, mark), there); err != nil {
			return err
		}
		have, err := p.grafana.get(w.kind, w.uid)
		if err != nil {
			return err
		}
		if have == nil {
			return errors.New("grafana took it, and does not have it: try again")
		}
		kept := w.stamp.mark(have)
		if kept == mark {
			return nil
		}
		mark, there = kept, true
	}
	return nil
}

// stamp is how an object says that we wrote it, and what it was then: so that what
// was changed since by hand can be told from what is new here.
type stamp struct {
	read  func(o object) string
	write func(o object, mark string) object
	// bare is the object without its stamp and what Grafana numbers by itself.
	bare func(o object) object
}

// mark is what a stamp says: a hash of everything else.
func (s *stamp) mark(o object) string {
	data, err := json.Marshal(s.bare(o))
	if err != nil {
		panic(err) // it came from JSON
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// manual says why an object must not be overwritten, or nothing.
func (s *stamp) manual(have object) string {
	switch s.read(have) {
	case "":
		return "it is there already, and was not made by Masar"
	case s.mark(have):
		return ""
	}
	return "it was changed by hand"
}

// stampName is the variable of a board, or the annotation of a rule, that is its stamp.
const stampName = "masar_provisioned"

var stamps = map[kind]*stamp{
	boardsKind: {
		read: func(o object) string {
			for _, v := range variables(o) {
				if v["name"] == stampName {
					mark, _ := v["query"].(string)
					return mark
				}
			}
			return ""
		},
		write: func(o object, mark string) object {
			return withVariables(o, append(slices.Clone(variables(o)), object{
				"name": stampName, "type": "constant", "hide": 2, "skipUrlSync": true, "query": mark,
				"description": "Written by `masar dashboards apply`: tells a change by hand from a new version.",
			}))
		},
		bare: func(o object) object {
			board := withVariables(o, slices.DeleteFunc(slices.Clone(variables(o)), func(v object) bool { return v["name"] == stampName }))
			model := maps.Clone(board.inner("dashboard"))
			delete(model, "id")
			delete(model, "version")
			return board.with("dashboard", model)
		},
	},
	rules: {
		read: func(o object) string { return o.inner("annotations").text(stampName) },
		write: func(o object, mark string) object {
			return o.with("annotations", o.inner("annotations").with(stampName, mark))
		},
		bare: func(o object) object {
			notes := maps.Clone(o.inner("annotations"))
			delete(notes, stampName)
			o = o.with("annotations", notes)
			for _, name := range []string{"id", "orgId", "orgID", "updated", "provenance"} {
				delete(o, name)
			}
			return o
		},
	},
}

// variables are those of a board.
func variables(o object) (list []object) {
	board, _ := asObject(o)
	var b struct {
		Dashboard struct{ Templating struct{ List []object } }
	}
	if err := board.into(&b); err != nil {
		return nil
	}
	return b.Dashboard.Templating.List
}

func withVariables(o object, list []object) object {
	copied, err := asObject(o)
	if err != nil {
		panic(err) // it came from JSON
	}
	if list == nil {
		list = []object{}
	}
	return copied.with("dashboard", copied.inner("dashboard").with("templating", object{"list": list}))
}

// differences lists where what is there is not as wanted, by their paths. What is
// there beside that, such as Grafana's own defaults, is none.
func differences(want, have any) []string {
	var list []string
	var compare func(path string, want, have any)
	compare = func(path string, want, have any) {
		switch w := want.(type) {
		case map[string]any:
			h, ok := have.(map[string]any)
			if !ok && (have != nil || len(w) > 0) {
				list = append(list, fmt.Sprintf("%s: %s instead of %s", path, short(have), short(want)))
				return
			}
			for _, name := range slices.Sorted(maps.Keys(w)) {
				compare(strings.TrimPrefix(path+"."+name, "."), w[name], h[name])
			}
		case []any:
			h, _ := have.([]any)
			if len(h) != len(w) {
				list = append(list, fmt.Sprintf("%s: %d instead of %d", path, len(h), len(w)))
				return
			}
			for i := range w {
				compare(fmt.Sprintf("%s[%d]", path, i), w[i], h[i])
			}
		default:
			if empty := reflect.ValueOf(want); have == nil && (want == nil || empty.IsZero()) {
				return // Grafana leaves out what says nothing
			}
			if !reflect.DeepEqual(want, have) {
				list = append(list, fmt.Sprintf("%s: %s instead of %s", path, short(have), short(want)))
			}
		}
	}
	plain := func(v any) (out any) { // numbers and maps of one type each
		data, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(data, &out)
		}
		if err != nil {
			panic(err) // it came from JSON
		}
		return out
	}
	compare("", plain(want), plain(have))
	return list
}

// short is a value as people read it, and not too much of it.
func short(v any) string {
	if v == nil {
		return "nothing"
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const most = 60
	if text := []rune(string(data)); len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(data)
}

// wanted lists everything that should be there, what needs something else after it.
func (p *Provisioner) wanted() (all []wanted, err error) {
	s := p.settings
	add := func(k kind, uid, title string, complete func(object) (object, error)) {
		all = append(all, wanted{k, uid, title, complete, stamps[k]})
	}
	for _, f := range [][2]string{{managersFolder, "Masar – pilotage"}, {operatorsFolder, "Masar – plateforme"}} {
		add(folders, f[0], f[1], exactly(object{"uid": f[0], "title": f[1]}))
	}
	add(teams, managersTeam, managersTeam, exactly(object{"name": managersTeam}))
	add(teams, operatorsTeam, operatorsTeam, exactly(object{"name": operatorsTeam}))
	// Whoever steers sees the boards of figures, whoever operates sees all.
	add(rights, managersFolder, "who sees the boards of figures", p.sees(managersTeam, operatorsTeam))
	add(rights, operatorsFolder, "who sees the boards of the platform", p.sees(operatorsTeam))
	add(sources, figuresSource, "Masar – chiffres", exactly(p.figures()))
	exemplars := []any{} // that there are none is said: what is left out would stay as it is
	if s.Traces != "" {
		kind, address := s.traces()
		add(sources, tracesSource, "Masar – traces", exactly(object{
			"uid": tracesSource, "name": "Masar – traces", "type": kind, "access": "proxy", "url": address,
		}))
		exemplars = append(exemplars, object{"name": "trace_id", "datasourceUid": tracesSource})
	}
	add(sources, metricsSource, "Masar – mesures", exactly(object{
		"uid": metricsSource, "name": "Masar – mesures", "type": "prometheus", "access": "proxy", "url": s.Metrics,
		"jsonData": object{"httpMethod": "POST", "timeInterval": "15s", "exemplarTraceIdDestinations": exemplars},
	}))

	names, err := fs.Glob(Boards, "*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := Boards.ReadFile(name)
		if err != nil {
			return nil, err
		}
		// Browsers fetch the shapes of maps by themselves.
		public := strings.TrimSuffix(cmp.Or(s.Public, s.Figures), "/")
		data = bytes.ReplaceAll(data, []byte("${masar}"), []byte(public))
		var model object
		if err := json.Unmarshal(data, &model); err != nil {
			return nil, fmt.Errorf("dashboards: %s: %w", name, err)
		}
		delete(model, "version") // Grafana counts its own
		s.link(model)
		folder := managersFolder
		if tags, _ := model["tags"].([]any); slices.Contains(tags, any("plateforme")) {
			folder = operatorsFolder
		}
		add(boardsKind, model.text("uid"), model.text("title"), exactly(object{"dashboard": model, "folderUid": folder}))
	}
	alerts, err := grafanaRules(s.Runbooks)
	if err != nil {
		return nil, err
	}
	for _, r := range alerts {
		add(rules, r.text("uid"), r.text("title"), exactly(r))
	}

	var routes []any
	for _, to := range []struct {
		uid, name, audience string
		mails               []string
	}{
		{"masar-exploitation", operatorsTeam, "operators", s.OperatorsMails},
		{"masar-pilotage", managersTeam, "managers", s.ManagersMails},
	} {
		if len(to.mails) == 0 {
			continue
		}
		add(contacts, to.uid, to.name, exactly(object{
			"uid": to.uid, "name": to.name, "type": "email", "settings": object{"addresses": strings.Join(to.mails, ";"), "singleEmail": true},
		}))
		routes = append(routes, object{
			"receiver": to.name, "group_by": []string{"alertname", "service"},
			"object_matchers": [][]string{{"audience", "=", to.audience}, {"managed_by", "=", "masar"}},
		})
	}
	if len(routes) > 0 {
		add(policies, "", "who gets which alerts", func(have object) (object, error) { return routed(have, routes) })
	}
	return all, nil
}

// traces is what keeps the traces, and where.
func (s Settings) traces() (kind, address string) {
	if address, ok := strings.CutPrefix(s.Traces, "jaeger+"); ok {
		return "jaeger", address
	}
	return "tempo", s.Traces
}

// inJaeger makes of a link of the boards, which asks Tempo for the traces of a
// service, one that asks Jaeger.
var inJaeger = strings.NewReplacer(
	`%22type%22:%22tempo%22`, `%22type%22:%22jaeger%22`,
	`%22queryType%22:%22traceql%22,%22query%22:%22%7Bresource.service.name%3D%5C%22`, `%22queryType%22:%22search%22,%22service%22:%22`,
	`%5C%22%7D%22`, `%22`,
)

// link has the links of a board's panels lead to the traces that there are.
func (s Settings) link(board object) {
	kind, _ := s.traces()
	panels, _ := board["panels"].([]any)
	for _, p := range panels {
		panel, _ := p.(map[string]any)
		field := object(panel).inner("fieldConfig").inner("defaults")
		links, _ := field["links"].([]any)
		if len(links) == 0 {
			continue
		}
		field["links"] = slices.DeleteFunc(links, func(l any) bool { // and not left out, as above
			link := object(l.(map[string]any))
			url := link.text("url")
			if kind == "jaeger" {
				link["url"] = inJaeger.Replace(url)
			}
			return s.Traces == "" && strings.Contains(url, tracesSource)
		})
	}
}

// figures is the data source of the figures. Grafana does not show its token again,
// so that a new one is told from the old by a hash.
func (p *Provisioner) figures() object {
	sum := sha256.Sum256([]byte(p.settings.FiguresToken))
	return object{
		"uid": figuresSource, "name": "Masar – chiffres", "type": "prometheus", "access": "proxy",
		"url": strings.TrimSuffix(p.settings.Figures, "/") + "/api/indicators/prometheus",
		"jsonData": object{
			"httpMethod": "POST", "timeInterval": "1d", "httpHeaderName1": "Authorization",
			"masarToken": hex.EncodeToString(sum[:8]),
		},
		"secureJsonData": object{"httpHeaderValue1": "Bearer " + p.settings.FiguresToken},
	}
}

// sees are the rights to a folder: teams look, and no role does but Admin, which
// always does. Who was let in by hand stays.
func (p *Provisioner) sees(who ...string) func(object) (object, error) {
	return func(have object) (object, error) {
		var items gapi.PermissionItems
		for _, name := range who {
			t, err := p.grafana.get(teams, name)
			if err != nil {
				return nil, err
			}
			id, _ := t["id"].(float64)
			items.Items = append(items.Items, &gapi.PermissionItem{TeamID: int64(id), Permission: 1})
		}
		var there struct{ Items []gapi.FolderPermission }
		if err := have.into(&there); err != nil {
			return nil, err
		}
		// Whoever is there and must not be, or is not and must, is a difference.
		same := have != nil
		missing := len(items.Items)
		for _, h := range there.Items {
			switch at := slices.IndexFunc(items.Items, func(i *gapi.PermissionItem) bool { return h.TeamID != 0 && i.TeamID == h.TeamID }); {
			case at >= 0:
				missing--
				same = same && h.Permission == items.Items[at].Permission
			case h.TeamID != 0 || h.UserID != 0:
				items.Items = append(items.Items, &gapi.PermissionItem{TeamID: h.TeamID, UserID: h.UserID, Permission: h.Permission})
			case h.Role != "Admin":
				same = false
			}
		}
		if same && missing == 0 {
			return have, nil
		}
		return asObject(items)
	}
}

// routed is the notification policy with our routes before all others, which stay.
func routed(have object, routes []any) (object, error) {
	if have == nil {
		return nil, errors.New("grafana: it has no notification policy: is its alerting switched off?")
	}
	list, _ := have["routes"].([]any)
	for _, r := range list {
		route, _ := r.(map[string]any)
		if name := object(route).text("receiver"); name != managersTeam && name != operatorsTeam {
			routes = append(routes, r)
		}
	}
	return have.with("routes", routes), nil
}
