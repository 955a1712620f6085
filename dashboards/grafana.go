package dashboards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gapi "github.com/grafana/grafana-api-golang-client"
)

// object is something that Grafana keeps, in the JSON form of its HTTP API.
type object map[string]any

// kind is a kind of object.
type kind string

// The kinds, by the word that is shown for them.
const (
	folders    kind = "folder"
	sources    kind = "data source"
	boardsKind kind = "board"
	rules      kind = "alert rule"
	contacts   kind = "contact point"
	policies   kind = "notification policy"
	teams      kind = "team"
	rights     kind = "permissions"
)

// grafana is what provisioning needs of a Grafana. An object that is not there is
// nil, and no error.
type grafana interface {
	// version is that of the server; it fails where the token is not accepted.
	version() (string, error)
	get(k kind, uid string) (object, error)
	// list gives all boards, or all alert rules.
	list(k kind) ([]object, error)
	// put creates the object, or replaces what is there.
	put(k kind, uid string, o object, there bool) error
	remove(k kind, uid string) error
	// answers asks a data source whether it can be asked.
	answers(source string) error
}

// client speaks to Grafana by its frozen upstream client, and by hand where that has
// no call (lists of rules, checks of sources) or would drop fields of others (the
// notification policy, of which there is one for all).
type client struct {
	*gapi.Client
	http       *http.Client
	url, token string
}

func connect(address, token string) (grafana, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("grafana: %q is no address: give it as https://grafana.example.org", address)
	}
	if token == "" {
		return nil, errors.New("grafana: no token: make a service account with the role Admin in Grafana (Administration, Service accounts), and give its token")
	}
	c := &client{http: &http.Client{Timeout: 30 * time.Second}, url: strings.TrimSuffix(address, "/"), token: token}
	c.Client, err = gapi.New(c.url, gapi.Config{APIKey: token, Client: c.http, NumRetries: 2, RetryTimeout: time.Second})
	return c, err
}

// byHand calls the API, and decodes the answer into out unless that is nil.
func (c *client) byHand(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	// The policy stays editable in Grafana: most of it is not ours.
	req.Header.Set("X-Disable-Provenance", "true")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNotFound:
		return gapi.ErrNotFound{BodyContents: answer}
	case resp.StatusCode >= 400:
		return fmt.Errorf("status: %d, body: %s", resp.StatusCode, answer) // as the client's
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

// explain says what to do about an error of the API.
func (c *client) explain(err error) error {
	var refused *net.OpError
	var noSuchHost *net.DNSError
	var unreachable *url.Error
	var notJSON *json.SyntaxError
	switch text := fmt.Sprint(err); {
	case err == nil:
		return nil
	case errors.As(err, &noSuchHost), errors.As(err, &refused), errors.As(err, &unreachable):
		return fmt.Errorf("grafana: %s cannot be reached: is the address right, and is it open from here? (%w)", c.url, err)
	case errors.As(err, &notJSON):
		return fmt.Errorf("grafana: %s does not answer as Grafana does: is it the address of its first page, with the path below which it is served? (%w)", c.url, err)
	case strings.HasPrefix(text, "status: 401"):
		return fmt.Errorf("grafana: %s does not accept the token: it is wrong, has expired or is of another organisation; make a new one (Administration, Service accounts) (%w)", c.url, err)
	case strings.HasPrefix(text, "status: 403"):
		return fmt.Errorf("grafana: the token may not do this: its service account needs the role Admin of the organisation (%w)", err)
	case strings.Contains(text, "provisioned"):
		return fmt.Errorf("grafana: it was provisioned from a file, which alone can change it: take it out of Grafana's provisioning directory, or leave it to that (%w)", err)
	}
	return fmt.Errorf("grafana: %w", err)
}

func (c *client) version() (string, error) {
	health, err := c.Health()
	if err != nil {
		var missing gapi.ErrNotFound
		if errors.As(err, &missing) {
			return "", fmt.Errorf("grafana: nothing answers below %s: is it the address of its first page, with the path below which it is served?", c.url)
		}
		return "", c.explain(err)
	}
	_, err = c.Folders() // health asks for no token
	return health.Version, c.explain(err)
}

// asObject gives any value of the client's as an object.
func asObject(v any) (o object, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return o, json.Unmarshal(data, &o)
}

// into is the other way round.
func (o object) into(v any) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (o object) text(name string) string {
	text, _ := o[name].(string)
	return text
}

// inner is an object in the object, or nil.
func (o object) inner(name string) object {
	switch in := o[name].(type) {
	case object:
		return in
	case map[string]any:
		return in
	}
	return nil
}

// with gives a copy of the object that has one more field.
func (o object) with(name string, value any) object {
	out := object{name: value}
	for k, v := range o {
		if k != name {
			out[k] = v
		}
	}
	return out
}

func (c *client) get(k kind, uid string) (object, error) {
	o, err := c.find(k, uid)
	var missing gapi.ErrNotFound
	if errors.As(err, &missing) {
		return nil, nil
	}
	return o, c.explain(err)
}

func (c *client) find(k kind, uid string) (object, error) {
	var found any
	var err error
	switch k {
	case folders:
		found, err = c.FolderByUID(uid)
	case sources:
		found, err = c.DataSourceByUID(uid)
	case boardsKind:
		b, err := c.DashboardByUID(uid)
		if err != nil {
			return nil, err
		}
		return object{"dashboard": b.Model, "folderUid": b.Meta.FolderUID}, nil
	case rules:
		found, err = c.AlertRule(uid)
	case contacts:
		all, err := c.ContactPoints()
		for _, p := range all {
			if p.UID == uid {
				return asObject(p)
			}
		}
		return nil, err
	case policies:
		var o object
		err := c.byHand(http.MethodGet, "/api/v1/provisioning/policies", nil, &o)
		return o, err
	case teams:
		all, err := c.SearchTeam(uid)
		if err != nil {
			return nil, err
		}
		for _, t := range all.Teams {
			if t.Name == uid {
				return asObject(t)
			}
		}
		return nil, nil
	case rights:
		items, err := c.FolderPermissions(uid)
		if err != nil {
			return nil, err
		}
		return asObject(map[string]any{"items": items})
	}
	if err != nil {
		return nil, err
	}
	return asObject(found)
}

func (c *client) list(k kind) (all []object, err error) {
	if k == rules {
		return all, c.explain(c.byHand(http.MethodGet, "/api/v1/provisioning/alert-rules", nil, &all))
	}
	found, err := c.Dashboards()
	if err != nil {
		return nil, c.explain(err)
	}
	for _, f := range found {
		all = append(all, object{"uid": f.UID, "title": f.Title, "folderUid": f.FolderUID})
	}
	return all, nil
}

func (c *client) put(k kind, uid string, o object, there bool) error {
	return c.explain(c.write(k, uid, o, there))
}

func (c *client) write(k kind, uid string, o object, there bool) error {
	switch k {
	case folders:
		if there {
			return c.UpdateFolder(uid, o.text("title"))
		}
		_, err := c.NewFolder(o.text("title"), uid)
		return err
	case sources:
		var s gapi.DataSource
		if err := o.into(&s); err != nil {
			return err
		}
		if there {
			return c.UpdateDataSourceByUID(&s)
		}
		_, err := c.NewDataSource(&s)
		return err
	case boardsKind:
		_, err := c.NewDashboard(gapi.Dashboard{Model: o.inner("dashboard"), FolderUID: o.text("folderUid"), Overwrite: there, Message: "masar dashboards apply"})
		return err
	case rules:
		var r gapi.AlertRule
		if err := o.into(&r); err != nil {
			return err
		}
		if there {
			return c.UpdateAlertRule(&r)
		}
		_, err := c.NewAlertRule(&r)
		return err
	case contacts:
		var p gapi.ContactPoint
		if err := o.into(&p); err != nil {
			return err
		}
		if there {
			return c.UpdateContactPoint(&p)
		}
		_, err := c.NewContactPoint(&p)
		return err
	case policies:
		return c.byHand(http.MethodPut, "/api/v1/provisioning/policies", o, nil)
	case teams:
		_, err := c.AddTeam(uid, "")
		return err
	case rights:
		var items gapi.PermissionItems
		if err := o.into(&items); err != nil {
			return err
		}
		return c.UpdateFolderPermissions(uid, &items)
	}
	return fmt.Errorf("a %s cannot be written", k)
}

func (c *client) remove(k kind, uid string) error {
	if k == rules {
		return c.explain(c.DeleteAlertRule(uid))
	}
	return c.explain(c.DeleteDashboardByUID(uid))
}

func (c *client) answers(source string) error {
	return c.explain(c.byHand(http.MethodGet, "/api/datasources/uid/"+url.PathEscape(source)+"/health", nil, nil))
}

// atLeast says whether a version such as 12.1.0-pre is one or a later one.
func atLeast(version string, major int) bool {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return err == nil && n >= major
}
