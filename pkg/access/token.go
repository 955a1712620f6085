package access

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Audience is the "aud" that a token for Masar carries.
const Audience = "masar"

var errNotYet = errors.New("access: not implemented")

// Verifier turns a bearer token into the principal it stands for, or says why not.
type Verifier interface {
	Verify(ctx context.Context, token string) (Principal, error)
}

// TokenSource gives the bearer token for a call to another service.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// NewVerifier verifies tokens of an OpenID Connect issuer (discovery and JWKS over HTTP).
func NewVerifier(ctx context.Context, issuer, audience string) (Verifier, error) {
	return nil, errNotYet
}

// Issuer is the local identity of `masar up`.
type Issuer struct{}

// OpenIssuer reads the key of the local identity from dir/identity.key, creating it (0600) when absent.
// url is the "iss" of its tokens.
func OpenIssuer(dir, url string, now func() time.Time) (*Issuer, error) { return nil, errNotYet }

// Token signs a token for p that is valid for ttl.
func (i *Issuer) Token(p Principal, ttl time.Duration) (string, error) { return "", errNotYet }

// Verifier verifies this issuer's tokens without any network.
func (i *Issuer) Verifier() Verifier { return nil }

// Handler serves discovery and JWKS under /.well-known/.
func (i *Issuer) Handler() http.Handler { return http.NotFoundHandler() }

// Source gives fresh tokens for p, each valid for ttl.
func (i *Issuer) Source(p Principal, ttl time.Duration) TokenSource { return Static("") }

type static string

// Static is a token source that always gives the same token.
func Static(token string) TokenSource { return static(token) }

func (s static) Token(context.Context) (string, error) { return string(s), nil }

// File is a token source that reads the token from a file, again whenever the file changes.
func File(path string) TokenSource { return static("") }
