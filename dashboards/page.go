package dashboards

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
)

// The page's own files. boards.js is built from page/src by `make boards`.
//
//go:embed page/boards.js page/boards.css page/ar.json
var pageFiles embed.FS

const pageHTML = `<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Masar</title>
<link rel="stylesheet" href="/boards/assets/boards.css">
<script type="module" src="/boards/assets/boards.js"></script>
</head>
<body><noscript>JavaScript est nécessaire pour dessiner les tableaux. — تتطلب اللوحات جافا سكريبت.</noscript></body>
</html>
`

// Page serves the boards to a browser, read-only, below /boards: the board files
// themselves, and a script that draws them. sources are the Prometheus APIs that
// the boards ask (the part of their paths from /api/v1 on), by the uid of the data
// source. It holds figures and no persons, and lets through whoever asks: who may
// ask is for the caller to say.
func Page(sources map[string]http.Handler) (http.Handler, error) {
	type entry struct {
		UID         string `json:"uid"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	var list []entry
	files := map[string][]byte{}
	names, err := fs.Glob(Boards, "*.json")
	if err != nil {
		return nil, fmt.Errorf("dashboards: %w", err)
	}
	for _, name := range names {
		data, err := Boards.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("dashboards: %w", err)
		}
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, fmt.Errorf("dashboards: %s: %w", name, err)
		}
		list, files[e.UID] = append(list, e), data
	}
	slices.SortFunc(list, func(a, b entry) int { return slices.Index(order, a.UID) - slices.Index(order, b.UID) })
	index, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("dashboards: %w", err)
	}

	mux := http.NewServeMux()
	send := func(w http.ResponseWriter, kind string, data []byte) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(data) // the browser is gone: nothing to do about it
	}
	asset := func(name, kind string) http.HandlerFunc {
		data, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		return func(w http.ResponseWriter, _ *http.Request) { send(w, kind, data) }
	}
	mux.HandleFunc("GET /boards/assets/boards.js", asset("boards.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /boards/assets/boards.css", asset("boards.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /boards/texts", asset("ar.json", "application/json"))
	mux.HandleFunc("GET /boards/files", func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", index) })
	mux.HandleFunc("GET /boards/files/{uid}", func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[r.PathValue("uid")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		send(w, "application/json", data)
	})
	page := func(w http.ResponseWriter, r *http.Request) {
		if uid := r.PathValue("uid"); uid != "" && files[uid] == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		send(w, "text/html; charset=utf-8", []byte(pageHTML))
	}
	mux.HandleFunc("GET /boards", page)
	mux.HandleFunc("GET /boards/{uid}", page)
	for uid, source := range sources {
		prefix := "/boards/source/" + uid
		mux.HandleFunc("GET "+prefix+"/api/v1/", func(w http.ResponseWriter, r *http.Request) {
			http.StripPrefix(prefix, source).ServeHTTP(w, r)
		})
	}
	return mux, nil
}

// order is the order of the boards on the page.
var order = strings.Fields("masar-pilotage masar-parcours masar-schemas masar-territoires masar-marche masar-appariement masar-messages masar-plateforme")
