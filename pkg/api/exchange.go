package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/access"
)

// exchange is what the layers of one request tell each other.
type exchange struct {
	id      string              // the request's id
	route   string              // the path pattern that matched, "" if none
	key     string              // Idempotency-Key
	body    []byte              // the request's body, once read
	request *http.Request       // as it came
	writer  http.ResponseWriter // the server's own, not wrapped
	problem *Error              // what was answered instead of a result
}

type exchangeKey struct{}

func current(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// RequestID is the id of the request that ctx belongs to, "" outside of one. It
// is in the answer's X-Request-Id, in a problem's instance and in the log.
func RequestID(ctx context.Context) string { return current(ctx).id }

// Body is the body of the request as it came, for Fingerprint.
func Body(ctx context.Context) []byte { return current(ctx).body }

// Key is the request's Idempotency-Key, "" when there is none.
func Key(ctx context.Context) string { return current(ctx).key }

// ContextWithKey sets the Idempotency-Key of a context outside HTTP, for a command
// that came another way.
func ContextWithKey(ctx context.Context, key string) context.Context {
	x := *current(ctx)
	x.key = key
	return context.WithValue(ctx, exchangeKey{}, &x)
}

// Principal is who makes the request.
func Principal(ctx context.Context) access.Principal { return access.From(ctx) }

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 128

// parseKey reads an Idempotency-Key header. The draft
// (draft-ietf-httpapi-idempotency-key-header-07) makes it a structured string,
// in quotes; most clients send it bare. Both name the same key.
func parseKey(header string) (string, error) {
	key := header
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if key == "" || len(key) > maxKey {
		return "", Malformed("Header Idempotency-Key: 1 to %d characters expected, %d found.", maxKey, len(key))
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "", Malformed("Header Idempotency-Key: visible ASCII characters expected, without quotes and backslashes inside; a UUID or a ULID will do.")
		}
	}
	return key, nil
}

// IDFromKey is the id of what a principal creates under an Idempotency-Key: in
// shape a ULID, and the same each time, so that a repeated command names the
// document that the first one made. The collection's own uniqueness of ids then
// does the rest, without a second store of keys.
func IDFromKey(principal, key string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(principal)) + ":" + principal + key))
	var id ulid.ULID
	copy(id[:], sum[:])
	return id.String()
}

// NewID is the id of what this request creates: from its Idempotency-Key when it
// has one, else fresh.
func NewID(ctx context.Context) string {
	if key := Key(ctx); key != "" {
		return IDFromKey(Principal(ctx).Subject, key)
	}
	return ulid.Make().String()
}

// Fingerprint is a short digest of a request's body. Stored beside what was
// created under an Idempotency-Key, it tells a repetition from another request
// under the same key (KeyReused).
func Fingerprint(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// ETag is the entity tag of a document's version.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// IfMatch reads the version in an If-Match header: 428 when there is none, 400
// when it is not one strong entity tag, 412 when it cannot be a version of ours.
func IfMatch(header string) (version int64, err error) {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0, problem(KindPreconditionRequired, `Send the ETag of the version that you have read as If-Match, such as If-Match: "3".`, nil)
	}
	tag, quoted := strings.CutPrefix(header, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	if !quoted || !closed || strings.ContainsAny(tag, `",`) {
		return 0, Malformed(`Header If-Match: one entity tag in quotes expected, such as "3".`)
	}
	version, err = strconv.ParseInt(tag, 10, 64)
	if err != nil || version < 1 || ETag(version) != header {
		return 0, Stale("If-Match names no version of this resource: read it again.")
	}
	return version, nil
}
