package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/runtime"
	"masar.local/services/indicators"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is the plain page that a browser on this machine sees.
type page struct {
	running instance
	data    string
	client  *api.Client // asks the services as a manager would
	tunis   *time.Location
}

func newPage(running instance, data string, client *api.Client) (*page, error) {
	tunis, err := time.LoadLocation("Africa/Tunis")
	if err != nil {
		return nil, fmt.Errorf("time zones: %w", err)
	}
	return &page{running: running, data: data, client: client, tunis: tunis}, nil
}

// figure is one line of the programme's present figures, as the page shows it.
type figure struct{ LabelFR, LabelAR, Value, Target string }

type pageService struct {
	Name, Purpose string
	Problems      []string // empty when it is ready
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
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	view := struct {
		URL, Kafka, Data, At, Version string
		Services                      []pageService
		Figures                       []figure
		FiguresError                  string
	}{URL: p.running.URL, Kafka: p.running.Kafka, Data: p.data, Version: version(), At: time.Now().In(p.tunis).Format("02/01/2006 15:04")}
	view.Services = p.services(ctx)
	var err error
	if view.Figures, err = p.figures(ctx); err != nil {
		view.FiguresError = "Les chiffres ne sont pas encore disponibles : rechargez la page dans un instant."
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, view); err != nil {
		api.WriteProblem(ctx, w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(out.Bytes()) // the browser is gone: nothing to do about it
}

// services reads the readiness report and gives each service its checks.
func (p *page) services(ctx context.Context) []pageService {
	var report runtime.Report
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.running.URL+"/healthz/ready", nil)
	if err == nil {
		var res *http.Response
		if res, err = http.DefaultClient.Do(req); err == nil {
			err = json.NewDecoder(res.Body).Decode(&report)
			res.Body.Close()
		}
	}
	var out []pageService
	for _, name := range serviceNames() {
		s := pageService{Name: name, Purpose: purposes[name]}
		if err != nil {
			s.Problems = []string{err.Error()}
		}
		for _, c := range report.Checks {
			if !c.OK && strings.Contains(c.Name, name) {
				s.Problems = append(s.Problems, c.Name+": "+c.Reason)
			}
		}
		out = append(out, s)
	}
	return out
}

// asked forwards questions to a service of this platform, below a path of it, with
// the asker's own token and so in its scope; with one of ours for who needs none.
func asked(base, path string, tokens access.TokenSource) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, err := url.Parse(base)
		if err != nil {
			api.WriteProblem(r.Context(), w, err)
			return
		}
		token, err := tokens.Token(r.Context())
		if err != nil {
			api.WriteProblem(r.Context(), w, err)
			return
		}
		proxy := &httputil.ReverseProxy{Rewrite: func(to *httputil.ProxyRequest) {
			to.Out.URL.Path, to.Out.URL.RawPath = path+to.In.URL.Path, ""
			to.SetURL(target)
			if to.In.Header.Get("Authorization") == "" {
				to.Out.Header.Set("Authorization", "Bearer "+token)
			}
		}}
		proxy.ServeHTTP(w, r)
	})
}

// local lets a request through when a browser or a scraper on this machine makes
// it, and demands a token with the permission from any other: the page and the
// metrics hold figures, never persons, but are not for the street.
func local(verifier access.Verifier, permission access.Permission, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			p, err := verifier.Verify(r.Context(), token)
			if err != nil || !p.Can(permission) {
				api.WriteProblem(r.Context(), w, api.Unauthorized("from another machine, this needs a token with the permission %s", permission))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// fromHere tells whether the request comes from this machine and was meant for
// it: not through a proxy, and not by a foreign name that resolves to loopback.
func fromHere(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	return isLoopback(r.RemoteAddr) && isLoopback(r.Host)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// figures reads the programme's present figures.
func (p *page) figures(ctx context.Context) ([]figure, error) {
	var summary indicators.Summary
	if err := p.client.Get(ctx, "/api/indicators/summary", &summary); err != nil {
		return nil, err
	}
	var out []figure
	for _, f := range summary.Figures {
		line := figure{LabelFR: f.LabelFR, LabelAR: f.LabelAR, Value: number(f.Value), Target: number(f.Target)}
		switch {
		case f.Suppressed:
			line.Value = "moins de 5"
		case f.Value == nil:
			line.Value = "–"
		case f.Unit == "days":
			line.Value += " jours"
		}
		if f.Target == nil {
			line.Target = f.TargetStatus
		}
		out = append(out, line)
	}
	return out, nil
}

// number writes a figure as it is read in French: 12 345,6.
func number(v *float64) string {
	if v == nil {
		return ""
	}
	whole, part, _ := strings.Cut(strconv.FormatFloat(*v, 'f', -1, 64), ".")
	sign := ""
	if whole, sign = strings.TrimPrefix(whole, "-"), ""; *v < 0 {
		sign = "-"
	}
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "\u202f" + whole[at:]
	}
	if part != "" {
		part = "," + part
	}
	return sign + whole + part
}
