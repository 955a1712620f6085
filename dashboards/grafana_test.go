package dashboards

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// grafanaServer behaves as Grafana's HTTP API does towards those who provision it, as far
// as its documentation and DESIGN §5 say: it numbers what it keeps, adds fields of its
// own, hides secrets, and refuses what is there already. No Grafana can be had where
// these tests run.
type grafanaServer struct {
	*httptest.Server
	mu      sync.Mutex
	release string
	folders map[string]object
	sources map[string]object
	boards  map[string]object // dashboard and meta
	rules   map[string]object
	contact []object
	policy  object
	teams   []object
	rights  map[string][]object
	writes  int
}

const goodToken = "glsa_good"

func newGrafana(t *testing.T) *grafanaServer {
	t.Helper()
	g := &grafanaServer{
		release: "12.2.1", folders: map[string]object{}, sources: map[string]object{}, boards: map[string]object{}, rules: map[string]object{},
		rights: map[string][]object{},
		policy: object{"receiver": "grafana-default-email", "group_by": []any{"grafana_folder", "alertname"}, "routes": []any{
			object{"receiver": "somebody", "active_time_intervals": []any{"nights"}, "object_matchers": []any{[]any{"team", "=", "water"}}},
		}},
	}
	mux := http.NewServeMux()
	handle := func(pattern string, do func(r *http.Request, in object) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if r.URL.Path != "/api/health" {
				switch r.Header.Get("Authorization") {
				case "Bearer " + goodToken:
				case "Bearer viewer":
					if r.Method != http.MethodGet {
						g.answer(w, http.StatusForbidden, object{"message": "You'll need additional permissions to perform this action. Permissions needed: folders:create"})
						return
					}
				default:
					g.answer(w, http.StatusUnauthorized, object{"message": "Invalid API key"})
					return
				}
			}
			var in object
			_ = json.NewDecoder(r.Body).Decode(&in)
			if r.Method != http.MethodGet {
				g.writes++
			}
			status, out := do(r, in)
			g.answer(w, status, out)
		})
	}
	missing := object{"message": "not found"}
	kept := func(m map[string]object, key string) (int, any) {
		if o := m[key]; o != nil {
			return http.StatusOK, o
		}
		return http.StatusNotFound, missing
	}

	handle("GET /api/health", func(*http.Request, object) (int, any) {
		return http.StatusOK, object{"database": "ok", "version": g.release}
	})
	handle("GET /api/folders", func(*http.Request, object) (int, any) {
		list := []object{}
		for _, f := range g.folders {
			list = append(list, f)
		}
		return http.StatusOK, list
	})
	handle("POST /api/folders", func(_ *http.Request, in object) (int, any) {
		uid := in.text("uid")
		if g.folders[uid] != nil {
			return http.StatusConflict, object{"message": "a folder with that uid exists"}
		}
		g.folders[uid] = object{"id": len(g.folders) + 1, "uid": uid, "title": in["title"], "url": "/dashboards/f/" + uid}
		g.rights[uid] = []object{{"role": "Viewer", "permission": 1}, {"role": "Editor", "permission": 2}, {"role": "Admin", "permission": 4}}
		return http.StatusOK, g.folders[uid]
	})
	handle("GET /api/folders/{uid}", func(r *http.Request, _ object) (int, any) { return kept(g.folders, r.PathValue("uid")) })
	handle("PUT /api/folders/{uid}", func(r *http.Request, in object) (int, any) {
		g.folders[r.PathValue("uid")]["title"] = in["title"]
		return http.StatusOK, g.folders[r.PathValue("uid")]
	})
	handle("GET /api/folders/{uid}/permissions", func(r *http.Request, _ object) (int, any) {
		if g.folders[r.PathValue("uid")] == nil {
			return http.StatusNotFound, missing
		}
		return http.StatusOK, g.rights[r.PathValue("uid")]
	})
	handle("POST /api/folders/{uid}/permissions", func(r *http.Request, in object) (int, any) {
		list := []object{{"role": "Admin", "permission": 4}}
		items, _ := in["items"].([]any)
		for _, i := range items {
			item := object(i.(map[string]any))
			if item["teamId"] == nil && item["userId"] == nil {
				return http.StatusBadRequest, object{"message": "bad permission"}
			}
			list = append(list, item.with("uid", r.PathValue("uid")).with("isFolder", true))
		}
		g.rights[r.PathValue("uid")] = list
		return http.StatusOK, object{"message": "Folder permissions updated"}
	})
	handle("GET /api/teams/search", func(r *http.Request, _ object) (int, any) {
		list := []object{}
		for _, t := range g.teams {
			if strings.Contains(strings.ToLower(t.text("name")), strings.ToLower(r.URL.Query().Get("query"))) {
				list = append(list, t)
			}
		}
		return http.StatusOK, object{"totalCount": len(list), "teams": list}
	})
	handle("POST /api/teams", func(_ *http.Request, in object) (int, any) {
		for _, t := range g.teams {
			if t["name"] == in["name"] {
				return http.StatusConflict, object{"message": "Team name taken"}
			}
		}
		g.teams = append(g.teams, object{"id": len(g.teams) + 7, "name": in["name"], "memberCount": 0})
		return http.StatusOK, object{"teamId": len(g.teams) + 6}
	})
	source := func(in object) object { // secrets are never shown
		o := in.with("id", len(g.sources)+1).with("secureJsonFields", object{"httpHeaderValue1": true}).with("readOnly", false)
		delete(o, "secureJsonData")
		return o
	}
	handle("GET /api/datasources/uid/{uid}", func(r *http.Request, _ object) (int, any) { return kept(g.sources, r.PathValue("uid")) })
	handle("GET /api/datasources/uid/{uid}/health", func(r *http.Request, _ object) (int, any) {
		if status, out := kept(g.sources, r.PathValue("uid")); status != http.StatusOK {
			return status, out
		}
		if strings.Contains(g.sources[r.PathValue("uid")].text("url"), "nowhere") {
			return http.StatusBadRequest, object{"status": "ERROR", "message": "dial tcp: no such host"}
		}
		return http.StatusOK, object{"status": "OK"}
	})
	handle("POST /api/datasources", func(_ *http.Request, in object) (int, any) {
		if g.sources[in.text("uid")] != nil {
			return http.StatusConflict, object{"message": "data source with the same uid already exists"}
		}
		g.sources[in.text("uid")] = source(in)
		return http.StatusOK, object{"id": len(g.sources)}
	})
	handle("PUT /api/datasources/uid/{uid}", func(r *http.Request, in object) (int, any) {
		g.sources[r.PathValue("uid")] = source(in)
		return http.StatusOK, object{}
	})
	handle("GET /api/search", func(*http.Request, object) (int, any) {
		list := []object{}
		for uid, b := range g.boards {
			list = append(list, object{"uid": uid, "title": b["dashboard"].(object)["title"], "type": "dash-db", "folderUid": b["meta"].(object)["folderUid"]})
		}
		return http.StatusOK, list
	})
	handle("GET /api/dashboards/uid/{uid}", func(r *http.Request, _ object) (int, any) { return kept(g.boards, r.PathValue("uid")) })
	handle("DELETE /api/dashboards/uid/{uid}", func(r *http.Request, _ object) (int, any) {
		delete(g.boards, r.PathValue("uid"))
		return http.StatusOK, object{}
	})
	handle("POST /api/dashboards/db", func(_ *http.Request, in object) (int, any) {
		model := object(in["dashboard"].(map[string]any))
		uid, version := model.text("uid"), 1
		if old := g.boards[uid]; old != nil {
			if in["overwrite"] != true {
				return http.StatusPreconditionFailed, object{"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
			}
			version = old["dashboard"].(object)["version"].(int) + 1
		}
		if g.folders[in.text("folderUid")] == nil {
			return http.StatusBadRequest, object{"message": "folder not found"}
		}
		// It may keep a board in another form than it was given.
		model = model.with("id", 40+len(g.boards)).with("version", version).with("preload", false)
		g.boards[uid] = object{"dashboard": model, "meta": object{"folderUid": in["folderUid"]}}
		return http.StatusOK, object{"uid": uid, "version": version}
	})
	handle("GET /api/v1/provisioning/alert-rules", func(*http.Request, object) (int, any) {
		list := []object{}
		for _, r := range g.rules {
			list = append(list, r)
		}
		return http.StatusOK, list
	})
	handle("GET /api/v1/provisioning/alert-rules/{uid}", func(r *http.Request, _ object) (int, any) { return kept(g.rules, r.PathValue("uid")) })
	handle("POST /api/v1/provisioning/alert-rules", func(_ *http.Request, in object) (int, any) {
		for _, r := range g.rules {
			if r["uid"] == in["uid"] || r["title"] == in["title"] && r["folderUid"] == in["folderUid"] {
				return http.StatusConflict, object{"message": "a conflicting alert rule is found"}
			}
		}
		g.rules[in.text("uid")] = in.with("id", len(g.rules)+1).with("provenance", "api").with("updated", "2026-11-23T10:00:00Z")
		return http.StatusCreated, g.rules[in.text("uid")]
	})
	handle("PUT /api/v1/provisioning/alert-rules/{uid}", func(r *http.Request, in object) (int, any) {
		if g.rules[r.PathValue("uid")] == nil {
			return http.StatusNotFound, missing
		}
		g.rules[r.PathValue("uid")] = in.with("provenance", "api").with("updated", "2026-11-23T11:00:00Z")
		return http.StatusOK, in
	})
	handle("DELETE /api/v1/provisioning/alert-rules/{uid}", func(r *http.Request, _ object) (int, any) {
		delete(g.rules, r.PathValue("uid"))
		return http.StatusNoContent, nil
	})
	handle("GET /api/v1/provisioning/contact-points", func(*http.Request, object) (int, any) { return http.StatusOK, g.contact })
	handle("POST /api/v1/provisioning/contact-points", func(_ *http.Request, in object) (int, any) {
		g.contact = append(g.contact, in.with("provenance", "api"))
		return http.StatusAccepted, in
	})
	handle("PUT /api/v1/provisioning/contact-points/{uid}", func(r *http.Request, in object) (int, any) {
		for i, c := range g.contact {
			if c["uid"] == r.PathValue("uid") {
				g.contact[i] = in
			}
		}
		return http.StatusAccepted, object{}
	})
	handle("GET /api/v1/provisioning/policies", func(*http.Request, object) (int, any) { return http.StatusOK, g.policy })
	handle("PUT /api/v1/provisioning/policies", func(r *http.Request, in object) (int, any) {
		if r.Header.Get("X-Disable-Provenance") == "" {
			return http.StatusBadRequest, object{"message": "the policy could no longer be edited by others"}
		}
		names := map[any]bool{"grafana-default-email": true, "somebody": true}
		for _, c := range g.contact {
			names[c["name"]] = true
		}
		for _, route := range in["routes"].([]any) {
			if name := route.(map[string]any)["receiver"]; !names[name] {
				return http.StatusBadRequest, object{"message": fmt.Sprintf("receiver %v does not exist", name)}
			}
		}
		g.policy = in
		return http.StatusAccepted, object{}
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// panels are those of a board that it keeps.
func (g *grafanaServer) panels(t *testing.T, uid string) []panel {
	t.Helper()
	var kept struct{ Dashboard board }
	if err := g.boards[uid].into(&kept); err != nil {
		t.Fatal(err)
	}
	return kept.Dashboard.Panels
}

func (g *grafanaServer) answer(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}
