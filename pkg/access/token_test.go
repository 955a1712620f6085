package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func openIssuer(t testing.TB, dir, url string, now func() time.Time) *Issuer {
	t.Helper()
	i, err := OpenIssuer(dir, url, now)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestATokenSaysWhatThePrincipalIs(t *testing.T) {
	i := openIssuer(t, t.TempDir(), "http://127.0.0.1:8080", at(noon))
	for _, p := range []Principal{
		{Subject: "local", Role: Admin},
		{Subject: "c-17", Role: Counsellor, Governorates: []string{"TN-71", "TN-52"}, Schemes: []string{"agri"}},
		{Subject: "e-3", Role: Employer, Employer: "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	} {
		token, err := i.Token(p, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		got, err := i.Verifier().Verify(t.Context(), token)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, %v; want %+v", got, err, p)
		}
	}
}

func TestTheIssuerSignsNothingThatWouldBeRefused(t *testing.T) {
	i := openIssuer(t, t.TempDir(), "http://127.0.0.1:8080", at(noon))
	for what, p := range map[string]Principal{
		"no subject":            {Role: Admin},
		"no role":               {Subject: "x"},
		"unknown role":          {Subject: "x", Role: "root"},
		"employer without id":   {Subject: "x", Role: Employer},
		"empty governorate":     {Subject: "x", Role: Counsellor, Governorates: []string{""}},
		"empty scheme in scope": {Subject: "x", Role: Counsellor, Schemes: []string{"agri", ""}},
	} {
		if token, err := i.Token(p, time.Hour); err == nil {
			t.Errorf("%s: signed %s", what, token)
		}
	}
	if _, err := i.Token(Principal{Subject: "x", Role: Admin}, 0); err == nil {
		t.Error("signed a token that is never valid")
	}
}

// provider is an identity provider that is not ours: any key, any claims.
type provider struct {
	*httptest.Server
	keys    []jose.JSONWebKey
	down    atomic.Bool
	fetched atomic.Int64
}

func startProvider(t testing.TB, keys ...jose.JSONWebKey) *provider {
	p := &provider{keys: keys}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys",
			// What the provider offers does not decide what we accept.
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetched.Add(1)
		if p.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokensOfAnyProvider(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := startProvider(t,
		jose.JSONWebKey{Key: ec.Public(), KeyID: "ec"},
		jose.JSONWebKey{Key: rs.Public(), KeyID: "rs"},
		jose.JSONWebKey{Key: edPublic, KeyID: "ed"},
	)
	v, err := NewVerifier(t.Context(), p.URL, Rules{Now: at(noon)})
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]any{
		"iss": p.URL, "aud": "masar", "sub": "c-1", "iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
		"masar_role": "counsellor", "masar_governorates": []string{"TN-71"},
	}
	with := func(name string, value any) map[string]any {
		c := maps.Clone(good)
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return c
	}
	accepted := map[string]string{
		"ES256":                   sign(t, jose.ES256, ec, "ec", good),
		"RS256":                   sign(t, jose.RS256, rs, "rs", good),
		"EdDSA":                   sign(t, jose.EdDSA, ed, "ed", good),
		"several audiences":       sign(t, jose.ES256, ec, "ec", with("aud", []string{"account", "masar"})),
		"expired within the skew": sign(t, jose.ES256, ec, "ec", with("exp", noon.Add(-20*time.Second).Unix())),
		"begins within the skew":  sign(t, jose.ES256, ec, "ec", with("nbf", noon.Add(20*time.Second).Unix())),
		"role in a list":          sign(t, jose.ES256, ec, "ec", with("masar_role", []string{"offline_access", "counsellor"})),
		"Keycloak access token":   sign(t, jose.ES256, ec, "ec", with("typ", "Bearer")),
	}
	for what, token := range accepted {
		got, err := v.Verify(t.Context(), token)
		if want := (Principal{Subject: "c-1", Role: Counsellor, Governorates: []string{"TN-71"}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}

	publicDER, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(accepted["ES256"], ".")
	forged, err := json.Marshal(with("masar_role", "admin"))
	if err != nil {
		t.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	refusals := map[string]string{
		"nothing":                     "",
		"not a token":                 "counsellor",
		"two parts":                   parts[0] + "." + parts[1],
		"alg none":                    none,
		"HS256 with the public key":   sign(t, jose.HS256, publicDER, "rs", good),
		"unknown key":                 sign(t, jose.ES256, stranger, "new", good),
		"known id, other key":         sign(t, jose.ES256, stranger, "ec", good),
		"changed claims":              parts[0] + "." + base64.RawURLEncoding.EncodeToString(forged) + "." + parts[2],
		"expired":                     sign(t, jose.ES256, ec, "ec", with("exp", noon.Add(-31*time.Second).Unix())),
		"no expiry":                   sign(t, jose.ES256, ec, "ec", with("exp", nil)),
		"not valid yet":               sign(t, jose.ES256, ec, "ec", with("nbf", noon.Add(31*time.Second).Unix())),
		"another audience":            sign(t, jose.ES256, ec, "ec", with("aud", "account")),
		"no audience":                 sign(t, jose.ES256, ec, "ec", with("aud", nil)),
		"another issuer":              sign(t, jose.ES256, ec, "ec", with("iss", "https://elsewhere.example")),
		"no subject":                  sign(t, jose.ES256, ec, "ec", with("sub", nil)),
		"no role":                     sign(t, jose.ES256, ec, "ec", with("masar_role", nil)),
		"unknown role":                sign(t, jose.ES256, ec, "ec", with("masar_role", "root")),
		"two roles":                   sign(t, jose.ES256, ec, "ec", with("masar_role", []string{"counsellor", "manager"})),
		"role of a wrong type":        sign(t, jose.ES256, ec, "ec", with("masar_role", 7)),
		"employer without id":         sign(t, jose.ES256, ec, "ec", with("masar_role", "employer")),
		"governorates as text":        sign(t, jose.ES256, ec, "ec", with("masar_governorates", "TN-71")),
		"schemes with an empty code":  sign(t, jose.ES256, ec, "ec", with("masar_schemes", []string{""})),
		"ID token":                    sign(t, jose.ES256, ec, "ec", with("typ", "ID")),
		"longer than any token":       strings.Repeat("a", maxToken+1),
		"claims that are not objects": parts[0] + ".bnVsbA." + parts[2],
	}
	for what, token := range refusals {
		got, err := v.Verify(t.Context(), token)
		if !errors.Is(err, ErrRefused) || got.Known() {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
		if err != nil && token != "" && len(token) > 20 && strings.Contains(err.Error(), token[len(token)-20:]) {
			t.Errorf("%s: the error quotes the token", what)
		}
	}
}

func TestTheRoleMayBeInsideAnObject(t *testing.T) {
	i := openIssuer(t, t.TempDir(), "http://issuer", at(noon))
	v := newVerifier("http://issuer", &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{i.key.Public()}},
		Rules{Now: at(noon), RoleClaim: "realm_access.roles"}.filled())
	claims := map[string]any{
		"iss": "http://issuer", "aud": "masar", "sub": "m", "exp": noon.Add(time.Hour).Unix(),
		"realm_access": map[string]any{"roles": []string{"default-roles-onem", "manager"}},
	}
	got, err := v.Verify(t.Context(), sign(t, jose.ES256, i.key, "", claims))
	if err != nil || got.Role != Manager {
		t.Errorf("got %+v, %v", got, err)
	}
	claims["realm_access"] = "manager"
	if _, err := v.Verify(t.Context(), sign(t, jose.ES256, i.key, "", claims)); !errors.Is(err, ErrRefused) {
		t.Errorf("a text where an object belongs: %v", err)
	}
}

func TestTheLocalIssuerIsAnOrdinaryOne(t *testing.T) {
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer server.Close()
	i := openIssuer(t, t.TempDir(), server.URL, time.Now)
	handler = i.Handler()
	v, err := NewVerifier(t.Context(), server.URL, Rules{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.Token(Principal{Subject: "local", Role: Operator}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Verify(t.Context(), token); err != nil || got.Role != Operator {
		t.Errorf("got %+v, %v", got, err)
	}
	other := openIssuer(t, t.TempDir(), server.URL, time.Now)
	if token, err = other.Token(Principal{Subject: "local", Role: Admin}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrRefused) {
		t.Errorf("a token of another installation: %v", err)
	}
}

func TestAProviderThatIsDownIsNotTheTokensFault(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := startProvider(t, jose.JSONWebKey{Key: ec.Public(), KeyID: "ec"})
	p.down.Store(true)
	v, err := NewVerifier(t.Context(), p.URL, Rules{Now: at(noon)})
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, jose.ES256, ec, "ec", map[string]any{
		"iss": p.URL, "aud": "masar", "sub": "c", "exp": noon.Add(time.Hour).Unix(), "masar_role": "manager",
	})
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
		t.Errorf("while it is down: %v", err)
	}
	p.down.Store(false)
	if got, err := v.Verify(t.Context(), token); err != nil || got.Role != Manager {
		t.Errorf("when it is back: %+v, %v", got, err)
	}
	p.down.Store(true)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("a known key needs no provider: %v", err)
	}
	if _, err := NewVerifier(t.Context(), "http://127.0.0.1:1", Rules{}); err == nil {
		t.Error("a wrong issuer shows at start")
	}
}

func TestMadeUpTokensDoNotHammerTheProvider(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	now := func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	p := startProvider(t, jose.JSONWebKey{Key: ec.Public(), KeyID: "ec"})
	v, err := NewVerifier(t.Context(), p.URL, Rules{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"iss": p.URL, "aud": "masar", "sub": "c", "exp": noon.Add(time.Hour).Unix(), "masar_role": "manager"}
	for range 50 {
		if _, err := v.Verify(t.Context(), sign(t, jose.ES256, ec, "made-up", claims)); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("50 made-up tokens: %d fetches", n)
	}
	p.keys = append(p.keys, jose.JSONWebKey{Key: ec.Public(), KeyID: "next"})
	clock.Add(int64(11 * time.Second))
	// go-oidc may give one more caller the result of the fetch that has just ended.
	err = nil
	for range 100 {
		if _, err = v.Verify(t.Context(), sign(t, jose.ES256, ec, "next", claims)); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("a new key after a rotation: %v", err)
	}
}

func TestTheKeyOfTheLocalIdentity(t *testing.T) {
	dir := t.TempDir()
	var opened sync.WaitGroup
	ids := make([]string, 8)
	for n := range ids {
		opened.Go(func() { ids[n] = openIssuer(t, dir, "http://x", time.Now).public.KeyID })
	}
	opened.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("opened at once, the key must be one: %v", ids)
		}
	}
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("drafts are left: %v, %v", entries, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIssuer(dir, "http://x", time.Now); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that all can read: %v", err)
	}
	for what, text := range map[string]string{
		"empty": "", "text": "hello", "other PEM": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"broken PEM": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIssuer(dir, "http://x", time.Now); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := openIssuer(f, f.TempDir(), "http://127.0.0.1:8080", at(noon))
	good, err := i.Token(Principal{Subject: "s", Role: Admin}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add("..")
	f.Add(`{"payload":"e30","signatures":[{"protected":"e30","signature":""}]}`)
	v := i.Verifier()
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(context.Background(), token)
		if err == nil && p.Subject != "s" || err != nil && p.Known() {
			t.Fatalf("%q: %+v, %v", token, p, err)
		}
	})
}
