package main

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is the plain page that a browser on this machine sees.
type page struct {
	instance instance
	data     string
	client   *api.Client // asks the services as a manager would
	ready    func(context.Context) map[string]string
	tunis    *time.Location
}

type pageFigure struct{ LabelFR, LabelAR, Value, Target string }

type pageService struct {
	Name, Purpose string
	Ready         bool
	Reason        string
}

// purposes says in French what each service is for.
var purposes = map[string]string{
	"candidates":    "candidats et parcours",
	"employers":     "employeurs et offres",
	"matching":      "appariement expliqué et décisions",
	"indicators":    "indicateurs du programme",
	"notifications": "messages aux personnes",
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	view := struct {
		instance
		Data, At, Version string
		Services          []pageService
		Figures           []pageFigure
		FiguresError      string
	}{instance: p.instance, Data: p.data, Version: version(), At: time.Now().In(p.tunis).Format("02/01/2006 15:04")}
	reasons := p.ready(r.Context())
	for _, name := range serviceNames() {
		view.Services = append(view.Services, pageService{Name: name, Purpose: purposes[name], Ready: reasons[name] == "", Reason: reasons[name]})
	}
	var err error
	if view.Figures, err = p.figures(r.Context()); err != nil {
		view.FiguresError = "Les chiffres ne sont pas encore disponibles : rechargez la page dans un instant."
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, view); err != nil {
		http.Error(w, "page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(out.Bytes())
}

// local lets a request through when it comes from this machine, and demands a
// token with the permission from any other: the page and the metrics hold
// figures, never persons, but are not for the street.
func local(verifier access.Verifier, permission access.Permission, next http.Handler) http.Handler {
	guarded := api.Guard(verifier, permission, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		forwarded := r.Header.Get("X-Forwarded-For") + r.Header.Get("Forwarded")
		if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() && forwarded == "" {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}
