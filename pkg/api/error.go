package api

import (
	"fmt"
)

// Kind is the class of an error; it is the end of the problem's type URN
// ("urn:masar:problem:<kind>") and decides the HTTP status.
type Kind string

// Kinds of problems.
const (
	KindInvalid      Kind = "invalid"
	KindMalformed    Kind = "malformed"
	KindUnauthorized Kind = "unauthorized"
	KindForbidden    Kind = "forbidden"
	KindNotFound     Kind = "not-found"
	KindConflict     Kind = "conflict"
	KindStale        Kind = "stale"
	KindUnavailable  Kind = "unavailable"
	KindTooLarge     Kind = "too-large"
)

// Field is one thing wrong in a request, with the path to it ("occupations[0].rome").
type Field struct {
	Path   string `json:"path"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// Error is the one typed error of Masar's HTTP interfaces.
type Error struct {
	Kind   Kind
	Title  string
	Detail string
	Fields []Field
}

func (e *Error) Error() string { return e.Title + ": " + e.Detail }

func problem(kind Kind, format string, args []any) *Error {
	return &Error{Kind: kind, Title: string(kind), Detail: fmt.Sprintf(format, args...)}
}

// NotFound says that what was asked for does not exist (404).
func NotFound(format string, args ...any) *Error { return problem(KindNotFound, format, args) }

// Conflict says that the present state does not allow the command (409).
func Conflict(format string, args ...any) *Error { return problem(KindConflict, format, args) }

// Stale says that the version in If-Match is not the present one (412).
func Stale(format string, args ...any) *Error { return problem(KindStale, format, args) }

// Forbidden says that the principal may not do this (403).
func Forbidden(format string, args ...any) *Error { return problem(KindForbidden, format, args) }

// Unauthorized says that there is no valid token (401).
func Unauthorized(format string, args ...any) *Error { return problem(KindUnauthorized, format, args) }

// Unavailable says that something we need is down; try again (503).
func Unavailable(format string, args ...any) *Error { return problem(KindUnavailable, format, args) }

// TooLarge says that the request is over a limit (413).
func TooLarge(format string, args ...any) *Error { return problem(KindTooLarge, format, args) }

// Malformed says that the request could not be read at all (400).
func Malformed(format string, args ...any) *Error { return problem(KindMalformed, format, args) }

// Invalid says which fields of a readable request are wrong (422).
func Invalid(fields ...Field) *Error {
	return &Error{Kind: KindInvalid, Title: "invalid", Fields: fields}
}
