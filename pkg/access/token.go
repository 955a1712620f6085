package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Audience is the "aud" that a token for Masar carries.
const Audience = "masar"

// RoleClaim is the claim that names the role, unless a verifier is told another
// (MASAR_OIDC_ROLE_CLAIM), as identity providers differ: "realm_access.roles"
// reads roles from inside an object.
const RoleClaim = "masar_role"

// Claims of the scope. Absent means all.
const (
	governoratesClaim = "masar_governorates"
	schemesClaim      = "masar_schemes"
	employerClaim     = "masar_employer"
)

// clockSkew is how far the issuer's clock may be from ours.
const clockSkew = 30 * time.Second

// maxToken bounds the token that is looked at, in bytes.
const maxToken = 16 << 10

var (
	// ErrRefused says that a token is not acceptable: forged, expired, for
	// somebody else, or without a known role. The wrapping error says why,
	// and never quotes the token.
	ErrRefused = errors.New("token refused")
	// ErrUnavailable says that a token could not be judged, because the issuer's
	// keys cannot be fetched at present.
	ErrUnavailable = errors.New("identity provider unavailable")
)

// Verifier turns a bearer token into the principal it stands for, or says why
// not with ErrRefused or ErrUnavailable.
type Verifier interface {
	Verify(ctx context.Context, token string) (Principal, error)
}

// Rules says how a token is read. The zero value holds: audience "masar", the
// role in the claim "masar_role", the present time.
type Rules struct {
	Audience  string           // what "aud" must contain; default Audience
	RoleClaim string           // where the role is, dots go inside objects; default RoleClaim
	Now       func() time.Time // default time.Now
	Client    *http.Client     // for discovery and keys; default: 10 s timeout
}

func (r Rules) filled() Rules {
	if r.Audience == "" {
		r.Audience = Audience
	}
	if r.RoleClaim == "" {
		r.RoleClaim = RoleClaim
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Client == nil {
		r.Client = &http.Client{Timeout: 10 * time.Second}
	}
	return r
}

// algorithms that we accept, whatever the issuer offers: no shared secrets, no "none".
var algorithms = []string{oidc.ES256, oidc.RS256, oidc.EdDSA}

// NewVerifier verifies access tokens (JWT) of an OpenID Connect issuer. It
// fetches the issuer's discovery document at once, so that a wrong URL shows at
// start, and its keys when they are needed.
func NewVerifier(ctx context.Context, issuer string, r Rules) (Verifier, error) {
	r = r.filled()
	ctx = oidc.ClientContext(ctx, r.Client)
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("access: discovery of the issuer %s: %w", issuer, err)
	}
	var found struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return nil, fmt.Errorf("access: discovery of the issuer %s: %w", issuer, err)
	}
	keyClient := *r.Client
	keyClient.Transport = &calm{next: r.Client.Transport, now: r.Now, pause: 10 * time.Second}
	return newVerifier(issuer, oidc.NewRemoteKeySet(oidc.ClientContext(ctx, &keyClient), found.JWKS), r), nil
}

type verifier struct {
	tokens *oidc.IDTokenVerifier
	rules  Rules
	known  memory
}

func newVerifier(issuer string, keys oidc.KeySet, r Rules) *verifier {
	return &verifier{rules: r, tokens: oidc.NewVerifier(issuer, noted{keys}, &oidc.Config{
		ClientID:             r.Audience,
		SupportedSigningAlgs: algorithms,
		SkipExpiryCheck:      true, // checked below, with our skew
	})}
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

func (v *verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxToken {
		return Principal{}, refused("longer than %d bytes", maxToken)
	}
	now := v.rules.Now()
	if p, ok := v.known.find(token, now); ok {
		return p, nil
	}
	var unavailable error
	verified, err := v.tokens.Verify(context.WithValue(ctx, noteKey{}, &unavailable), token)
	switch {
	case unavailable != nil:
		return Principal{}, fmt.Errorf("%w: %w", ErrUnavailable, unavailable)
	case err != nil:
		return Principal{}, refused("%s", reason(err))
	}

	var times struct {
		Expiry    *float64 `json:"exp"`
		NotBefore *float64 `json:"nbf"`
		Type      string   `json:"typ"`
	}
	if err := verified.Claims(&times); err != nil {
		return Principal{}, refused("claims exp, nbf, typ: wrong type")
	}
	switch {
	case times.Expiry == nil:
		return Principal{}, refused("no expiry (claim exp)")
	case now.After(verified.Expiry.Add(clockSkew)):
		return Principal{}, refused("expired at %s", verified.Expiry.UTC().Format(time.RFC3339))
	case times.NotBefore != nil && now.Add(clockSkew).Before(time.Unix(int64(*times.NotBefore), 0)):
		return Principal{}, refused("not valid yet (claim nbf)")
	case times.Type == "ID": // Keycloak marks its ID tokens so
		return Principal{}, refused("an ID token, where an access token is needed")
	}

	var claims map[string]json.RawMessage
	if err := verified.Claims(&claims); err != nil {
		return Principal{}, refused("claims are not an object")
	}
	p := Principal{Subject: verified.Subject}
	if p.Subject == "" {
		return Principal{}, refused("no subject (claim sub)")
	}
	if p.Role, err = role(claims, v.rules.RoleClaim); err != nil {
		return Principal{}, err
	}
	if p.Governorates, err = list(claims, governoratesClaim); err != nil {
		return Principal{}, err
	}
	if p.Schemes, err = list(claims, schemesClaim); err != nil {
		return Principal{}, err
	}
	if p.Role == Employer {
		if raw, ok := claims[employerClaim]; !ok || json.Unmarshal(raw, &p.Employer) != nil || p.Employer == "" {
			return Principal{}, refused("role employer without the employer's id (claim %s)", employerClaim)
		}
	}
	v.known.keep(token, p, now, verified.Expiry.Add(clockSkew))
	return p, nil
}

// reason is what may be said of a verification error: go-oidc's texts name
// issuer, audience and algorithm, never the token's secret parts.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "oidc: ") }

// role finds the one known role in the claim, which may be a string or a list.
func role(claims map[string]json.RawMessage, path string) (Role, error) {
	raw, rest, more := claims[path], "", false
	if raw == nil { // not a claim of exactly this name: go inside objects
		for rest = path; ; {
			var head string
			head, rest, more = strings.Cut(rest, ".")
			raw = claims[head]
			if !more || raw == nil {
				break
			}
			claims = nil
			if json.Unmarshal(raw, &claims) != nil {
				raw = nil
				break
			}
		}
	}
	if raw == nil {
		return "", refused("no role (claim %s)", path)
	}
	var names []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		names = []string{one}
	} else if json.Unmarshal(raw, &names) != nil {
		return "", refused("claim %s: a role or a list of roles expected", path)
	}
	var known []Role
	for _, name := range names {
		if r := Role(name); r.Known() && !slices.Contains(known, r) {
			known = append(known, r)
		}
	}
	if len(known) != 1 {
		return "", refused("claim %s: exactly one of Masar's roles expected, %d found", path, len(known))
	}
	return known[0], nil
}

// list reads a claim that limits the scope. A claim that is there but unreadable
// refuses the token: read as "all", it would widen what its issuer meant to narrow.
func list(claims map[string]json.RawMessage, name string) ([]string, error) {
	raw, ok := claims[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	var values []string
	if json.Unmarshal(raw, &values) != nil {
		return nil, refused("claim %s: a list of codes expected", name)
	}
	if slices.Contains(values, "") {
		return nil, refused("claim %s: an empty code", name)
	}
	return values, nil
}

// noted is a key set that leaves the cause of a failed key fetch in the context,
// because go-oidc turns it into text and a failed fetch is not the token's fault.
type noted struct{ oidc.KeySet }

type noteKey struct{}

func (n noted) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := n.KeySet.VerifySignature(ctx, jwt)
	if cause := errors.Unwrap(err); cause != nil { // only the fetch wraps its cause
		if note, ok := ctx.Value(noteKey{}).(*error); ok {
			*note = err
		}
	}
	return payload, err
}
