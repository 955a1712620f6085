package api

import (
	"context"
	"errors"

	"masar.local/pkg/docstore"
)

// fromStore gives the documents' errors the meaning that they have to a caller.
func fromStore(ctx context.Context, err error) *Error {
	switch {
	case errors.Is(err, docstore.ErrNotFound):
		return NotFound("There is no such resource.")
	case errors.Is(err, docstore.ErrExists):
		return Conflict("There is one with this identity already.")
	case errors.Is(err, docstore.ErrStale):
		if r := current(ctx).request; r != nil && r.Header.Get("If-Match") != "" {
			return Stale("Another change came first: read it again, and decide again.")
		}
		return Unavailable("Too many changes of the same resource at once.")
	case errors.Is(err, docstore.ErrInvalidCursor):
		return Invalid(Field{Path: "query.cursor", Code: "cursor", Reason: "not a cursor that this list gave; begin without one"})
	case errors.Is(err, docstore.ErrUnavailable):
		return Unavailable("The store cannot be reached.")
	}
	return nil
}
