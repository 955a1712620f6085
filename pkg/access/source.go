package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// TokenSource gives the bearer token for a call to another service. It is safe
// for concurrent use.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

type static string

// Static always gives the same token.
func Static(token string) TokenSource { return static(token) }

func (s static) Token(context.Context) (string, error) {
	if s == "" {
		return "", errors.New("access: no token configured")
	}
	return string(s), nil
}

// File gives the token in a file, and reads it again whenever the file changes:
// so a cluster's rotated service account token is used without a restart.
func File(path string) TokenSource { return &file{path: path} }

type file struct {
	path string

	mu       sync.Mutex
	token    string
	modified time.Time
	size     int64
}

func (f *file) Token(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", fmt.Errorf("access: token file: %w", err)
	}
	if f.token == "" || !info.ModTime().Equal(f.modified) || info.Size() != f.size {
		if info.Size() > maxToken {
			return "", fmt.Errorf("access: token file %s: longer than %d bytes, not a token", f.path, maxToken)
		}
		text, err := os.ReadFile(f.path)
		if err != nil {
			return "", fmt.Errorf("access: token file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" {
			return "", fmt.Errorf("access: token file %s is empty", f.path)
		}
		f.token, f.modified, f.size = token, info.ModTime(), info.Size()
	}
	return f.token, nil
}

// ClientCredentials gets tokens from an identity provider's token endpoint for a
// program of ours (OAuth 2.0 client credentials, RFC 6749 §4.4), and keeps each
// until shortly before it expires.
func ClientCredentials(tokenURL, clientID, secret string, client *http.Client) TokenSource {
	c := &clientcredentials.Config{
		ClientID: clientID, ClientSecret: secret, TokenURL: tokenURL,
		EndpointParams: map[string][]string{"audience": {Audience}},
	}
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	return credentials{c.TokenSource(ctx)}
}

type credentials struct{ source oauth2.TokenSource }

func (c credentials) Token(context.Context) (string, error) {
	token, err := c.source.Token()
	if err != nil {
		var refusal *oauth2.RetrieveError
		if errors.As(err, &refusal) { // its text holds the whole answer: keep the code only
			return "", fmt.Errorf("access: token endpoint refused the client credentials: %s %s", refusal.Response.Status, refusal.ErrorCode)
		}
		return "", fmt.Errorf("access: token endpoint: %w", err)
	}
	return token.AccessToken, nil
}
