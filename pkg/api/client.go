package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"masar.local/pkg/access"
)

// Client speaks to Masar's HTTP interfaces: JSON in and out, problems back as
// *Error, a token with every call. What can be repeated without a second effect is
// repeated for a while when the other side cannot answer at present: reads, calls
// with an Idempotency-Key, and whatever was never sent. Safe for concurrent use.
type Client struct {
	base     string
	tokens   access.TokenSource
	http     *http.Client
	attempts int
	pause    time.Duration
}

// ClientOption changes a Client.
type ClientOption func(*Client)

// WithHTTP sets the HTTP client that is used (default: 2 minutes for one call).
func WithHTTP(h *http.Client) ClientOption { return func(c *Client) { c.http = h } }

// WithAttempts sets how often a call is tried, the first time included (default 5).
func WithAttempts(n int) ClientOption { return func(c *Client) { c.attempts = max(1, n) } }

// WithPause sets the pause before the second attempt (default 100 ms); it doubles
// from one attempt to the next, up to 5 s.
func WithPause(d time.Duration) ClientOption { return func(c *Client) { c.pause = d } }

// NewClient makes a client for the services at a base URL, such as
// http://127.0.0.1:8080.
func NewClient(base string, tokens access.TokenSource, opts ...ClientOption) *Client {
	c := &Client{
		base: strings.TrimSuffix(base, "/"), tokens: tokens, attempts: 5, pause: 100 * time.Millisecond,
		http: &http.Client{
			Timeout: 2 * time.Minute,
			// A token must not follow a redirect to another place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, opt := range opts {
		opt(c)
	}
	return c
}

// CallOption changes one call.
type CallOption func(*call)

type call struct {
	header http.Header
	answer *http.Header
}

// WithKey sends an Idempotency-Key, which makes a POST repeatable.
func WithKey(key string) CallOption {
	return func(c *call) { c.header.Set("Idempotency-Key", key) }
}

// WithVersion sends If-Match with the version that was read.
func WithVersion(version int64) CallOption {
	return func(c *call) { c.header.Set("If-Match", ETag(version)) }
}

// WithAccept asks for a media type (default application/json).
func WithAccept(kind string) CallOption { return func(c *call) { c.header.Set("Accept", kind) } }

// AnswerHeader stores the answer's header, for its ETag or Location.
func AnswerHeader(h *http.Header) CallOption { return func(c *call) { c.answer = h } }

// Get reads path into answer.
func (c *Client) Get(ctx context.Context, path string, answer any, opts ...CallOption) error {
	return c.Do(ctx, http.MethodGet, path, nil, answer, opts...)
}

// Post sends body to path and reads the answer.
func (c *Client) Post(ctx context.Context, path string, body, answer any, opts ...CallOption) error {
	return c.Do(ctx, http.MethodPost, path, body, answer, opts...)
}

// Put sends body to path and reads the answer.
func (c *Client) Put(ctx context.Context, path string, body, answer any, opts ...CallOption) error {
	return c.Do(ctx, http.MethodPut, path, body, answer, opts...)
}

// Do makes a call. body is nil, JSON as []byte, or anything that becomes JSON;
// answer is nil, an io.Writer that gets the bytes, or a pointer that JSON is read
// into (unknown members are ignored, so that a newer server may say more). An
// answer that is no success is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, body, answer any, opts ...CallOption) error {
	res, err := c.send(ctx, method, path, body, opts)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch answer := answer.(type) {
	case nil:
		_, err = io.Copy(io.Discard, res.Body)
	case io.Writer:
		_, err = io.Copy(answer, res.Body)
	default:
		if res.StatusCode == http.StatusNoContent {
			return nil
		}
		err = json.NewDecoder(res.Body).Decode(answer)
	}
	if err != nil {
		return fmt.Errorf("reading the answer of %s %s: %w", method, c.place(path), err)
	}
	return nil
}

// Stream makes a call whose answer is read bit by bit; close it.
func (c *Client) Stream(ctx context.Context, method, path string, body any, opts ...CallOption) (io.ReadCloser, error) {
	opts = append([]CallOption{WithAccept("*/*")}, opts...)
	res, err := c.send(ctx, method, path, body, opts)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// place is an address without its query, which may hold what is searched for.
func (c *Client) place(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return c.base + path
}

func (c *Client) send(ctx context.Context, method, path string, body any, opts []CallOption) (*http.Response, error) {
	one := call{header: http.Header{"Accept": {"application/json"}}}
	for _, opt := range opts {
		opt(&one)
	}
	var data []byte
	switch body := body.(type) {
	case nil:
	case []byte:
		data = body
	case json.RawMessage:
		data = body
	default:
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("%s %s: the request as JSON: %w", method, c.place(path), err)
		}
	}
	repeatable := slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method) ||
		one.header.Get("Idempotency-Key") != "" ||
		// A second PUT or DELETE has no second effect; with a version, it would be refused as stale.
		(method == http.MethodPut || method == http.MethodDelete) && one.header.Get("If-Match") == ""

	pause := c.pause
	for attempt := 1; ; attempt++ {
		res, err := c.once(ctx, method, path, data, body != nil, one.header)
		if err == nil && res.StatusCode < 300 {
			if one.answer != nil {
				*one.answer = res.Header
			}
			return res, nil
		}
		wait, again := pause, false
		if err != nil {
			var dial *net.OpError
			again = repeatable || errors.As(err, &dial) && dial.Op == "dial"
			err = fmt.Errorf("%s %s: %w", method, c.place(path), unquoted(err))
		} else {
			switch res.StatusCode {
			case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
				again = repeatable
			}
			e := readProblem(res)
			wait = max(wait, min(e.RetryAfter, 10*time.Second))
			err = e
		}
		if !again || attempt >= c.attempts || ctx.Err() != nil {
			return nil, err
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// unquoted takes the address out of an HTTP client's error, since it has the query.
func unquoted(err error) error {
	var quoted interface {
		error
		Unwrap() error
		Timeout() bool
	}
	if errors.As(err, &quoted) {
		if inner := quoted.Unwrap(); inner != nil {
			return inner
		}
	}
	return err
}

func (c *Client) once(ctx context.Context, method, path string, data []byte, hasBody bool, header http.Header) (*http.Response, error) {
	var body io.Reader
	if hasBody {
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	if hasBody {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.tokens != nil {
		token, err := c.tokens.Token(ctx)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	propagator.Inject(ctx, propagation.HeaderCarrier(req.Header))
	return c.http.Do(req)
}

// readProblem reads what a server said instead of a result, and closes the answer.
func readProblem(res *http.Response) *Error {
	defer res.Body.Close()
	e := &Error{Status: res.StatusCode}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	var body problemBody
	if err == nil && kind == "application/problem+json" && json.Unmarshal(text, &body) == nil {
		e.Kind = Kind(strings.TrimPrefix(body.Type, TypePrefix))
		e.Title, e.Detail, e.Fields, e.Instance = body.Title, body.Detail, body.Errors, body.Instance
		return e
	}
	for k, is := range kinds { // something between us and Masar answered
		if is.status == res.StatusCode && k != KindKeyReused {
			e.Kind = k
		}
	}
	e.Title = http.StatusText(res.StatusCode)
	e.Detail = "Not an answer of Masar: HTTP status " + res.Status + "."
	return e
}
