package indicators

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"masar.local/pkg/access"
)

// preview asks for one and gives the status and the answer.
func preview(r *rig, p access.Principal, req map[string]any) (status int, out Preview, body string) {
	r.t.Helper()
	data, err := json.Marshal(req)
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+"/api/indicators/preview", bytes.NewReader(data))
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := r.issuer.Token(p, time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &out); err != nil {
			r.t.Fatal(err)
		}
	}
	return res.StatusCode, out, string(text)
}

// embeddedText is a definition of the program as a file, changed.
func embeddedText(t testing.TB, code string, oldnew ...string) string {
	t.Helper()
	data, err := definitionFiles.ReadFile("definitions/" + code + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), "tests:")
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%s has no %q", code, oldnew[i])
		}
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	return text
}

// previewLines writes rows as lines: period, codes, old, new, difference, entering,
// leaving.
func previewLines(rows []PreviewRow, by ...string) (out []string) {
	show := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.3g", *x)
	}
	count := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	for _, r := range rows {
		line := []string{r.Period}
		for _, name := range by {
			line = append(line, r.Dimensions[name])
		}
		out = append(out, strings.Join(append(line, show(r.Old), show(r.New), show(r.Difference), count(r.Entering), count(r.Leaving)), " "))
	}
	return out
}

func TestPreviewShowsOldAgainstNew(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	who := as(access.Statistician)

	// Women only: Badr's pathway of January leaves.
	status, p, body := preview(r, who, map[string]any{
		"definition": embeddedText(t, "people_followed", `kind == "pathway_opened"`, `kind == "pathway_opened" && sex == "F"`), "by": []string{"scheme"},
	})
	if status != http.StatusOK || !p.Changed || !p.RaiseVersion || p.OldVersion != 1 || *p.Entering != 0 || *p.Leaving != 1 || *p.Kept != 3 {
		t.Fatalf("%d %s", status, body)
	}
	want := "2026-01 agri 2 1 -1 0 1; 2026-02 soin 1 1 0 0 0; 2026-03 soin 1 1 0 0 0"
	if got := strings.Join(previewLines(p.Rows, "scheme"), "; "); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	want = "2026-01 2 1 -1 0 1; 2026-02 1 1 0 0 0; 2026-03 1 1 0 0 0; 2026-04 0 0 0 0 0"
	if got := strings.Join(previewLines(p.Totals), "; "); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}

	// Completed pathways too: one fact enters, in May, that the old figure has not.
	_, p, body = preview(r, who, map[string]any{
		"definition": embeddedText(t, "people_placed", `kind == "stage_entered" && placement == "yes"`, `kind == "stage_entered" && placement == "yes" || kind == "pathway_completed"`, "version: 1", "version: 2"),
		"grain":      "all",
	})
	if got := strings.Join(previewLines(p.Rows), "; "); p.RaiseVersion || got != "all 1 2 1 1 0" {
		t.Errorf("%s: %s", got, body)
	}

	// A stock, a ratio, a median; the same in another layout.
	_, p, body = preview(r, who, map[string]any{
		"definition": embeddedText(t, "people_by_stage", `leaves: kind in ["pathway_exited", "pathway_completed"]`, `leaves: kind == "pathway_completed"`), "to": "2026-04-30",
	})
	want = "2026-01 2 2 0 0 0; 2026-02 2 2 0 0 0; 2026-03 3 3 0 0 1; 2026-04 3 3 0 0 0"
	if got := strings.Join(previewLines(p.Rows), "; "); got != want {
		t.Errorf("\n got %s\nwant %s in %s", got, want, body)
	}
	_, p, body = preview(r, who, map[string]any{
		"definition": embeddedText(t, "placed_per_followed", `kind == "stage_entered" && placement == "yes"`, `kind == "pathway_exited"`), "grain": "all", "by": []string{"scheme"},
	})
	if got := strings.Join(previewLines(p.Rows, "scheme"), "; "); got != "all agri 0.5 0.5 0 1 1; all soin 0 0 0 0 0" {
		t.Errorf("%s in %s", got, body)
	}
	_, p, body = preview(r, who, map[string]any{"definition": embeddedText(t, "stage_days", `kind in ["stage_entered", "pathway_exited", "pathway_completed"]`, `(kind in ["stage_entered", "pathway_exited",   "pathway_completed"])`)})
	if p.Changed || p.RaiseVersion || *p.Entering != 0 || *p.Leaving != 0 {
		t.Errorf("the same: %s", body)
	}

	// A new code has nothing beside it, and carries its tests.
	_, p, body = preview(r, who, map[string]any{"definition": oneDefinition, "grain": "all"})
	if got := strings.Join(previewLines(p.Rows), "; "); got != "all - 2 2 3 0" || p.OldVersion != 0 || p.Tests != 1 || len(p.TestFaults) != 0 || p.RaiseVersion {
		t.Errorf("%s in %s", got, body)
	}
	_, p, _ = preview(r, who, map[string]any{"definition": strings.Replace(oneDefinition, "{all: 2}", "{all: 7}", 1), "grain": "all"})
	if len(p.TestFaults) != 3 {
		t.Errorf("the faults of its tests: %v", p.TestFaults)
	}

	// Nothing was stored.
	if got := text(ask[Series](r, who, "/api/indicators/values?code=people_followed").Rows); strings.Join(got, "; ") != "all 3" {
		t.Errorf("%v", got)
	}
	if status, _, _ := r.get(who, "/api/indicators/values?code=women_followed"); status != http.StatusNotFound {
		t.Errorf("a previewed indicator is served: %d", status)
	}
}

func TestPreviewRefuses(t *testing.T) {
	r := newRig(t, nil)
	r.publish(year(t).events...)
	r.folded(1)
	tunisian := access.Principal{Subject: "t", Role: access.Manager, Governorates: []string{"TN-71"}}
	for name, test := range map[string]struct {
		who    access.Principal
		req    map[string]any
		status int
		want   string
	}{
		"a counsellor":        {as(access.Counsellor), map[string]any{"definition": oneDefinition}, http.StatusForbidden, ""},
		"nothing":             {as(access.Manager), map[string]any{}, http.StatusUnprocessableEntity, ""},
		"no YAML":             {as(access.Manager), map[string]any{"definition": "code: ["}, http.StatusUnprocessableEntity, "not a definition in YAML"},
		"a wrong code":        {as(access.Manager), map[string]any{"definition": strings.Replace(oneDefinition, `"F"`, `"W"`, 1)}, http.StatusUnprocessableEntity, "sex has no code"},
		"no such grain":       {as(access.Manager), map[string]any{"definition": oneDefinition, "grain": "week"}, http.StatusUnprocessableEntity, "there is no grain"},
		"no such cut":         {as(access.Manager), map[string]any{"definition": oneDefinition, "by": []string{"rome"}}, http.StatusUnprocessableEntity, "cannot be cut by"},
		"a year of four":      {as(access.Manager), map[string]any{"definition": oneDefinition, "from": "1900-01-01"}, http.StatusUnprocessableEntity, "a day from 2000"},
		"backwards":           {as(access.Manager), map[string]any{"definition": oneDefinition, "from": "2026-02-01", "to": "2026-01-01"}, http.StatusUnprocessableEntity, "not before from"},
		"too many days":       {as(access.Manager), map[string]any{"definition": oneDefinition, "grain": "day", "from": "2000-01-01", "to": "2090-01-01"}, http.StatusUnprocessableEntity, "too many"},
		"too long":            {as(access.Manager), map[string]any{"definition": oneDefinition + strings.Repeat("# long\n", 10000)}, http.StatusUnprocessableEntity, "too long"},
		"far too long":        {as(access.Manager), map[string]any{"definition": strings.Repeat("# long\n", 30000)}, http.StatusRequestEntityTooLarge, ""},
		"people as offers":    {as(access.Manager), map[string]any{"definition": strings.Replace(oneDefinition, "about: people", "about: offers", 1)}, http.StatusUnprocessableEntity, "it counts events of people"},
		"out of its scope":    {tunisian, map[string]any{"definition": oneDefinition}, http.StatusForbidden, "governorate"},
		"around its scope":    {tunisian, map[string]any{"definition": strings.Replace(oneDefinition, "dimensions: [scheme]", "dimensions: [scheme, governorate]\nfrom: {governorate: scheme}", 1)}, http.StatusForbidden, "governorate"},
		"within its scope":    {tunisian, map[string]any{"definition": strings.Replace(oneDefinition, "dimensions: [scheme]", "dimensions: [scheme, governorate]", 1)}, http.StatusOK, `"scope":{"governorate":["TN-71"]}`},
		"a scope of few":      {tunisian, map[string]any{"definition": embeddedText(t, "people_followed"), "grain": "all"}, http.StatusOK, `"new":null`},
		"days of few":         {as(access.Manager), map[string]any{"definition": embeddedText(t, "people_followed"), "grain": "day", "by": []string{"sex"}}, http.StatusUnprocessableEntity, "by month or longer"},
		"half a month":        {as(access.Manager), map[string]any{"definition": embeddedText(t, "people_followed"), "by": []string{"sex"}, "from": "2026-01-10"}, http.StatusUnprocessableEntity, "whole periods"},
		"an unlimited scheme": {access.Principal{Subject: "t", Role: access.Manager, Schemes: []string{"agri"}}, map[string]any{"definition": embeddedText(t, "decisions")}, http.StatusForbidden, "scheme"},
	} {
		status, _, body := preview(r, test.who, test.req)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %.300s, want %d and %q", name, status, body, test.status, test.want)
		}
	}
}

// TestPreviewHidesFewPeople: a selector that only few people satisfy shows nobody,
// alone, as a total, or as a difference to what is published.
func TestPreviewHidesFewPeople(t *testing.T) {
	r := newRig(t, nil)
	s := newStory(t)
	for i := range 20 {
		sex := "F"
		if i < 8 {
			sex = "M"
		}
		s.opened("2026-01-10 10:00", fmt.Sprintf("w%d", i), "agri", person{fmt.Sprintf("p%d", i), sex, "TN-71"})
	}
	s.opened("2026-01-11 10:00", "w20", "agri", person{"p20", "F", "TN-11"})
	r.publish(s.events...)
	r.folded(len(s.events))
	define := func(condition string) map[string]any {
		return map[string]any{"grain": "all", "definition": embeddedText(t, "people_followed", `kind == "pathway_opened"`, `kind == "pathway_opened"`+condition)}
	}
	for condition, want := range map[string]string{
		``:                               "all 21 21 0 0 0",
		` && sex == "M"`:                 "all 21 8 -13 0 13", // enough people on both sides
		` && governorate == "TN-11"`:     "all 21 - - - -",    // one person
		` && governorate != "TN-11"`:     "all 21 - - - -",    // all but one
		` && governorate == "TN-12"`:     "all 21 0 -21 0 21", // nobody
		` && (sex == "M" || sex == "M")`: "all 21 8 -13 0 13",
	} {
		status, p, body := preview(r, as(access.Manager), define(condition))
		if got := strings.Join(previewLines(p.Rows), "; "); status != http.StatusOK || got != want {
			t.Errorf("%s: %q, want %q in %s", condition, got, want, body)
		}
		if hidden := strings.HasSuffix(want, "- - -"); hidden != (p.Leaving == nil) || hidden != (p.Kept == nil) || hidden != (p.Entering == nil) {
			t.Errorf("%s: the facts: %s", condition, body)
		}
		// Who may read facts sees it all.
		if _, p, _ := preview(r, as(access.Statistician), define(condition)); p.Rows[0].New == nil || p.Leaving == nil {
			t.Errorf("%s: hidden from a statistician: %+v", condition, p.Rows)
		}
	}
	// As a new code there is no old figure, and the figure of one person is hidden.
	only := define(` && governorate == "TN-11"`)
	only["definition"] = strings.Replace(only["definition"].(string), "code: people_followed", "code: one_person", 1)
	_, p, body := preview(r, as(access.Manager), only)
	if len(p.Rows) != 1 || p.Rows[0].New != nil || p.Entering != nil {
		t.Errorf("one person: %s", body)
	}
}
