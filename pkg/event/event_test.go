package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	"pgregory.net/rapid"
)

var (
	occurred = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	recorded = time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)
)

// onTheWire turns an outbox entry into the message that a consumer receives.
func onTheWire(o docstore.Event, seq int64) bus.Message {
	m := bus.Message{Topic: o.Topic, Key: []byte(o.Key), Value: o.Value}
	for _, h := range o.Headers {
		m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: []byte(h.Value)})
	}
	m.Headers = append(m.Headers, bus.Header{Key: "ce_sequence", Value: []byte(strconv.FormatInt(seq, 10))})
	return m
}

func TestRoundTripKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := &candidatesv1.StageEntered{
			CandidateId: rapid.String().Draw(t, "candidate"),
			Scheme:      rapid.SampledFrom([]string{"agri", "soin", ""}).Draw(t, "scheme"),
			From:        "P02", To: "P04",
			Placement: rapid.Bool().Draw(t, "placement"),
			Person:    &candidatesv1.Person{Sex: "F", Governorate: "TN-71", BirthYear: rapid.Int32().Draw(t, "year")},
		}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		seq := rapid.Int64Range(1, 1<<40).Draw(t, "seq")
		sent := event.New("/candidates", "01PATHWAY", at, recorded, data)
		got, err := event.Decode(onTheWire(sent.Outgoing(context.Background(), event.TopicCandidates), seq))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != sent.ID || got.Type != "masar.candidates.v1.StageEntered" || got.Subject != "01PATHWAY" ||
			!got.OccurredAt.Equal(at) || !got.RecordedAt.Equal(recorded) || got.Seq != seq || !proto.Equal(got.Data, data) {
			t.Fatalf("sent %+v, got %+v", sent, got)
		}
	})
}

func TestBinaryModeHeaders(t *testing.T) {
	sent := event.New("/candidates", "01P", occurred, recorded, &candidatesv1.PathwayOpened{CandidateId: "01C", Scheme: "agri"})
	out := sent.Outgoing(context.Background(), event.TopicCandidates)
	got := map[string]string{}
	for _, h := range out.Headers {
		got[h.Key] = h.Value
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": sent.ID, "ce_source": "/candidates",
		"ce_type": "masar.candidates.v1.PathwayOpened", "ce_subject": "01P",
		"ce_time": "2026-03-04T05:06:07Z", "ce_recordedat": "2026-03-09T08:00:00Z",
		"content-type": "application/json",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("header %s is %q, want %q", k, got[k], v)
		}
	}
	if out.Key != "01P" || string(out.Value) != `{"candidateId":"01C","scheme":"agri"}` {
		t.Errorf("key %q, value %s", out.Key, out.Value)
	}
}

func TestDecodeReadsStructuredModeAndBinaryProtobuf(t *testing.T) {
	data := &candidatesv1.PathwayOpened{CandidateId: "01C", Scheme: "agri", Stage: "P02"}
	raw, err := proto.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	head := map[string]any{
		"specversion": "1.0", "id": "x1", "source": "/sigaf", "type": "masar.candidates.v1.PathwayOpened",
		"subject": "01P", "time": "2026-03-04T06:06:07+01:00", "sequence": "3",
	}
	with := func(extra map[string]any) []byte {
		all := map[string]any{}
		for k, v := range head {
			all[k] = v
		}
		for k, v := range extra {
			all[k] = v
		}
		b, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	binary := bus.Message{Value: raw, Headers: []bus.Header{{Key: "content-type", Value: []byte("application/protobuf")}}}
	for k, v := range head {
		binary.Headers = append(binary.Headers, bus.Header{Key: "ce_" + k, Value: []byte(v.(string))})
	}
	structured := func(value []byte) bus.Message {
		return bus.Message{Value: value, Headers: []bus.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}}}
	}
	for name, m := range map[string]bus.Message{
		"binary mode, protobuf":     binary,
		"structured mode, JSON":     structured(with(map[string]any{"data": map[string]any{"candidateId": "01C", "scheme": "agri", "stage": "P02", "fromTheFuture": 1}})),
		"structured mode, protobuf": structured(with(map[string]any{"data_base64": raw, "datacontenttype": "application/protobuf"})),
	} {
		got, err := event.Decode(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !proto.Equal(got.Data, data) || got.Seq != 3 || !got.OccurredAt.Equal(occurred) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	good := onTheWire(event.New("/c", "01P", occurred, recorded, &candidatesv1.PathwayOpened{}).Outgoing(context.Background(), "t"), 1)
	replace := func(name, value string) bus.Message {
		m := good
		m.Headers = nil
		for _, h := range good.Headers {
			if h.Key == name {
				if value == "" {
					continue
				}
				h.Value = []byte(value)
			}
			m.Headers = append(m.Headers, h)
		}
		return m
	}
	garbage := good
	garbage.Value = []byte("\x00\xff not JSON")
	for want, m := range map[string]bus.Message{
		"ce_specversion":             {Value: []byte("hello")},
		"ce_id is missing":           replace("ce_id", ""),
		"ce_time is \"yesterday\"":   replace("ce_time", "yesterday"),
		"ce_sequence is \"-1\"":      replace("ce_sequence", "-1"),
		"not one of Masar's":         replace("ce_type", "masar.candidates.v1.Unknown"),
		"type \"google.protobuf.Any": replace("ce_type", "google.protobuf.Any"),
		"content-type":               replace("content-type", "text/plain"),
		"data of 11 bytes is not a":  garbage,
	} {
		_, err := event.Decode(m)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, event.ErrNotAnEvent) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("1.0", "id", "/s", "masar.candidates.v1.StageEntered", "2026-01-01T00:00:00Z", "1", "application/json", []byte(`{"to":"P04"}`))
	f.Add("1.0", "id", "/s", "masar.employers.v1.OfferOpened", "2026-01-01T00:00:00Z", "9", "application/protobuf", []byte{0x0a, 0x02, 0x12, 0x00})
	f.Add("", "", "", "", "", "", "application/cloudevents+json", []byte(`{"specversion":"1.0","data_base64":"AA=="}`))
	f.Fuzz(func(t *testing.T, spec, id, source, typ, at, seq, contentType string, value []byte) {
		m := bus.Message{Value: value}
		for k, v := range map[string]string{
			"ce_specversion": spec, "ce_id": id, "ce_source": source, "ce_type": typ, "ce_subject": "s",
			"ce_time": at, "ce_sequence": seq, "content-type": contentType,
		} {
			m.Headers = append(m.Headers, bus.Header{Key: k, Value: []byte(v)})
		}
		e, err := event.Decode(m)
		if err == nil && (e.Data == nil || e.ID == "" || e.OccurredAt.IsZero() && at == "") {
			t.Fatalf("decoded into nothing: %+v", e)
		}
	})
}
