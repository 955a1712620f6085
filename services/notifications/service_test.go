package notifications

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/embedded"
	"masar.local/pkg/event"
	"masar.local/pkg/runtime"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

func TestConfig(t *testing.T) {
	read := func(values map[string]string) (Config, error) {
		return ReadConfig(func(name string) string { return values[name] })
	}
	c, err := read(nil)
	if err != nil || c.Policy() != DefaultPolicy() {
		t.Errorf("without settings: %+v, %v; want the default policy", c, err)
	}
	c, err = read(map[string]string{"MASAR_NOTIFY_MAX_AGE": "48h", "MASAR_NOTIFY_ATTEMPTS": "3", "MASAR_NOTIFY_EXPIRY": "1h"})
	if err != nil || c.MaxAge != 48*time.Hour || c.Attempts != 3 || c.Expiry != time.Hour {
		t.Errorf("got %+v, %v", c, err)
	}
	for name, value := range map[string]string{
		"MASAR_NOTIFY_MAX_AGE": "-1h", "MASAR_NOTIFY_ATTEMPTS": "0", "MASAR_NOTIFY_EXPIRY": "soon", "MASAR_NOTIFY_BACKOFF": "0s",
	} {
		if _, err := read(map[string]string{name: value}); err == nil {
			t.Errorf("%s=%s is accepted", name, value)
		}
	}
}

// TestList looks at the list through the scope of its reader, page by page.
func TestList(t *testing.T) {
	h := newHouse(t)
	const n = 60
	for i := range n {
		e := entered([]string{"P04", "P05", "P07"}[i%3], noon.Add(-time.Duration(i)*time.Minute))
		data := e.Data.(*candidatesv1.StageEntered)
		data.CandidateId = fmt.Sprintf("01PERSON%018d", i%6)
		if i%2 == 1 {
			data.Person.Governorate = "TN-11"
		}
		if i%10 == 9 {
			e.OccurredAt = noon.Add(-30 * 24 * time.Hour) // skipped
		}
		h.clock.Advance(time.Second)
		h.learn(e)
	}
	list := func(who access.Principal, q MessagesQuery) []View {
		t.Helper()
		who.Subject = "reader"
		var all []View
		for pages := 0; ; pages++ {
			if pages > 10*n {
				t.Fatal("the pages never end")
			}
			page, err := h.service.Messages(access.With(t.Context(), who), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Items) > q.Limit {
				t.Fatalf("%d items on a page of %d", len(page.Items), q.Limit)
			}
			all = append(all, page.Items...)
			if q.Cursor = page.Next; q.Cursor == "" {
				return all
			}
		}
	}
	everything := access.Principal{Role: access.Operator}
	gafsa := access.Principal{Role: access.Counsellor, Governorates: []string{"TN-71"}}
	care := access.Principal{Role: access.Counsellor, Schemes: []string{"soin"}}
	for _, limit := range []int{1, 7, 200} {
		for name, c := range map[string]struct {
			who  access.Principal
			q    MessagesQuery
			want int
		}{
			"all":                    {everything, MessagesQuery{}, n},
			"a person":               {everything, MessagesQuery{Candidate: fmt.Sprintf("01PERSON%018d", 3)}, n / 6},
			"a status":               {everything, MessagesQuery{Status: "skipped"}, n / 10},
			"a person and a status":  {everything, MessagesQuery{Candidate: fmt.Sprintf("01PERSON%018d", 3), Status: "planned"}, 8},
			"nobody":                 {everything, MessagesQuery{Candidate: "x"}, 0},
			"a governorate":          {gafsa, MessagesQuery{}, n / 2},
			"a person elsewhere":     {gafsa, MessagesQuery{Candidate: fmt.Sprintf("01PERSON%018d", 3)}, 0},
			"of another scheme":      {care, MessagesQuery{}, 0},
			"skipped in governorate": {gafsa, MessagesQuery{Status: "skipped"}, 0},
		} {
			c.q.Limit = limit
			got := list(c.who, c.q)
			if len(got) != c.want {
				t.Errorf("%s by %d: %d messages, want %d", name, limit, len(got), c.want)
			}
			if !slices.IsSortedFunc(got, func(a, b View) int { return b.PlannedAt.Compare(a.PlannedAt) }) {
				t.Errorf("%s by %d: not the newest first", name, limit)
			}
			seen := map[string]bool{}
			for _, v := range got {
				if seen[v.ID] {
					t.Errorf("%s by %d: %s comes twice", name, limit, v.ID)
				}
				seen[v.ID] = true
				if (v.NextAttemptAt == nil) != (v.Status == Skipped) || (v.SettledAt == nil) != (v.Status == Planned) {
					t.Errorf("%s: times of a message that is %s: %v %v", name, v.Status, v.NextAttemptAt, v.SettledAt)
				}
			}
		}
	}
}

// platform is the service with all its transports, over an embedded broker.
type platform struct {
	t      *testing.T
	dir    string
	broker *embedded.Broker
	people *directory
	issuer *access.Issuer
	env    map[string]string
	log    runtimetest.Log
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{t: t, dir: t.TempDir(), people: startDirectory(t), env: map[string]string{}}
	var err error
	if p.broker, err = embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(p.dir, "kafka"), Addr: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.broker.Close() })
	if p.issuer, err = access.OpenIssuer(p.dir, "http://masar.test", time.Now); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *platform) bus() *bus.Client {
	p.t.Helper()
	client, err := bus.New(bus.Config{Brokers: []string{p.broker.Addr()}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = client.Close() })
	return client
}

// start runs the service; stop ends it cleanly.
func (p *platform) start() (base string, stop func()) {
	t := p.t
	t.Helper()
	store, err := docstore.Open(t.Context(), "sqlite:"+filepath.Join(p.dir, "notifications.db"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := bus.New(bus.Config{Brokers: []string{p.broker.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	built, err := runtime.Build(t.Context(), runtime.Platform{
		Name: "notifications", Log: log, Store: store, Bus: client,
		Meter: metricnoop.NewMeterProvider().Meter(""), Tracer: tracenoop.NewTracerProvider().Tracer(""),
		Now: func() time.Time { return time.Now().UTC() }, DataDir: p.dir, Tokens: access.Static(token),
		Getenv:  func(name string) string { return p.env[name] },
		PeerURL: func(string) string { return p.people.server.URL },
		Holder:  runtime.Holder(),
	}, New)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- runtime.Run(ctx, []*runtime.Service{built}, runtime.Options{
			Listener: listener, Verifier: p.issuer.Verifier(), Log: log, Started: func() { close(started) },
		})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the stop: %v", err)
		}
		if err := errors.Join(store.Close(), client.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("did not start: %v", err)
	}
	return "http://" + listener.Addr().String(), stop
}

// published gives an event as the candidates service publishes it.
func published(seq int64, e event.Event) bus.Message {
	out := e.Outgoing(context.Background(), event.TopicCandidates)
	m := bus.Message{Topic: out.Topic, Key: []byte(out.Key), Value: out.Value}
	for _, header := range out.Headers {
		m.Headers = append(m.Headers, bus.Header{Key: header.Key, Value: []byte(header.Value)})
	}
	m.Headers = append(m.Headers, bus.Header{Key: "ce_sequence", Value: fmt.Append(nil, seq)})
	return m
}

func (p *platform) client(base string, who access.Principal) *api.Client {
	who.Subject = "tester"
	return api.NewClient(base, p.issuer.Source(who, time.Hour), api.WithAttempts(1))
}

// collectTopic gathers what is published to a topic.
func (p *platform) collectTopic(ctx context.Context, topic, group string) func() []bus.Message {
	client := p.bus()
	if err := client.EnsureTopics(ctx, bus.Topic{Name: topic}); err != nil {
		p.t.Fatal(err)
	}
	got := make(chan bus.Message, 1000)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(done)
		_ = client.Consume(ctx, bus.Consumer{Group: group, Topics: []string{topic}, Handle: func(_ context.Context, m bus.Message) error {
			got <- m
			return nil
		}})
	}()
	p.t.Cleanup(func() { cancel(); <-done })
	var all []bus.Message
	return func() []bus.Message {
		for {
			select {
			case m := <-got:
				all = append(all, m)
			default:
				return all
			}
		}
	}
}

// TestStory goes from the topic to the mail and back to the topic, over a
// restart, with repeats and poison.
func TestStory(t *testing.T) {
	p := newPlatform(t)
	mail := startMail(t)
	p.env["MASAR_SMTP_URL"] = mail.url()
	p.people.put(person, consenting)
	arab := consenting
	arab.Language = "ar"
	p.people.put("01ARAB00000000000000000000", arab)
	told := p.collectTopic(t.Context(), event.TopicNotifications, "test-told")
	dead := p.collectTopic(t.Context(), "masar.notifications.dlq", "test-dead")

	_, stop := p.start()
	now := time.Now().UTC()
	first, second, old := entered("P07", now), entered("P08", now.Add(time.Second)), entered("P04", now.Add(-60*24*time.Hour))
	third := exited("P08", "REFUS_VISA", now.Add(2*time.Second))
	third.Data.(*candidatesv1.PathwayExited).CandidateId = "01ARAB00000000000000000000"
	strange := entered("P07", now)
	strange.Data.(*candidatesv1.StageEntered).Scheme = "mars"
	publisher := p.bus()
	publish := func(messages ...bus.Message) {
		t.Helper()
		if err := publisher.Publish(t.Context(), messages...); err != nil {
			t.Fatal(err)
		}
	}
	publish(
		published(1, first), published(1, first), published(2, old),
		bus.Message{Topic: event.TopicCandidates, Key: []byte("x"), Value: []byte("not an event")},
		published(3, strange), published(4, second), published(5, third),
	)
	eventually(t, "three mails", func() bool { return len(mail.mails()) >= 3 })
	eventually(t, "three events", func() bool { return len(told()) >= 3 })
	eventually(t, "two dead letters", func() bool { return len(dead()) >= 2 })

	stop()
	base, _ := p.start()
	publish(published(1, first), published(4, second))
	fourth := entered("P10", now.Add(3*time.Second))
	publish(published(6, fourth))
	eventually(t, "the fourth mail", func() bool { return len(mail.mails()) >= 4 })
	eventually(t, "the fourth event", func() bool { return len(told()) >= 4 })

	ids := map[string]int{}
	for _, m := range mail.mails() {
		header, _, body := readMail(t, m.data)
		ids[header.Get("Message-Id")]++
		if strings.Contains(body, "isa") && strings.Contains(body, "efus") {
			t.Errorf("a reason of refusal is told:\n%s", body)
		}
	}
	if len(ids) != 4 || len(mail.mails()) != 4 {
		t.Errorf("%d mails of %d messages, want 4 of 4", len(mail.mails()), len(ids))
	}
	for _, m := range told() {
		e, err := event.Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		if sent, ok := e.Data.(*notificationsv1.MessageSent); !ok || e.Seq != 1 || e.Source != "/notifications" || sent.GetChannel() != "smtp" {
			t.Errorf("told %v", e)
		}
	}
	for _, m := range dead() {
		if reason, ok := m.Header("dlq_reason"); !ok || len(reason) == 0 {
			t.Errorf("a dead letter without reason: %v", m.Headers)
		}
	}

	// The list, over HTTP.
	var page api.Page[View]
	reader := p.client(base, access.Principal{Role: access.Counsellor})
	if err := reader.Get(t.Context(), "/api/notifications/messages?candidate="+person+"&limit=3", &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 3 || page.Next == "" || page.Items[0].Template != StageEntered || page.Items[0].Status != Sent {
		t.Errorf("got %+v", page)
	}
	var rest api.Page[View]
	if err := reader.Get(t.Context(), "/api/notifications/messages?candidate="+person+"&limit=3&cursor="+url.QueryEscape(page.Next), &rest); err != nil || len(rest.Items) != 1 || rest.Next != "" {
		t.Errorf("the next page: %+v, %v", rest, err)
	}
	page.Items = append(page.Items, rest.Items...)
	if skipped := slices.IndexFunc(page.Items, func(v View) bool { return v.Status == Skipped && v.Reason == TooOld }); skipped < 0 {
		t.Errorf("the old news is not in the list: %+v", page.Items)
	}
	text, err := json.Marshal(page)
	if err != nil || strings.Contains(string(text), "anari") {
		t.Errorf("the list names people: %s %v", text, err)
	}
	for path, want := range map[string]api.Kind{
		"/api/notifications/messages?status=lost":  api.KindInvalid,
		"/api/notifications/messages?limit=9999":   api.KindInvalid,
		"/api/notifications/messages?cursor=dream": api.KindMalformed,
		"/api/notifications/messages?colour=blue":  api.KindInvalid,
	} {
		var problem *api.Error
		if err := reader.Get(t.Context(), path, nil); !errors.As(err, &problem) || problem.Code() < 400 || problem.Code() > 422 {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	for _, role := range []access.Role{access.Employer, access.Manager, access.Statistician, access.Service} {
		err := p.client(base, access.Principal{Role: role, Employer: "e"}).Get(t.Context(), "/api/notifications/messages", nil)
		if !errors.Is(err, &api.Error{Kind: api.KindForbidden}) {
			t.Errorf("a %s reads the messages: %v", role, err)
		}
	}
	if err := api.NewClient(base, nil, api.WithAttempts(1)).Get(t.Context(), "/api/notifications/messages", nil); !errors.Is(err, &api.Error{Kind: api.KindUnauthorized}) {
		t.Errorf("nobody reads the messages: %v", err)
	}
	for _, secret := range []string{canaryName, canaryMail, canaryArab} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// TestStoryMailbox is the way of an installation without a mail server.
func TestStoryMailbox(t *testing.T) {
	p := newPlatform(t)
	p.people.put(person, consenting)
	_, stop := p.start()
	publisher := p.bus()
	now := time.Now().UTC()
	events := []bus.Message{published(1, opened(now)), published(2, entered("P04", now.Add(time.Second)))}
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(p.dir, "mailbox", "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for range 2 {
		if err := publisher.Publish(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "two files", func() bool { return len(files()) >= 2 })
		stop()
		_, stop = p.start()
	}
	stop()
	if n := len(files()); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
}

func TestNewNeedsThePeer(t *testing.T) {
	_, err := New(t.Context(), runtime.Platform{
		Getenv: func(string) string { return "" }, PeerURL: func(string) string { return "" },
	})
	if err == nil || !strings.Contains(err.Error(), "MASAR_CANDIDATES_URL") {
		t.Errorf("got %v", err)
	}
}
