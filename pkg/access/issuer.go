package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// keyFile is the private key of the local identity, in the data directory.
const keyFile = "identity.key"

// Issuer is the local identity of `masar up`: it signs tokens with a key that
// lives in the data directory, so that whoever may read that directory is the
// owner. Other programs verify its tokens as any OpenID Connect issuer's, through
// Handler; the process itself needs no network, through Verifier.
type Issuer struct {
	url    string
	key    *ecdsa.PrivateKey
	public jose.JSONWebKey
	signer jose.Signer
	now    func() time.Time
}

// OpenIssuer reads the key of the local identity from dir/identity.key and
// creates it, readable by its owner only, when there is none. url is the issuer
// ("iss"): the address under which Handler is served, without a slash at the end.
func OpenIssuer(dir, url string, now func() time.Time) (*Issuer, error) {
	path := filepath.Join(dir, keyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = createKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("access: local identity %s: %w", path, err)
	}
	i := &Issuer{url: strings.TrimSuffix(url, "/"), key: key, now: now}
	i.public = jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumb, err := i.public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("access: local identity %s: %w", path, err)
	}
	i.public.KeyID = fmt.Sprintf("%x", thumb[:8])
	i.signer, err = jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: i.public.KeyID}},
		(&jose.SignerOptions{}).WithType("at+jwt"), // RFC 9068 §2.1
	)
	if err != nil {
		return nil, fmt.Errorf("access: local identity %s: %w", path, err)
	}
	return i, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("readable by others (mode %#o): whoever reads it can be anybody; chmod 600 it, or delete it to get a new one", info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PEM private key; delete it to get a new one")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a PKCS #8 private key (%w); delete it to get a new one", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key; delete it to get a new one")
	}
	return key, nil
}

// createKey writes a new key whole or not at all, and never over another that a
// second process has made in the meantime: then that one counts.
func createKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), keyFile+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(draft.Name())
	err = pem.Encode(draft, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = draft.Sync()
	}
	if closeErr := draft.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links (exFAT, some shared folders).
		if err := os.Rename(draft.Name(), path); err != nil {
			return nil, err
		}
	}
	return readKey(path)
}

// URL is the issuer ("iss") of the tokens.
func (i *Issuer) URL() string { return i.url }

// Token signs an access token for p that is valid for ttl from now.
func (i *Issuer) Token(p Principal, ttl time.Duration) (string, error) {
	switch {
	case p.Subject == "":
		return "", errors.New("access: a token needs a subject")
	case !p.Role.Known():
		return "", fmt.Errorf("access: unknown role %q; one of %s", p.Role, strings.Join(roleNames(), ", "))
	case p.Role == Employer && p.Employer == "":
		return "", errors.New("access: a token of the role employer needs the employer's id")
	case slices.Contains(p.Governorates, "") || slices.Contains(p.Schemes, ""):
		return "", errors.New("access: an empty governorate or scheme code")
	case ttl <= 0:
		return "", fmt.Errorf("access: a token cannot be valid for %s", ttl)
	}
	now := i.now()
	claims := map[string]any{
		"iss": i.url, "sub": p.Subject, "aud": Audience,
		"iat": now.Unix(), "exp": now.Add(ttl).Unix(),
		RoleClaim: p.Role,
	}
	if len(p.Governorates) > 0 {
		claims[governoratesClaim] = p.Governorates
	}
	if len(p.Schemes) > 0 {
		claims[schemesClaim] = p.Schemes
	}
	if p.Role == Employer {
		claims[employerClaim] = p.Employer
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("access: signing a token: %w", err)
	}
	return signed.CompactSerialize()
}

// Verifier verifies this issuer's tokens in the same process, without any network.
func (i *Issuer) Verifier() Verifier {
	return newVerifier(i.url, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{i.key.Public()}}, Rules{Now: i.now}.filled())
}

// Handler serves the discovery document and the public key, under
// /.well-known/openid-configuration and /.well-known/jwks.json of the issuer's URL.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /.well-known/openid-configuration", document(map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.url + "/.well-known/jwks.json",
		"id_token_signing_alg_values_supported": []string{oidc.ES256},
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"public"},
		"claims_supported":                      []string{"sub", RoleClaim, governoratesClaim, schemesClaim, employerClaim},
	}))
	mux.Handle("GET /.well-known/jwks.json", document(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.public}}))
	return mux
}

func document(v any) http.Handler {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own constant documents: a mistake in the code
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(body) // the client is gone: nothing to do about it
	})
}

// Source gives tokens for p, each valid for ttl, and a fresh one when less than a
// fifth of that is left.
func (i *Issuer) Source(p Principal, ttl time.Duration) TokenSource {
	return &signing{issuer: i, principal: p, ttl: ttl}
}

type signing struct {
	issuer    *Issuer
	principal Principal
	ttl       time.Duration

	mu    sync.Mutex
	token string
	renew time.Time
}

func (s *signing) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.issuer.now()
	if s.token == "" || !now.Before(s.renew) {
		token, err := s.issuer.Token(s.principal, s.ttl)
		if err != nil {
			return "", err
		}
		s.token, s.renew = token, now.Add(s.ttl*4/5)
	}
	return s.token, nil
}
