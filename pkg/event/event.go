// Package event is the envelope of every fact that services tell each other:
// CloudEvents 1.0 in Kafka binary mode over the protobuf contracts in proto/.
//
// The contract: the Kafka key is the subject (the aggregate's id), so that one
// aggregate's events keep their order; `time` says when the fact happened in
// the world (occurred_at), the extension `recordedat` when Masar learned of it
// (recorded_at); `sequence` counts the aggregate's events from 1, so that a
// consumer can ignore what it has already applied. Data is protobuf in its JSON
// mapping; consumers also read binary protobuf and structured mode.
package event

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"

	// The contracts that Decode knows by their type name.
	_ "masar.local/proto/masar/candidates/v1"
	_ "masar.local/proto/masar/employers/v1"
	_ "masar.local/proto/masar/matching/v1"
	_ "masar.local/proto/masar/notifications/v1"
)

// Domain topics, one for each service that emits, keyed by aggregate id.
const (
	TopicCandidates    = "masar.candidates.v1"
	TopicEmployers     = "masar.employers.v1"
	TopicMatching      = "masar.matching.v1"
	TopicNotifications = "masar.notifications.v1"
)

// Inbound topics, to which integrators publish records, and the topic on which
// every record gets its answer.
const (
	InCandidates = "masar.in.candidates.v1"
	InOffers     = "masar.in.offers.v1"
	Answers      = "masar.in.answers.v1"
)

// Content types of an event's data and of the structured mode.
const (
	contentJSON       = "application/json"
	contentProtobuf   = "application/protobuf"
	contentStructured = "application/cloudevents+json"
)

const specVersion = "1.0"

// Event is one fact about one aggregate.
type Event struct {
	ID          string // unique, a ULID for Masar's own
	Source      string // such as "/candidates"
	Type        string // full protobuf name of Data, such as "masar.candidates.v1.StageEntered"
	Subject     string // the aggregate's id, also the Kafka key
	OccurredAt  time.Time
	RecordedAt  time.Time
	Seq         int64 // 1, 2, 3 ... within the subject
	Traceparent string
	Data        proto.Message
}

// New returns an event with a fresh id. Its sequence is given by the document
// that emits it (docstore.Doc.Emit).
func New(source, subject string, occurredAt, recordedAt time.Time, data proto.Message) Event {
	return Event{
		ID:         ulid.MustNew(ulid.Timestamp(recordedAt), ulid.DefaultEntropy()).String(),
		Source:     source,
		Type:       string(data.ProtoReflect().Descriptor().FullName()),
		Subject:    subject,
		OccurredAt: occurredAt.UTC(),
		RecordedAt: recordedAt.UTC(),
		Data:       data,
	}
}

// Outgoing returns the event as an outbox entry for the topic, in binary mode,
// with the trace context of ctx.
func (e Event) Outgoing(ctx context.Context, topic string) docstore.Event {
	value, err := protojson.Marshal(e.Data)
	if err != nil {
		// Only a string that is not UTF-8 can fail here, and inputs are
		// checked where they enter.
		panic(fmt.Sprintf("event: %s cannot be encoded: %v", e.Type, err))
	}
	// protojson varies its white space on purpose; the bytes on the wire should not.
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err == nil {
		value = compact.Bytes()
	}
	headers := []docstore.Header{
		{Key: "ce_specversion", Value: specVersion},
		{Key: "ce_id", Value: e.ID},
		{Key: "ce_source", Value: e.Source},
		{Key: "ce_type", Value: e.Type},
		{Key: "ce_subject", Value: e.Subject},
		{Key: "ce_time", Value: e.OccurredAt.Format(time.RFC3339Nano)},
		{Key: "ce_recordedat", Value: e.RecordedAt.Format(time.RFC3339Nano)},
		{Key: "content-type", Value: contentJSON},
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if parent := carrier.Get("traceparent"); parent != "" {
		headers = append(headers, docstore.Header{Key: "ce_traceparent", Value: parent})
	}
	return docstore.Event{
		ID: e.ID, Topic: topic, Key: e.Subject,
		Headers: headers, Value: value, RecordedAt: e.RecordedAt,
	}
}

// ErrNotAnEvent is wrapped by every error of Decode.
var ErrNotAnEvent = errors.New("not an event of a known contract")

// Decode reads an event from a Kafka message in binary or structured mode, with
// JSON or binary protobuf data. Every error is bus.Permanent: the same bytes
// will never decode.
func Decode(m bus.Message) (Event, error) {
	e, err := decode(m)
	if err != nil {
		return Event{}, bus.Permanent(fmt.Errorf("%w: %w", ErrNotAnEvent, err))
	}
	return e, nil
}

func decode(m bus.Message) (Event, error) {
	attr := make(map[string]string, len(m.Headers))
	contentType := ""
	for _, h := range m.Headers {
		key := strings.ToLower(h.Key)
		switch {
		case key == "content-type":
			contentType = string(h.Value)
		case strings.HasPrefix(key, "ce_"):
			attr[key[len("ce_"):]] = string(h.Value)
		}
	}
	data := m.Value
	if mediaType(contentType) == contentStructured {
		var err error
		attr, data, contentType, err = structured(m.Value)
		if err != nil {
			return Event{}, err
		}
	}
	return fromAttributes(attr, contentType, data)
}

func fromAttributes(attr map[string]string, contentType string, data []byte) (Event, error) {
	if v := attr["specversion"]; v != specVersion {
		return Event{}, fmt.Errorf("header ce_specversion is %q, want %q", clip(v), specVersion)
	}
	e := Event{
		ID: attr["id"], Source: attr["source"], Type: attr["type"], Subject: attr["subject"],
		Traceparent: attr["traceparent"],
	}
	for _, required := range []struct{ name, value string }{
		{"id", e.ID},
		{"source", e.Source},
		{"type", e.Type},
		{"subject", e.Subject},
		{"time", attr["time"]},
	} {
		if required.value == "" {
			return Event{}, fmt.Errorf("header ce_%s is missing", required.name)
		}
		if !utf8.ValidString(required.value) || len(required.value) > 512 {
			return Event{}, fmt.Errorf("header ce_%s is not a text of at most 512 bytes", required.name)
		}
	}
	var err error
	if e.OccurredAt, err = instant("time", attr["time"]); err != nil {
		return Event{}, err
	}
	e.RecordedAt = e.OccurredAt
	if v := attr["recordedat"]; v != "" {
		if e.RecordedAt, err = instant("recordedat", v); err != nil {
			return Event{}, err
		}
	}
	if v := attr["sequence"]; v != "" {
		if e.Seq, err = strconv.ParseInt(v, 10, 64); err != nil || e.Seq < 1 {
			return Event{}, fmt.Errorf("header ce_sequence is %q, want a whole number from 1", clip(v))
		}
	}
	if e.Data, err = payload(e.Type, contentType, data); err != nil {
		return Event{}, err
	}
	return e, nil
}

func instant(name, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("header ce_%s is %q, want an RFC 3339 instant", name, clip(value))
	}
	return t.UTC(), nil
}

func payload(name, contentType string, data []byte) (proto.Message, error) {
	if !strings.HasPrefix(name, "masar.") {
		return nil, fmt.Errorf("type %q is not one of Masar's contracts", clip(name))
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("type %q is not one of Masar's contracts", clip(name))
	}
	msg := mt.New().Interface()
	switch mediaType(contentType) {
	case contentJSON, "":
		// A newer producer may add fields: known ones must still be read.
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, msg)
	case contentProtobuf:
		err = proto.Unmarshal(data, msg)
	default:
		return nil, fmt.Errorf("content-type %q is not one of %s, %s", clip(contentType), contentJSON, contentProtobuf)
	}
	if err != nil {
		// The library's message may quote the data; the type and size are enough.
		return nil, fmt.Errorf("data of %d bytes is not a %s in %s", len(data), name, mediaType(contentType))
	}
	return msg, nil
}

// structured reads a CloudEvents JSON envelope.
func structured(value []byte) (attr map[string]string, data []byte, contentType string, err error) {
	var envelope map[string]json.RawMessage
	if err := json.Unmarshal(value, &envelope); err != nil {
		return nil, nil, "", errors.New("structured event is not a JSON object")
	}
	attr = make(map[string]string, len(envelope))
	for name, raw := range envelope {
		switch name {
		case "data":
			data = raw
		case "data_base64":
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return nil, nil, "", errors.New("data_base64 is not a text")
			}
			if data, err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, nil, "", errors.New("data_base64 is not base64")
			}
		default:
			var text string
			if json.Unmarshal(raw, &text) == nil {
				attr[name] = text
			} else {
				attr[name] = string(raw) // numbers and booleans, as in binary mode
			}
		}
	}
	return attr, data, attr["datacontenttype"], nil
}

func mediaType(contentType string) string {
	mt, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mt))
}

// clip keeps what an error quotes short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
