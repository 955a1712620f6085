// Package access answers who may do what: it turns an OpenID Connect access
// token into a Principal (who), a Role (which permissions) and a scope (which
// governorates and schemes).
//
// There is no anonymous principal: the zero Principal can do nothing and
// covers nothing, so that a forgotten check fails closed.
package access

import (
	"context"
	"slices"
)

// Principal is the person or the program behind a request, as its token says.
type Principal struct {
	Subject      string   // the token's "sub": stable id of the caller, not a name
	Role         Role     // exactly one role
	Governorates []string // governorate codes (ISO 3166-2:TN) it may touch; empty = all
	Schemes      []string // scheme codes it may touch; empty = all
	Employer     string   // the employer's id, for the role employer only
}

// Known reports whether p was authenticated, that is, whether it has a subject.
func (p Principal) Known() bool { return p.Subject != "" }

// Can reports whether p's role holds the permission.
func (p Principal) Can(permission Permission) bool {
	return p.Known() && slices.Contains(permissions[p.Role], permission)
}

// Covers reports whether p's scope includes both the governorate and the
// scheme. An empty argument means "none in particular" and is always covered;
// an empty list in the principal means all.
func (p Principal) Covers(governorate, scheme string) bool {
	return p.Known() && within(p.Governorates, governorate) && within(p.Schemes, scheme)
}

func within(list []string, value string) bool {
	return value == "" || len(list) == 0 || slices.Contains(list, value)
}

type contextKey struct{}

// With returns a context that carries the principal.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the principal of the context, the zero Principal when there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}

// ActsFor reports whether p may act on what belongs to an employer: the role
// employer only on its own, every other role on any.
func (p Principal) ActsFor(employer string) bool {
	return p.Known() && (p.Role != Employer || p.Employer == employer)
}
