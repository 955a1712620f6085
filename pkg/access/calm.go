package access

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxKeySet bounds the key set that is read from an issuer, in bytes.
const maxKeySet = 1 << 20

// calm answers repeated GETs from the last good answer for a while. go-oidc
// fetches the keys again for every token whose key it does not know, so that
// anybody could make us hammer the identity provider with made-up tokens.
type calm struct {
	next  http.RoundTripper
	now   func() time.Time
	pause time.Duration

	mu     sync.Mutex
	at     time.Time
	status string
	header http.Header
	body   []byte
}

func (c *calm) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body == nil || c.now().Sub(c.at) >= c.pause {
		next := c.next
		if next == nil {
			next = http.DefaultTransport
		}
		res, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode != http.StatusOK {
			return res, nil
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet))
		if closeErr := res.Body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
		c.at, c.status, c.header, c.body = c.now(), res.Status, res.Header.Clone(), body
	}
	return &http.Response{
		Status: c.status, StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header.Clone(), Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)),
		Request: req,
	}, nil
}
