package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/kit/ratelimit"

	"masar.local/pkg/access"
)

// Kind is the class of an error: the end of the problem's type URN
// ("urn:masar:problem:<kind>"), which is stable and what programs decide by.
type Kind string

// The kinds. Their status and title: the table kinds.
const (
	KindMalformed            Kind = "malformed"
	KindUnauthorized         Kind = "unauthorized"
	KindForbidden            Kind = "forbidden"
	KindNotFound             Kind = "not-found"
	KindMethodNotAllowed     Kind = "method-not-allowed"
	KindNotAcceptable        Kind = "not-acceptable"
	KindConflict             Kind = "conflict"
	KindStale                Kind = "stale"
	KindTooLarge             Kind = "too-large"
	KindUnsupported          Kind = "unsupported-media-type"
	KindInvalid              Kind = "invalid"
	KindKeyReused            Kind = "idempotency-key-reused"
	KindPreconditionRequired Kind = "precondition-required"
	KindTooMany              Kind = "too-many-requests"
	KindInternal             Kind = "internal"
	KindUnavailable          Kind = "unavailable"
)

// TypePrefix comes before the kind in a problem's type.
const TypePrefix = "urn:masar:problem:"

// kinds is the one place that says which status and title a kind has.
var kinds = map[Kind]struct {
	status int
	title  string
}{
	KindMalformed:            {http.StatusBadRequest, "The request cannot be read"},
	KindUnauthorized:         {http.StatusUnauthorized, "A valid bearer token is needed"},
	KindForbidden:            {http.StatusForbidden, "Not allowed"},
	KindNotFound:             {http.StatusNotFound, "Not found"},
	KindMethodNotAllowed:     {http.StatusMethodNotAllowed, "The method is not offered here"},
	KindNotAcceptable:        {http.StatusNotAcceptable, "No answer in an accepted format"},
	KindConflict:             {http.StatusConflict, "The present state does not allow this"},
	KindStale:                {http.StatusPreconditionFailed, "Changed in the meantime"},
	KindTooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large"},
	KindUnsupported:          {http.StatusUnsupportedMediaType, "The format of the body is not supported"},
	KindInvalid:              {http.StatusUnprocessableEntity, "Some values are not valid"},
	KindKeyReused:            {http.StatusUnprocessableEntity, "The Idempotency-Key belongs to another request"},
	KindPreconditionRequired: {http.StatusPreconditionRequired, "The version that you have read is needed"},
	KindTooMany:              {http.StatusTooManyRequests, "Too many requests"},
	KindInternal:             {http.StatusInternalServerError, "An error on our side"},
	KindUnavailable:          {http.StatusServiceUnavailable, "Not available at present"},
}

// Field is one thing wrong in a request: where ("occupations[0].rome", or
// "query.limit"), a stable code for programs ("required", "date"), and a reason
// for people that says what was expected.
type Field struct {
	Path   string `json:"path"`
	Code   string `json:"code"`
	Reason string `json:"reason"`

	theirs bool // the path has names that the caller made up: not for a log
}

// Error makes a Field an error, so that a type's UnmarshalJSON or UnmarshalText
// may return one with its own code; the path is filled in by the decoder.
func (f Field) Error() string {
	if f.Path == "" {
		return f.Reason
	}
	return f.Path + ": " + f.Reason
}

// Error is the one typed error of Masar's HTTP interfaces. A use case returns
// it, the router writes it as problem+json (RFC 9457), a Client gives it back.
type Error struct {
	Kind       Kind
	Title      string
	Detail     string // for the caller; may reach a log: no personal data
	Fields     []Field
	Status     int           // HTTP status; 0 = the kind's
	Instance   string        // the request's id, filled in by the router
	RetryAfter time.Duration // for unavailable and too-many-requests
	Allow      string        // for method-not-allowed
	cause      error
}

// Error gives kind and detail, and of the fields only paths and codes, since
// reasons, and names that a caller made up, may be a person's data.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Kind))
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for i, f := range e.Fields {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(e.Fields)-i)
			break
		}
		path := f.Path
		if f.theirs {
			path = "*"
		}
		fmt.Fprintf(&b, " [%s: %s]", path, f.Code)
	}
	return b.String()
}

// Unwrap gives the cause, which only the log sees.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &api.Error{Kind: api.KindNotFound}) work.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind
}

// Because adds the cause, for the log.
func (e *Error) Because(err error) *Error {
	e.cause = err
	return e
}

// Code is the HTTP status.
func (e *Error) Code() int {
	if e.Status != 0 {
		return e.Status
	}
	return kinds[e.Kind].status
}

func problem(kind Kind, format string, args []any) *Error {
	detail := format
	if len(args) > 0 {
		detail = fmt.Sprintf(format, args...)
	}
	return &Error{Kind: kind, Title: kinds[kind].title, Detail: detail}
}

// Malformed says that the request could not be read at all (400).
func Malformed(format string, args ...any) *Error { return problem(KindMalformed, format, args) }

// Unauthorized says that there is no valid token (401).
func Unauthorized(format string, args ...any) *Error { return problem(KindUnauthorized, format, args) }

// Forbidden says that the principal may not do this (403).
func Forbidden(format string, args ...any) *Error { return problem(KindForbidden, format, args) }

// NotFound says that what was asked for does not exist, or not for this principal (404).
func NotFound(format string, args ...any) *Error { return problem(KindNotFound, format, args) }

// Conflict says that the present state does not allow the command (409).
func Conflict(format string, args ...any) *Error { return problem(KindConflict, format, args) }

// Stale says that the version in If-Match is not the present one (412).
func Stale(format string, args ...any) *Error { return problem(KindStale, format, args) }

// TooLarge says that the request is over a limit (413).
func TooLarge(format string, args ...any) *Error { return problem(KindTooLarge, format, args) }

// Unsupported says that the body is in a format that is not read here (415).
func Unsupported(format string, args ...any) *Error { return problem(KindUnsupported, format, args) }

// Invalid says which fields of a readable request are wrong (422).
func Invalid(fields ...Field) *Error {
	e := problem(KindInvalid, "", nil)
	e.Fields = fields
	switch len(fields) {
	case 0:
	case 1:
		e.Detail = "One value is not valid; see errors."
	default:
		e.Detail = fmt.Sprintf("%d values are not valid; see errors.", len(fields))
	}
	return e
}

// KeyReused says that the Idempotency-Key came before with another body (422).
func KeyReused() *Error {
	return problem(KindKeyReused, "This Idempotency-Key was used before with another body: use a new key for a new request.", nil)
}

// Unavailable says that something we need is down (503): the caller may try again.
func Unavailable(format string, args ...any) *Error {
	e := problem(KindUnavailable, format, args)
	e.RetryAfter = 2 * time.Second
	return e
}

// TooMany says that the caller must slow down (429).
func TooMany(retryAfter time.Duration) *Error {
	e := problem(KindTooMany, "Slow down, and try again later.", nil)
	e.RetryAfter = retryAfter
	return e
}

// AsError finds the typed error that err is to a caller. Whatever has no meaning
// for one becomes KindInternal, its cause kept for the log and out of the answer.
func AsError(ctx context.Context, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var f Field
	if errors.As(err, &f) {
		return Invalid(f).Because(err)
	}
	if e = fromStore(ctx, err); e != nil {
		return e.Because(err)
	}
	switch {
	case errors.Is(err, access.ErrRefused):
		return Unauthorized("%s", strings.TrimPrefix(err.Error(), "token ")).Because(err)
	case errors.Is(err, access.ErrUnavailable):
		return Unavailable("The identity provider cannot be reached.").Because(err)
	case errors.Is(err, ratelimit.ErrLimited):
		return TooMany(time.Second).Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable("This took too long and was given up. A command may have taken effect: repeat it with the same Idempotency-Key.").Because(err)
	case errors.Is(err, context.Canceled):
		return Unavailable("Given up: the caller went away, or the server is stopping.").Because(err)
	}
	return problem(KindInternal, "The cause is in the log, under this request's id.", nil).Because(err)
}

// Kinds lists the kinds of problems by name, for documentation and tests.
func Kinds() []Kind {
	var all []Kind
	for k := range kinds {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
