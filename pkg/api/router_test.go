package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/kit/endpoint"
	"github.com/go-kit/kit/ratelimit"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/docstore"
)

// words is a verifier of tokens that are role names, for tests of what comes after.
type words struct{}

func (words) Verify(_ context.Context, token string) (access.Principal, error) {
	switch r := access.Role(token); {
	case token == "down":
		return access.Principal{}, access.ErrUnavailable
	case r.Known():
		return access.Principal{Subject: "sub-" + token, Role: r}, nil
	}
	return access.Principal{}, fmt.Errorf("%w: unknown", access.ErrRefused)
}

type occupation struct {
	ROME       string `json:"rome"`
	Experience *int   `json:"experience_months,omitempty"`
}

type createRequest struct {
	Family      string         `json:"family_name"`
	Birth       api.Date       `json:"birth_date"`
	Occupations []occupation   `json:"occupations"`
	From        *time.Time     `json:"available_from"`
	Remote      bool           `json:"remote"`
	Scores      map[string]int `json:"scores"`
	Extra       any            `json:"extra"`
	DryRun      bool           `json:"-" query:"dry_run"`
}

func (r createRequest) Validate() error {
	if r.Family == "" {
		return api.Invalid(api.Field{Path: "family_name", Code: "required", Reason: "a family name is needed"})
	}
	return nil
}

type person struct {
	ID      string         `json:"id"`
	Got     *createRequest `json:"got,omitempty"`
	version int64
	made    bool
}

func (p person) ETag() string { return api.ETag(p.version) }

func (p person) Status() int {
	if p.made {
		return http.StatusCreated
	}
	return 0
}

func (p person) Location() string {
	if p.made {
		return "/api/toy/people/" + p.ID
	}
	return ""
}

type changeRequest struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match"`
	Person  struct {
		Family string `json:"family_name"`
	} `body:"json"`
}

type listRequest struct {
	api.Paging
	Schemes []string  `query:"scheme"`
	Since   time.Time `query:"since"`
	Day     api.Date  `query:"day"`
	Open    *bool     `query:"open"`
}

type lines struct {
	n    int
	fail int
}

func (lines) ContentType() string { return "application/x-ndjson" }

func (l lines) Stream(w io.Writer) error {
	for i := range l.n {
		if i == l.fail {
			return errors.New("the store went away")
		}
		fmt.Fprintf(w, "{\"n\":%d}\n", i)
	}
	return nil
}

const secretText = "postgres://masar:hunter2@db Ben Salah"

// toy is a router with one route of every sort.
func toy(t testing.TB, log *bytes.Buffer) *api.Router {
	t.Helper()
	cfg := api.Config{}
	if log != nil {
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	r := api.NewRouter(cfg)
	api.Handle(r, "POST /api/toy/people", access.CandidatesWrite, func(ctx context.Context, req createRequest) (person, error) {
		return person{ID: api.NewID(ctx), Got: &req, version: 1, made: true}, nil
	})
	api.Handle(r, "PUT /api/toy/people/{id}", access.CandidatesWrite, func(_ context.Context, req changeRequest) (person, error) {
		version, err := api.IfMatch(req.IfMatch)
		if err != nil {
			return person{}, err
		}
		if version != 3 {
			return person{}, api.Stale("It is at version 3, not %d.", version)
		}
		return person{ID: req.ID + "/" + req.Person.Family, version: 4}, nil
	})
	api.Handle(r, "GET /api/toy/people/{id}", access.CandidatesRead, func(_ context.Context, req struct {
		ID string `path:"id"`
	},
	) (person, error) {
		return person{ID: req.ID, version: 3}, nil
	})
	api.Handle(r, "GET /api/toy/people", access.CandidatesRead, func(_ context.Context, req listRequest) (api.Page[string], error) {
		next := ""
		if req.Cursor == "" {
			next = "c&2"
		}
		open := "unset"
		if req.Open != nil {
			open = fmt.Sprint(*req.Open)
		}
		return api.NewPage([]string{fmt.Sprint(req.Limit), strings.Join(req.Schemes, "+"), req.Since.Format(time.RFC3339), req.Day.String(), open}, next), nil
	})
	api.Handle(r, "GET /api/toy/lines", access.IndicatorsFacts, func(_ context.Context, req struct {
		N    int `query:"n"`
		Fail int `query:"fail" default:"-1"`
	},
	) (lines, error) {
		return lines{req.N, req.Fail}, nil
	})
	api.Handle(r, "POST /api/toy/people/{id}/leave", access.PathwaysMove, func(context.Context, struct {
		ID   string `path:"id"`
		Note string `json:"note"`
	},
	) (api.Empty, error) {
		return api.Empty{}, nil
	}, api.OptionalBody())
	api.Handle(r, "GET /api/toy/errors/{which}", access.PlatformRead, func(_ context.Context, req struct {
		Which string `path:"which"`
	},
	) (api.Empty, error) {
		return api.Empty{}, failures()[req.Which]
	})
	api.Handle(r, "GET /api/toy/panic", access.PlatformRead, func(context.Context, struct{}) (api.Empty, error) {
		panic(secretText)
	})
	api.Handle(r, "GET /api/toy/unencodable", access.PlatformRead, func(context.Context, struct{}) (map[string]any, error) {
		return map[string]any{"f": func() {}}, nil
	})
	api.HandleHTTP(r, "GET /api/toy/raw", access.PlatformRead, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "raw")
	}))
	return r
}

func failures() map[string]error {
	return map[string]error{
		"plain":      errors.New(secretText),
		"notfound":   fmt.Errorf("loading: %w", docstore.ErrNotFound),
		"exists":     docstore.ErrExists,
		"stale":      docstore.ErrStale,
		"cursor":     docstore.ErrInvalidCursor,
		"store":      fmt.Errorf("%s: %w", secretText, docstore.ErrUnavailable),
		"deadline":   context.DeadlineExceeded,
		"limited":    ratelimit.ErrLimited,
		"reused":     api.KeyReused(),
		"many":       api.TooMany(7 * time.Second),
		"field":      api.Field{Path: "to", Code: "stage", Reason: "P09 does not follow P04"},
		"conflict":   api.Conflict("The pathway ended."),
		"handmade":   &api.Error{Kind: "no-such-kind", Detail: secretText},
		"madestatus": &api.Error{Kind: api.KindInternal, Detail: secretText},
	}
}

type problem struct {
	Type, Title, Detail, Instance string
	Status                        int
	Errors                        []api.Field
}

func serve(t testing.TB, h http.Handler, method, target, token, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, r)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, kind api.Kind) problem {
	t.Helper()
	var p problem
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d, Content-Type %q, body %s; want a problem", w.Code, got, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != status || p.Status != status || p.Type != "urn:masar:problem:"+string(kind) {
		t.Errorf("status %d, body %s; want %d %s", w.Code, w.Body, status, kind)
	}
	if p.Title == "" || p.Instance != "urn:masar:request:"+w.Header().Get("X-Request-Id") || len(p.Instance) < 30 {
		t.Errorf("title and instance are needed: %s", w.Body)
	}
	return p
}

func TestNoRouteWithoutATokenAndThePermission(t *testing.T) {
	r := toy(t, nil)
	h := r.Handler(words{})
	if len(r.Routes()) != 10 {
		t.Fatalf("routes: %v", r.Routes())
	}
	for _, route := range r.Routes() {
		target := strings.NewReplacer("{id}", "x", "{which}", "x").Replace(route.Pattern)
		w := serve(t, h, route.Method, target, "", "")
		wantProblem(t, w, 401, api.KindUnauthorized)
		if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="masar"` {
			t.Errorf("WWW-Authenticate: %s", got)
		}
		w = serve(t, h, route.Method, target, "forged", "")
		wantProblem(t, w, 401, api.KindUnauthorized)
		if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
			t.Errorf("WWW-Authenticate: %s", got)
		}
		// Without a verifier in front, a router refuses too.
		wantProblem(t, serve(t, r, route.Method, target, "admin", ""), 401, api.KindUnauthorized)
		for _, role := range access.Roles() {
			w := serve(t, h, route.Method, target, string(role), "")
			if may := slices.Contains(role.Permissions(), route.Permission); (w.Code == 403) == may {
				t.Errorf("%s %s as %s: status %d, may: %t", route.Method, route.Pattern, role, w.Code, may)
			}
		}
	}
	wantProblem(t, serve(t, h, "GET", "/api/toy/nothing", "", ""), 401, api.KindUnauthorized)
	wantProblem(t, serve(t, h, "GET", "/api/toy/nothing", "admin", ""), 404, api.KindNotFound)
	for _, header := range []string{"admin", "Basic admin", "Bearer", "Bearer ", "Bearer\tadmin", "bearer forged"} {
		wantProblem(t, serve(t, h, "GET", "/api/toy/raw", "", "", "Authorization", header), 401, api.KindUnauthorized)
	}
	if w := serve(t, h, "GET", "/api/toy/raw", "", "", "Authorization", "bEaReR  admin"); w.Code != 200 || w.Body.String() != "raw" {
		t.Errorf("the scheme is compared without case: %d %s", w.Code, w.Body)
	}
	w := serve(t, h, "GET", "/api/toy/raw", "down", "")
	wantProblem(t, w, 503, api.KindUnavailable)
	w = serve(t, h, "DELETE", "/api/toy/people/x", "admin", "")
	wantProblem(t, w, 405, api.KindMethodNotAllowed)
	if got := w.Header().Get("Allow"); got != "GET, HEAD, PUT" {
		t.Errorf("Allow: %s", got)
	}
}

func TestGuard(t *testing.T) {
	h := api.Guard(words{}, access.PlatformRead, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, access.From(r.Context()).Subject)
	}))
	if w := serve(t, h, "GET", "/x", "", ""); w.Code != 401 {
		t.Errorf("no token: %d", w.Code)
	}
	if w := serve(t, h, "GET", "/x", "counsellor", ""); w.Code != 403 {
		t.Errorf("no permission: %d", w.Code)
	}
	if w := serve(t, h, "GET", "/x", "operator", ""); w.Code != 200 || w.Body.String() != "sub-operator" {
		t.Errorf("operator: %d %s", w.Code, w.Body)
	}
}

func TestMistakesInRoutesShowAtStart(t *testing.T) {
	ok := func(context.Context, struct{}) (api.Empty, error) { return api.Empty{}, nil }
	for what, add := range map[string]func(r *api.Router){
		"no method":          func(r *api.Router) { api.Handle(r, "/api/x", access.PlatformRead, ok) },
		"no permission":      func(r *api.Router) { api.Handle(r, "GET /api/x", "", ok) },
		"unknown permission": func(r *api.Router) { api.Handle(r, "GET /api/x", "candidates:reed", ok) },
		"wrong default": func(r *api.Router) {
			api.Handle(r, "GET /api/x", access.PlatformRead, func(context.Context, struct {
				N int `query:"n" default:"many"`
			},
			) (api.Empty, error) {
				return api.Empty{}, nil
			})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", what)
				}
			}()
			add(api.NewRouter(api.Config{}))
		}()
	}
}

func TestCreate(t *testing.T) {
	h := toy(t, nil).Handler(words{})
	body := `{"family_name":"بن صالح","birth_date":"1990-02-28","occupations":[{"rome":"A1401","experience_months":24}],
		"available_from":"2026-04-01T08:00:00+01:00","remote":true,"scores":{"fr":2},"extra":{"a":[1,null]}}`
	w := serve(t, h, "POST", "/api/toy/people?dry_run=true", "counsellor", body, "Content-Type", "application/json; charset=UTF-8", "Idempotency-Key", `"k-1"`)
	var got person
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 201 {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if got.Got.Family != "بن صالح" || got.Got.Birth.String() != "1990-02-28" || *got.Got.Occupations[0].Experience != 24 ||
		!got.Got.From.Equal(time.Date(2026, 4, 1, 7, 0, 0, 0, time.UTC)) || got.Got.Scores["fr"] != 2 {
		t.Errorf("got %s", w.Body)
	}
	if w.Header().Get("ETag") != `"1"` || w.Header().Get("Location") != "/api/toy/people/"+got.ID || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", w.Header())
	}
	bare := serve(t, h, "POST", "/api/toy/people", "counsellor", `{"family_name":"x"}`, "Idempotency-Key", "k-1")
	if loc := bare.Header().Get("Location"); loc != "/api/toy/people/"+got.ID {
		t.Errorf("the key without quotes is another key: %s, %s", loc, got.ID)
	}
	if other := serve(t, h, "POST", "/api/toy/people", "officer", `{"family_name":"x"}`, "Idempotency-Key", "k-1"); other.Header().Get("Location") == bare.Header().Get("Location") {
		t.Error("another principal's key is the same key")
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	h := toy(t, nil).Handler(words{})
	post := func(body string, header ...string) *httptest.ResponseRecorder {
		return serve(t, h, "POST", "/api/toy/people", "counsellor", body, header...)
	}
	for what, c := range map[string]struct{ body, says string }{
		"nothing":          {"", "there is nothing"},
		"blanks":           {" \n", "there is nothing"},
		"cut off":          {`{"family_name": "A"`, "line 1"},
		"no JSON":          {"family_name=A", "line 1, column 3 (byte 2)"},
		"trailing":         {"{\"family_name\":\"A\"}\n{}", "line 2, column 1 (byte 20)"},
		"single quotes":    {"{\n  'family_name': 1}", "line 2, column 3"},
		"invalid UTF-8":    {"{\"family_name\":\"\n\"", "line 1"},
		"broken UTF-8":     {"{\"family_name\":\"Ben\xff\"}", "UTF-8 at line 1, column 20 (byte 19)"},
		"deep":             {`{"extra":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested"},
		"very deep":        {strings.Repeat(`{"extra":`, 20000), "Not valid JSON"},
		"byte order mark":  {"\xef\xbb\xbf{}", "line 1"},
		"control in value": {"{\"family_name\":\"a\tb\"}", "line 1"},
	} {
		p := wantProblem(t, post(c.body), 400, api.KindMalformed)
		if !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: detail %q does not say %q", what, p.Detail, c.says)
		}
	}
	for what, c := range map[string]struct {
		body string
		want []string // path:code
	}{
		"unknown":         {`{"family_name":"A","familly":1}`, []string{"familly:unknown"}},
		"other case":      {`{"Family_Name":"A"}`, []string{"Family_Name:unknown"}},
		"query as member": {`{"family_name":"A","DryRun":true}`, []string{"DryRun:unknown"}},
		"twice":           {`{"family_name":"A","family_name":"B"}`, []string{"family_name:duplicate"}},
		"twice inside":    {`{"family_name":"A","extra":{"a":1,"a":2}}`, []string{"extra.a:duplicate"}},
		"wrong types": {
			`{"family_name":7,"birth_date":19900101,"occupations":{"rome":"A1401"},"available_from":"2026-04-01","remote":"yes","scores":[1],"extra":1}`,
			[]string{"family_name:type", "birth_date:date", "occupations:type", "available_from:instant", "remote:type", "scores:type"},
		},
		"inside lists": {
			`{"family_name":"A","occupations":[{"rome":"A1401"},{"rome":1,"experience_months":1.5,"x":0}],"scores":{"fr":"B1"}}`,
			[]string{"occupations[1].rome:type", "occupations[1].experience_months:type", "occupations[1].x:unknown", "scores.fr:type"},
		},
		"impossible date": {`{"family_name":"A","birth_date":"2026-02-30"}`, []string{"birth_date:date"}},
		"number too big":  {`{"family_name":"A","scores":{"fr":99999999999999999999}}`, []string{"scores.fr:type"}},
		"lone surrogate":  {`{"family_name":"\ud83d"}`, []string{"family_name:text"}},
		"NUL":             {"{\"family_name\":\"a\\u0000b\"}", []string{"family_name:text"}},
		"an array":        {`[]`, []string{":type"}},
		"own rule":        {`{}`, []string{"family_name:required"}},
		"null is absent":  {`{"family_name":null,"birth_date":null,"occupations":null}`, []string{"family_name:required"}},
		"null":            {`null`, []string{"family_name:required"}},
	} {
		p := wantProblem(t, post(c.body), 422, api.KindInvalid)
		var got []string
		for _, f := range p.Errors {
			got = append(got, f.Path+":"+f.Code)
			if f.Reason == "" {
				t.Errorf("%s: no reason: %+v", what, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", what, got, c.want)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "nonsense/"} {
		wantProblem(t, post(`{}`, "Content-Type", kind), 415, api.KindUnsupported)
	}
	wantProblem(t, post(`{}`, "Content-Encoding", "gzip"), 415, api.KindUnsupported)
	wantProblem(t, post(`{"family_name":"A"}`, "Accept", "text/html"), 406, api.KindNotAcceptable)
	wantProblem(t, post(`{"family_name":"A"}`, "Accept", "application/json;q=0, text/html"), 406, api.KindNotAcceptable)
	for _, accept := range []string{"*/*", "text/html, application/*;q=0.1", "application/json", "nonsense, */*"} {
		if w := post(`{"family_name":"A"}`, "Accept", accept); w.Code != 201 {
			t.Errorf("Accept %s: %d", accept, w.Code)
		}
	}
	for _, key := range []string{`""`, "a b", "é", strings.Repeat("k", 129), `a"b`} {
		wantProblem(t, post(`{"family_name":"A"}`, "Idempotency-Key", key), 400, api.KindMalformed)
	}
	many := `{"family_name":"A","scores":{` + strings.TrimSuffix(strings.Repeat(`"a":1,`, 1000), ",") + `}}`
	if p := wantProblem(t, post(many), 422, api.KindInvalid); len(p.Errors) != 100 {
		t.Errorf("at most 100 errors are named, not %d", len(p.Errors))
	}
}

func TestPathQueryAndHeaders(t *testing.T) {
	h := toy(t, nil).Handler(words{})
	get := func(query string) *httptest.ResponseRecorder {
		return serve(t, h, "GET", "/api/toy/people"+query, "counsellor", "")
	}
	w := get("?scheme=agri,soin&scheme=btp&since=2026-03-01T10:00:00%2B01:00&day=2026-02-28&open=false")
	if want := `{"items":["50","agri+soin+btp","2026-03-01T09:00:00Z","2026-02-28","false"],"next_cursor":"c&2"}` + "\n"; w.Body.String() != want {
		t.Errorf("got %s", w.Body)
	}
	link := w.Header().Get("Link")
	next, rel, _ := strings.Cut(link, ">; ")
	if rel != `rel="next"` {
		t.Fatalf("Link: %s", link)
	}
	w = serve(t, h, "GET", strings.TrimPrefix(next, "<"), "counsellor", "")
	if want := `{"items":["50","agri+soin+btp","2026-03-01T09:00:00Z","2026-02-28","false"]}` + "\n"; w.Body.String() != want || w.Header().Get("Link") != "" {
		t.Errorf("the link gave %s", w.Body)
	}
	for query, want := range map[string]string{
		"?limit=0":                     "query.limit:range",
		"?limit=201":                   "query.limit:range",
		"?limit=ten":                   "query.limit:type",
		"?limit=":                      "query.limit:type",
		"?limit=1&limit=2":             "query.limit:duplicate",
		"?sheme=agri":                  "query.sheme:unknown",
		"?since=yesterday":             "query.since:instant",
		"?since=2026-03-01T10:00:00":   "query.since:instant",
		"?day=2026-02-30":              "query.day:date",
		"?open=maybe":                  "query.open:type",
		"?cursor=%00":                  "query.cursor:text",
		"?cursor=%ff":                  "query.cursor:text",
		"?scheme=agri&scheme=%1b%5b2J": "query.scheme:text",
	} {
		p := wantProblem(t, get(query), 422, api.KindInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Path+":"+p.Errors[0].Code != want {
			t.Errorf("%s: %v, want %s", query, p.Errors, want)
		}
	}
	wantProblem(t, get("?limit=%zz"), 400, api.KindMalformed)
	if w := get("?limit=200"); w.Code != 200 {
		t.Errorf("limit=200: %s", w.Body)
	}
}

func TestVersions(t *testing.T) {
	h := toy(t, nil).Handler(words{})
	put := func(ifMatch ...string) *httptest.ResponseRecorder {
		var header []string
		for _, v := range ifMatch {
			header = append(header, "If-Match", v)
		}
		return serve(t, h, "PUT", "/api/toy/people/p1", "officer", `{"family_name":"Trabelsi"}`, header...)
	}
	w := put(`"3"`)
	if w.Code != 200 || w.Header().Get("ETag") != `"4"` || w.Body.String() != `{"id":"p1/Trabelsi"}`+"\n" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	wantProblem(t, put(), 428, api.KindPreconditionRequired)
	for _, bad := range []string{"3", `W/"3"`, `"3", "4"`, "*", `"`, `"3`} {
		wantProblem(t, put(bad), 400, api.KindMalformed)
	}
	for _, stale := range []string{`"2"`, `"abc"`, `"0"`, `"-3"`, `"03"`, `"99999999999999999999"`, `""`} {
		wantProblem(t, put(stale), 412, api.KindStale)
	}
	wantProblem(t, put(`"3"`, `"3"`), 422, api.KindInvalid)

	if w := serve(t, h, "GET", "/api/toy/people/p1", "officer", "", "If-None-Match", `"1", W/"3"`); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("unchanged: %d %s", w.Code, w.Body)
	}
	if w := serve(t, h, "GET", "/api/toy/people/p1", "officer", "", "If-None-Match", `"2"`); w.Code != 200 {
		t.Errorf("changed: %d", w.Code)
	}
}

func TestOptionalBody(t *testing.T) {
	h := toy(t, nil).Handler(words{})
	for _, body := range []string{"", `{"note":"moved abroad"}`} {
		if w := serve(t, h, "POST", "/api/toy/people/p1/leave", "officer", body); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
	wantProblem(t, serve(t, h, "POST", "/api/toy/people/p1/leave", "officer", `{"nota":1}`), 422, api.KindInvalid)
}

func TestErrorsHaveTheirStatusAndKeepSecrets(t *testing.T) {
	var log bytes.Buffer
	h := toy(t, &log).Handler(words{})
	for which, want := range map[string]struct {
		status int
		kind   api.Kind
	}{
		"plain":      {500, api.KindInternal},
		"madestatus": {500, api.KindInternal},
		"handmade":   {500, api.KindInternal},
		"notfound":   {404, api.KindNotFound},
		"exists":     {409, api.KindConflict},
		"stale":      {503, api.KindUnavailable},
		"cursor":     {422, api.KindInvalid},
		"store":      {503, api.KindUnavailable},
		"deadline":   {503, api.KindUnavailable},
		"limited":    {429, api.KindTooMany},
		"many":       {429, api.KindTooMany},
		"reused":     {422, api.KindKeyReused},
		"field":      {422, api.KindInvalid},
		"conflict":   {409, api.KindConflict},
	} {
		w := serve(t, h, "GET", "/api/toy/errors/"+which, "operator", "")
		wantProblem(t, w, want.status, want.kind)
		if strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: the cause is told to the caller: %s", which, w.Body)
		}
		retry := w.Header().Get("Retry-After")
		if (want.status == 503 || want.status == 429) != (retry != "") {
			t.Errorf("%s: Retry-After %q", which, retry)
		}
		if which == "many" && retry != "7" {
			t.Errorf("Retry-After %q, want 7", retry)
		}
	}
	w := serve(t, h, "GET", "/api/toy/errors/stale", "operator", "", "If-Match", `"1"`)
	wantProblem(t, w, 412, api.KindStale)
	wantProblem(t, serve(t, h, "GET", "/api/toy/panic", "operator", ""), 500, api.KindInternal)
	wantProblem(t, serve(t, h, "GET", "/api/toy/unencodable", "operator", ""), 500, api.KindInternal)
	if !strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "stack=") {
		t.Errorf("the log must have the cause of a 500 and the stack of a panic:\n%s", &log)
	}
}

func TestEveryKindHasAStatusAndATitle(t *testing.T) {
	seen := map[int]bool{}
	for _, k := range api.Kinds() {
		e := api.Error{Kind: k}
		if e.Code() < 400 || e.Code() > 599 {
			t.Errorf("%s: status %d", k, e.Code())
		}
		seen[e.Code()] = true
	}
	for _, status := range []int{400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429, 500, 503} {
		if !seen[status] {
			t.Errorf("no kind has status %d", status)
		}
	}
}

func TestTheLogNamesNoPerson(t *testing.T) {
	var log bytes.Buffer
	h := toy(t, &log).Handler(words{})
	serve(t, h, "GET", "/api/toy/people/01ARZ3NDEKTSV4RRFFQ69G5FAV?salah=1", "counsellor", "")
	serve(t, h, "POST", "/api/toy/people", "counsellor", `{"family_name":"Trabelsi","salah@example.tn":1}`)
	serve(t, h, "POST", "/api/toy/people", "counsellor", `{"family_name":"Trabelsi"}`, "Idempotency-Key", "key-of-trabelsi")
	text := log.String()
	for _, personal := range []string{"01ARZ3", "salah", "Trabelsi", "trabelsi", "sub-counsellor"} {
		if strings.Contains(text, personal) {
			t.Errorf("the log has %q:\n%s", personal, text)
		}
	}
	for _, want := range []string{"route=/api/toy/people/{id}", "method=GET", "status=422", "role=counsellor", "problem=invalid", "duration="} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
}

// endless is a body of 50 MB that counts what is read of it.
type endless struct{ left, read atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.left.Load() <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), e.left.Load())
	for i := range b[:n] {
		b[i] = 'a'
	}
	e.left.Add(-n)
	e.read.Add(n)
	return int(n), nil
}

func TestABodyOverTheLimitIsCutOff(t *testing.T) {
	server := httptest.NewServer(toy(t, nil).Handler(words{}))
	defer server.Close()
	for _, declared := range []int64{50 << 20, -1} {
		body := &endless{}
		body.left.Store(50 << 20)
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/api/toy/people", io.MultiReader(strings.NewReader(`{"family_name":"`), body))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = declared
		req.Header.Set("Authorization", "Bearer counsellor")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 413 || !strings.Contains(string(text), "urn:masar:problem:too-large") {
			t.Errorf("%d %s %v", res.StatusCode, text, err)
		}
		// What fits in the sockets' buffers is sent before the answer arrives.
		if n := body.read.Load(); n > 20<<20 {
			t.Errorf("%d bytes were taken from a caller who was told to stop after 1 MiB", n)
		}
	}
}

func TestStreams(t *testing.T) {
	server := httptest.NewServer(toy(t, nil).Handler(words{}))
	defer server.Close()
	get := func(query string) (*http.Response, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/toy/lines"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer statistician")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res, string(text), err
	}
	res, text, err := get("?n=1000")
	if err != nil || strings.Count(text, "\n") != 1000 || res.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%v %d lines %v", res.Header, strings.Count(text, "\n"), err)
	}
	if res, text, err = get("?n=0"); err != nil || res.StatusCode != 200 || text != "" {
		t.Errorf("empty: %d %q %v", res.StatusCode, text, err)
	}
	if res, text, _ = get("?n=5&fail=0"); res.StatusCode != 500 || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("failed before the first byte: %d %s", res.StatusCode, text)
	}
	if res, text, err = get("?n=100000&fail=99000"); err == nil {
		t.Errorf("half an answer looked like a whole one: %d, %d bytes", res.StatusCode, len(text))
	}
}

func TestGoKitMiddlewareFits(t *testing.T) {
	var order []string
	named := func(name string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req any) (any, error) {
				order = append(order, name)
				return next(ctx, req)
			}
		}
	}
	r := api.NewRouter(api.Config{})
	api.Handle(r, "GET /api/toy/x", access.PlatformRead, func(context.Context, struct{}) (api.Empty, error) {
		return api.Empty{}, nil
	}, api.Through(named("outer"), named("inner")))
	if w := serve(t, r.Handler(words{}), "GET", "/api/toy/x", "operator", ""); w.Code != 204 || !slices.Equal(order, []string{"outer", "inner"}) {
		t.Errorf("%d %v", w.Code, order)
	}
	e := api.FromKit[int, string](api.Endpoint[int, string](func(_ context.Context, n int) (string, error) { return fmt.Sprint(n), nil }).Kit())
	if got, err := e(t.Context(), 7); got != "7" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, err := api.FromKit[string, string](api.Endpoint[int, string](func(context.Context, int) (string, error) { return "", nil }).Kit())(t.Context(), "x"); err == nil {
		t.Error("a request of another type was taken")
	}
}

func TestARouteHasItsTime(t *testing.T) {
	r := api.NewRouter(api.Config{})
	api.Handle(r, "GET /api/toy/slow", access.PlatformRead, func(ctx context.Context, _ struct{}) (api.Empty, error) {
		<-ctx.Done()
		return api.Empty{}, ctx.Err()
	}, api.Timeout(time.Millisecond))
	wantProblem(t, serve(t, r.Handler(words{}), "GET", "/api/toy/slow", "operator", ""), 503, api.KindUnavailable)
}

// Whatever comes, the answer is a result or a problem, and never an error of ours.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/api/toy/people", "dry_run=1", `{"family_name":"A","birth_date":"1990-01-01"}`, "application/json", "k", `"1"`)
	f.Add("GET", "/api/toy/people", "limit=10&cursor=x&scheme=a,b&since=2026-03-01T10:00:00Z&day=2026-01-01&open=true", "", "", "", "")
	f.Add("PUT", "/api/toy/people/x", "", `{"family_name":"A"}`, "application/json", "", `"3"`)
	f.Add("GET", "/api/toy/lines", "n=3&fail=9", "", "", "", "")
	f.Add("DELETE", "/api/toy//people/../x", "%zz", "\x00", "a/b;c", "\x7f", "W/")
	h := toy(f, nil).Handler(words{})
	f.Fuzz(func(t *testing.T, method, path, query, body, kind, key, ifMatch string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://masar.test/", strings.NewReader(body))
		if err != nil || strings.Contains(path, "errors") || strings.Contains(path, "panic") || strings.Contains(path, "unencodable") {
			t.Skip()
		}
		if len(query) > 8 && strings.Contains(query, "n=") {
			query = query[:8] // no million lines
		}
		req.URL.Path, req.URL.RawQuery = "/"+strings.TrimPrefix(path, "/"), query
		req.Header = http.Header{"Authorization": {"Bearer admin"}, "Content-Type": {kind}, "Idempotency-Key": {key}, "If-Match": {ifMatch}}
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); p != nil && p != http.ErrAbortHandler {
					panic(p)
				}
			}()
			h.ServeHTTP(w, req)
		}()
		if w.Code >= 500 && w.Code != 503 && !strings.Contains(path, "lines") {
			t.Fatalf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%s %s?%s: %d %v %s", method, path, query, w.Code, w.Header(), w.Body)
		}
	})
}
