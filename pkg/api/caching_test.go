package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// figure is a response that its reader may keep, as a file.
type figure struct{ fails bool }

func (figure) ETag() string         { return `W/"a1"` }
func (figure) CacheControl() string { return "private, no-cache" }
func (figure) Filename() string     { return "chiffres.csv" }
func (figure) ContentType() string  { return "text/csv" }
func (f figure) Stream(w io.Writer) error {
	if f.fails {
		return errors.New("broken")
	}
	_, err := io.WriteString(w, "a,b\n")
	return err
}

// TestWhatMayBeKept: a response that says so may be kept and asked for again with
// If-None-Match; a failure may not, and is no file.
func TestWhatMayBeKept(t *testing.T) {
	r := api.NewRouter(api.Config{})
	api.Handle(r, "GET /api/toy/figure", access.IndicatorsRead, func(_ context.Context, q struct {
		Fails bool `query:"fails"`
	},
	) (figure, error) {
		return figure{q.Fails}, nil
	})
	h := r.Handler(words{})
	w := serve(t, h, "GET", "/api/toy/figure", "officer", "")
	for name, want := range map[string]string{
		"ETag": `W/"a1"`, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization",
		"Content-Disposition": "attachment; filename=chiffres.csv",
	} {
		if got := w.Header().Get(name); got != want || w.Code != http.StatusOK {
			t.Errorf("%d %s: %q, want %q", w.Code, name, got, want)
		}
	}
	for tag, want := range map[string]int{`W/"a1"`: 304, `"a1"`: 304, `"x", W/"a1"`: 304, "*": 304, `"a2"`: 200, "": 200, `a1`: 200} {
		w := serve(t, h, "GET", "/api/toy/figure", "officer", "", "If-None-Match", tag)
		if w.Code != want || w.Header().Get("ETag") != `W/"a1"` || (want == 304) != (w.Body.Len() == 0) || w.Header().Get("Cache-Control") != "private, no-cache" {
			t.Errorf("If-None-Match %s: %d %q, want %d", tag, w.Code, w.Body, want)
		}
	}
	w = serve(t, h, "GET", "/api/toy/figure?fails=true", "officer", "")
	if w.Code != 500 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Disposition") != "" || w.Header().Get("ETag") != "" {
		t.Errorf("a failure: %d %v", w.Code, w.Header())
	}
}
