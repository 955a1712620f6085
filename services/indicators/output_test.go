package indicators

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// conditional asks with If-None-Match.
func (r *rig) conditional(p access.Principal, path, etag string) (int, http.Header, string) {
	r.t.Helper()
	return r.getWith(p, path, "If-None-Match", etag)
}

// TestFiguresThatHaveNotChanged: whoever has the figures gets 304, until a fact, the
// day, the question or the reader's scope changes them.
func TestFiguresThatHaveNotChanged(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	manager := as(access.Manager)
	scoped := manager
	scoped.Governorates = []string{"TN-71"}
	seen := map[string]string{}
	for _, path := range []string{
		"/api/indicators/values?code=people_followed&by=sex",
		"/api/indicators/values?code=people_followed&by=scheme",
		"/api/indicators/values?code=people_followed&by=sex&format=csv",
		"/api/indicators/values?code=people_followed&as_of=2026-02-01",
		"/api/indicators/summary",
		"/api/indicators/indicators",
	} {
		status, header, body := r.get(manager, path)
		etag := header.Get("ETag")
		if status != 200 || etag == "" || header.Get("Cache-Control") != "private, no-cache" || body == "" {
			t.Fatalf("GET %s: %d %v", path, status, header)
		}
		if other, twice := seen[etag]; twice {
			t.Errorf("%s and %s have one tag", path, other)
		}
		seen[etag] = path
		if status, header, body := r.conditional(manager, path, etag); status != http.StatusNotModified || body != "" || header.Get("ETag") != etag {
			t.Errorf("GET %s again: %d %q", path, status, body)
		}
		if strings.Contains(path, "values") {
			for _, p := range []access.Principal{scoped, as(access.Statistician)} {
				want := http.StatusOK
				if strings.Contains(path, "as_of") && !p.Can(access.IndicatorsFacts) {
					want = http.StatusUnprocessableEntity // of a part of the country, as they are known now only
				}
				if status, _, _ := r.conditional(p, path, etag); status != want {
					t.Errorf("GET %s as another reader: %d", path, status)
				}
			}
		}
	}
	if status, header, _ := r.conditional(manager, "/api/indicators/values?code=nothing", "*"); status != http.StatusNotFound || header.Get("ETag") != "" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("what does not exist: %d %v", status, header)
	}

	s.add("2026-05-01 10:00", "w9", &candidatesv1.PathwayOpened{CandidateId: "nora", Scheme: "agri", Stage: "P02", Person: &candidatesv1.Person{Sex: "F"}})
	r.publish(s.events[len(s.events)-1])
	r.folded(len(s.events))
	for etag, path := range seen {
		want := http.StatusOK
		if path == "/api/indicators/indicators" {
			want = http.StatusNotModified // what is defined has not changed
		}
		if status, _, _ := r.conditional(manager, path, etag); status != want {
			t.Errorf("GET %s after another fact: %d, want %d", path, status, want)
		}
	}

	path := "/api/indicators/values?code=people_followed"
	_, header, _ := r.get(manager, path)
	r.stop()
	r.now = func() time.Time { return at(t, "2026-04-16 00:00").UTC() }
	r.start()
	r.folded(len(s.events))
	runtimetest.Eventually(t, "it is loaded", func() bool { return r.service.facts.ready.Load() })
	if status, next, _ := r.conditional(manager, path, header.Get("ETag")); status != http.StatusOK || next.Get("ETag") == header.Get("ETag") {
		t.Errorf("on the next day: %d %s", status, next.Get("ETag"))
	}
}

// TestLabels: every code in the answer is named in three languages.
func TestLabels(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	got := ask[Series](r, as(access.Statistician), "/api/indicators/values?code=people_followed&by=governorate,sex")
	for _, row := range got.Rows {
		for name, code := range row.Dimensions {
			if l := got.Labels[name][code]; l.FR == "" || l.AR == "" || l.EN == "" {
				t.Errorf("%s %s: %+v", name, code, l)
			}
		}
	}
	if l := got.Labels["governorate"]["TN-71"]; l != (Label{"Gafsa", "قفصة", "Gafsa"}) {
		t.Errorf("TN-71: %+v", l)
	}
	if got.First.IsZero() || got.Last.Before(got.First.Time) {
		t.Errorf("first %s, last %s", got.First, got.Last)
	}
	for _, d := range Dimensions() {
		for _, code := range append([]string{Unknown, Other}, d.Codes...) {
			l := codeLabel(d.Code, code)
			if l.FR == "" || l.AR == "" || l.EN == "" || l.FR == code {
				t.Errorf("%s %s has no label: %+v", d.Code, code, l)
			}
		}
	}
}
