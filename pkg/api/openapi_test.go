package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

type visitRequest struct {
	ID    string `path:"id"`
	Limit int    `query:"limit" default:"20" min:"1" max:"200"`
	On    string `json:"on"`
	Note  *string
}

type visit struct {
	At    time.Time       `json:"at"`
	Until *api.Date       `json:"until"`
	Parts []visit         `json:"parts"`
	Raw   json.RawMessage `json:"raw,omitempty"`
	inner int
}

// TestOpenAPI describes a route and reads back what a client would look for.
func TestOpenAPI(t *testing.T) {
	r := api.NewRouter(api.Config{})
	api.Handle(r, "POST /api/visits/people/{id}/visits", access.PathwaysMove,
		func(context.Context, visitRequest) (visit, error) { return visit{inner: 1}, nil })
	api.HandleHTTP(r, "GET /api/visits/raw", access.OffersRead, http.NotFoundHandler())
	text, err := api.OpenAPI("Visits", "1", r)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	at := func(path ...any) any {
		v := doc
		for _, p := range path {
			switch p := p.(type) {
			case string:
				m, _ := v.(map[string]any)
				v = m[p]
			case int:
				l, _ := v.([]any)
				if p >= len(l) {
					return nil
				}
				v = l[p]
			}
		}
		return v
	}
	post := []any{"paths", "/api/visits/people/{id}/visits", "post"}
	for _, c := range []struct {
		want any
		path []any
	}{
		{"3.1.0", []any{"openapi"}},
		{"post_visits_people_id_visits", append(post, "operationId")},
		{"Permission pathways:move: admin, counsellor, officer.", append(post, "description")},
		{"path", append(post, "parameters", 0, "in")},
		{true, append(post, "parameters", 0, "required")},
		{"limit", append(post, "parameters", 1, "name")},
		{20.0, append(post, "parameters", 1, "schema", "default")},
		{200.0, append(post, "parameters", 1, "schema", "maximum")},
		{"Idempotency-Key", append(post, "parameters", 2, "name")},
		{"#/components/schemas/api_test.visitRequest", append(post, "requestBody", "content", "application/json", "schema", "$ref")},
		{"#/components/schemas/api_test.visit", append(post, "responses", "2XX", "content", "application/json", "schema", "$ref")},
		{false, []any{"components", "schemas", "api_test.visitRequest", "additionalProperties"}},
		{"string", []any{"components", "schemas", "api_test.visitRequest", "properties", "on", "type"}},
		{nil, []any{"components", "schemas", "api_test.visitRequest", "properties", "ID"}}, // comes from the path
		{"date-time", []any{"components", "schemas", "api_test.visit", "properties", "at", "format"}},
		{"date", []any{"components", "schemas", "api_test.visit", "properties", "until", "anyOf", 0, "format"}},
		{"null", []any{"components", "schemas", "api_test.visit", "properties", "until", "anyOf", 1, "type"}},
		{"#/components/schemas/api_test.visit", []any{"components", "schemas", "api_test.visit", "properties", "parts", "items", "$ref"}},
		{nil, []any{"components", "schemas", "api_test.visit", "properties", "inner"}},
		{"get_visits_raw", []any{"paths", "/api/visits/raw", "get", "operationId"}},
		{"object", []any{"components", "schemas", "Problem", "type"}},
	} {
		if got := at(c.path...); got != c.want {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
}
