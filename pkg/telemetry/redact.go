package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Masked stands in a log for what was there.
const Masked = "[masked]"

// personal are attribute keys whose value is a person's or a secret. A key is
// compared in lower case, without dots, dashes and underscores, with what comes
// after its last dot and as a whole.
var personal = []string{
	"name", "firstname", "lastname", "familyname", "givenname", "familynamear", "givennamear", "fullname",
	"nom", "prenom", "birthdate", "dateofbirth", "dob", "address", "adresse", "recipient", "destinataire",
	"text", "note", "body", "payload", "message", "query", "urlquery", "urlfull", "cookie", "apikey", "messagekey",
	"cin", "ref", "sex", "candidate", "candidateid", "person", "personid", "subject", "key", "value",
}

// secret are parts of keys that are personal or secret wherever they stand:
// "smtp_password", "contact_email", "x-authorization".
var secret = []string{"email", "mail", "phone", "telephone", "nationalid", "passport", "token", "authorization", "password", "secret", "credential", "bearer"}

// harmless are keys that contain a secret part and are none.
var harmless = []string{"tokenfile", "tokenurl", "mailbox", "mailboxdir"}

func masks(key string) bool {
	last := key
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		last = key[i+1:]
	}
	for _, k := range []string{plain(key), plain(last)} {
		if slices.Contains(harmless, k) {
			return false
		}
		if slices.Contains(personal, k) || slices.ContainsFunc(secret, func(s string) bool { return strings.Contains(k, s) }) {
			return true
		}
	}
	return false
}

func plain(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' {
			return -1
		}
		return r
	}, strings.ToLower(key))
}

// Redact masks, before the next handler sees a record, the values of attributes
// whose key says that they are personal or secret, whatever the level; and whole
// structs and maps, since any of their fields may be. Texts of messages and of
// errors pass: those who write them keep personal data out.
func Redact(next slog.Handler) slog.Handler { return redact{next} }

type redact struct{ next slog.Handler }

func (h redact) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h redact) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(masked(a))
		return true
	})
	return h.next.Handle(ctx, out)
}

func (h redact) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = masked(a)
	}
	return redact{h.next.WithAttrs(out)}
}

func (h redact) WithGroup(name string) slog.Handler { return redact{h.next.WithGroup(name)} }

func masked(a slog.Attr) slog.Attr {
	if masks(a.Key) {
		return slog.String(a.Key, Masked)
	}
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		group := a.Value.Group()
		out := make([]slog.Attr, len(group))
		for i, inner := range group {
			out[i] = masked(inner)
		}
		a.Value = slog.GroupValue(out...)
	case slog.KindAny:
		if whole(a.Value.Any()) {
			a.Value = slog.StringValue(fmt.Sprintf("[masked %T]", a.Value.Any()))
		}
	}
	return a
}

// whole reports whether v is a composite that would be written out field by field.
func whole(v any) bool {
	switch v.(type) {
	case nil, error, fmt.Stringer, encoding.TextMarshaler:
		return false
	case []byte:
		return true
	}
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Map || t.Kind() == reflect.Interface
}

// traced adds the ids of the present span to what a local handler writes.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// from drops records below a level, also for handlers that take every level.
func from(level slog.Level, next slog.Handler) slog.Handler { return leveled{level, next} }

type leveled struct {
	level slog.Level
	next  slog.Handler
}

func (h leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.next.Enabled(ctx, level)
}
func (h leveled) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }
func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.level, h.next.WithAttrs(attrs)}
}

func (h leveled) WithGroup(name string) slog.Handler { return leveled{h.level, h.next.WithGroup(name)} }
