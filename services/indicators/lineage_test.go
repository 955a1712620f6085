package indicators

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/telemetry"
)

// lineage asks for every page of a figure's facts and gives the first page with
// all of them.
func lineage(r *rig, p access.Principal, query string, limit int) Lineage {
	r.t.Helper()
	first := ask[Lineage](r, p, fmt.Sprintf("/api/indicators/lineage?%s&limit=%d", query, limit))
	for next := first.Next; next != ""; {
		page := ask[Lineage](r, p, fmt.Sprintf("/api/indicators/lineage?%s&limit=%d&after=%s", query, limit, url.QueryEscape(next)))
		if page.Recomputed != nil || page.Facts != first.Facts {
			r.t.Errorf("a later page: %+v", page)
		}
		first.Items = append(first.Items, page.Items...)
		next = page.Next
	}
	return first
}

// TestEveryFigureNamesItsFacts asks for the facts behind every figure of every
// declared cut: counted again they give the figure, and they are paged by id.
func TestEveryFigureNamesItsFacts(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	who := as(access.Statistician)
	seen := 0
	for _, d := range r.service.defs {
		for _, by := range reviewCuts(d) {
			for _, grain := range []Grain{All, Month, Quarter, HalfYear, Year, Season} {
				series := ask[Series](r, who, fmt.Sprintf("/api/indicators/values?code=%s&grain=%s%s", d.Code, grain, strings.TrimSuffix("&by="+strings.Join(by, ","), "&by=")))
				for _, row := range series.Rows {
					if len(by) > 1 || grain != All && len(by) > 0 && row.Period != "2026-02" {
						continue // enough
					}
					q := url.Values{"code": {d.Code}, "grain": {string(grain)}, "period": {row.Period}}
					for _, name := range by {
						q.Add("by", name)
						q.Add("codes", row.Dimensions[name])
					}
					got := lineage(r, who, q.Encode(), 3)
					seen++
					if len(got.Items) != got.Facts || got.Recomputed == nil || !same(got.Figure, *got.Recomputed) ||
						fmt.Sprint(*got.Figure.Value) != fmt.Sprint(*row.Value) || d.Measure != Ratio && got.Figure.Count != nil && *got.Figure.Count != got.Facts {
						t.Errorf("%s: %d facts of %d, figure %s, recomputed %s, served %v", q.Encode(), len(got.Items), got.Facts, show(got.Figure), show(*got.Recomputed), *row.Value)
					}
					if !slices.IsSortedFunc(got.Items, func(a, b LineageFact) int { return strings.Compare(a.ID, b.ID) }) {
						t.Errorf("%s: not by id", q.Encode())
					}
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d figures were looked at", seen)
	}
}

func same(a, b FrozenFigure) bool { return show(a) == show(b) }

func show(f FrozenFigure) string {
	return FrozenCell{Value: f.Value, Numerator: f.Numerator, Denominator: f.Denominator, P90: f.P90, Count: f.Count, People: f.People}.cellLine()
}

// TestLineageNamesNobody: no id of another service is in the answer, pseudonyms
// are one reader's own, and only who may read facts is answered, within its scope.
func TestLineageNamesNobody(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	const path = "/api/indicators/lineage?code=people_followed"
	ada := access.Principal{Subject: "ada", Role: access.Statistician}
	bob := access.Principal{Subject: "bob", Role: access.Statistician}
	first, again, other := ask[Lineage](r, ada, path), ask[Lineage](r, ada, path), ask[Lineage](r, bob, path)
	if first.Facts != 4 || first.Definition.Code != "people_followed" || first.Definition.Hash == "" {
		t.Fatalf("%+v", first)
	}
	people := map[string]bool{}
	for i, f := range first.Items {
		people[f.Person] = true
		if f.Person != again.Items[i].Person || f.Subject != again.Items[i].Subject {
			t.Error("one reader, two pseudonyms")
		}
		if f.Person == other.Items[i].Person || f.Subject == other.Items[i].Subject {
			t.Error("two readers, one pseudonym")
		}
	}
	if len(people) != 3 {
		t.Errorf("%d pseudonyms of 3 people", len(people))
	}
	_, _, body := r.get(ada, path)
	for _, name := range []string{"amel", "badr", "cyrine"} {
		if strings.Contains(body, name) {
			t.Errorf("%q is in %s", name, body)
		}
	}
	// Amel and Badr are of TN-71.
	gafsa := access.Principal{Subject: "ada", Role: access.Statistician, Governorates: []string{"TN-71"}}
	if got := ask[Lineage](r, gafsa, path); got.Facts != 3 || *got.Figure.Value != 2 || !same(got.Figure, *got.Recomputed) {
		t.Errorf("within TN-71: %+v", got)
	}
	for _, role := range access.Roles() {
		p := as(role)
		want := http.StatusForbidden
		if p.Can(access.IndicatorsFacts) {
			want = http.StatusOK
		}
		if status, _, body := r.get(p, path); status != want {
			t.Errorf("%s: %d %s", role, status, body)
		}
	}
	for _, wrong := range []string{
		"code=nothing", "code=people_followed&by=sex", "code=people_followed&by=colour&codes=red", "code=people_followed&by=sex,sex&codes=F,F",
		"code=people_followed&grain=month", "code=people_followed&grain=month&period=2026-13", "code=people_followed&grain=quarter&period=2026-01",
		"code=people_followed&grain=century&period=20", "code=people_followed&period=2026", "code=people_followed&limit=0", "code=people_followed&review=2026-Q1",
		"code=people_followed&grain=day&period=2026-02-30", "code=people_followed&grain=season&period=2026", "code=people_followed&grain=season&period=2026/2028",
	} {
		if status, _, body := r.get(ada, "/api/indicators/lineage?"+wrong); status != http.StatusUnprocessableEntity && status != http.StatusNotFound {
			t.Errorf("%s: %d %s", wrong, status, body)
		}
	}
}

// TestLineageLeavesALine: every reading of facts is in the log, with what was read
// and a pseudonym of who read, and without anybody's id.
func TestLineageLeavesALine(t *testing.T) {
	var log bytes.Buffer
	e := openStore(t)
	s := reviewer(t, e, inApril(t))
	s.log = slog.New(telemetry.Redact(slog.NewJSONHandler(&log, nil)))
	for _, ev := range year(t).events {
		if err := s.Fold(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	ada := access.Principal{Subject: "ada-4711", Role: access.Statistician}
	got, err := s.Lineage(bg(t, ada), LineageQuery{Code: "people_followed", Grain: Month, Period: "2026-01", By: []string{"sex"}, Codes: []string{"F"}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"role":"statistician"`, `"indicator":"people_followed"`, `"period":"2026-01"`, `"by":"sex"`, `"facts":1`, `"reader":"r-`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "ada") || strings.Contains(log.String(), "amel") || strings.Contains(log.String(), telemetry.Masked) {
		t.Errorf("the log has %s", log.String())
	}

	// Another replica makes the same pseudonyms.
	other := reviewer(t, e, inApril(t))
	for _, ev := range year(t).events {
		if err := other.Fold(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	again, err := other.Lineage(bg(t, ada), LineageQuery{Code: "people_followed", Grain: Month, Period: "2026-01", By: []string{"sex"}, Codes: []string{"F"}, Limit: 10})
	if err != nil || again.Items[0].Person != got.Items[0].Person {
		t.Errorf("%+v, %v", again, err)
	}
}
