package notifications

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"masar.local/pkg/access"
	"masar.local/pkg/bus"
	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	"masar.local/pkg/reference"
	"masar.local/pkg/runtime/runtimetest"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
	notificationsv1 "masar.local/proto/masar/notifications/v1"
)

// directory is the candidates service, as far as this one asks it.
type directory struct {
	server *httptest.Server

	mu      sync.Mutex
	people  map[string]Contact
	down    bool
	asked   int
	refused int // without the token
}

const token = "token-of-notifications"

func startDirectory(t testing.TB) *directory {
	t.Helper()
	d := &directory{people: map[string]Contact{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/candidates/candidates/{id}/contact", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked++
		contact, known := d.people[r.PathValue("id")]
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			d.refused++
			w.WriteHeader(http.StatusUnauthorized)
		case d.down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case !known:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"type":"urn:masar:problem:not-found","title":"Not found"}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(contact)
		}
	})
	d.server = httptest.NewServer(mux)
	t.Cleanup(d.server.Close)
	return d
}

func (d *directory) put(id string, c Contact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.people[id] = c
}

func (d *directory) fail(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// Canaries: words that must not be found anywhere but in the mail itself.
const (
	canaryName  = "Zoubeida Canari"
	canaryArab  = "زبيدة كناري"
	canaryMail  = "zoubeida.canari@example.tn"
	canaryPhone = "+21698765432"
)

var consenting = Contact{
	Name: canaryName, NameAR: canaryArab, Email: canaryMail, Language: "fr", Consents: []string{"matching", "notification"},
}

// house is the service without its transports, over a real store.
type house struct {
	t       testing.TB
	path    string
	store   docstore.Engine
	clock   *runtimetest.Clock
	people  *directory
	mail    *mailServer
	carrier Carrier
	policy  Policy
	log     runtimetest.Log
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
	measure Measure
	service Service
}

const person = "01CANDIDATE000000000000000"

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{
		t: t, path: filepath.Join(t.TempDir(), "notifications.db"), clock: runtimetest.NewClock(noon),
		people: startDirectory(t), mail: startMail(t), policy: DefaultPolicy(),
		spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader(),
	}
	h.people.put(person, consenting)
	h.carrier = openSMTP(t, h.mail.url())
	var err error
	if h.measure, err = NewMeasure(sdkmetric.NewMeterProvider(sdkmetric.WithReader(h.metrics)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	h.open()
	t.Cleanup(func() { _ = h.store.Close() })
	return h
}

// open opens the store, as at a start.
func (h *house) open() {
	h.t.Helper()
	store, err := docstore.Open(context.Background(), "sqlite:"+h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.store = store
	if err := h.messages().Ensure(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	h.service = NewService(h.messages(), reference.Schemes(), h.policy, h.clock.Now, func() {})
}

func (h *house) restart() {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

func (h *house) messages() *docstore.Collection[Message] { return Messages(h.store) }

func (h *house) dispatcher(holder string) *Dispatcher {
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(h.spans))
	return NewDispatcher(Dispatcher{
		Store: h.store, Messages: h.messages(),
		Contact:  NewContacts(h.people.server.URL, access.Static(token)).Contact,
		Renderer: renderer(h.t), Carrier: h.carrier, Policy: h.policy,
		Log:    slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Tracer: traces.Tracer("test"), Measure: h.measure, Now: h.clock.Now, Holder: holder,
	})
}

func (h *house) learn(events ...event.Event) {
	h.t.Helper()
	for _, e := range events {
		if _, err := h.service.Learn(context.Background(), e); err != nil {
			h.t.Fatal(err)
		}
	}
}

// work runs passes until nothing is due, and returns the first outage.
func (h *house) work() error {
	h.t.Helper()
	d := h.dispatcher("test")
	for {
		more, err := d.Pass(context.Background())
		if err != nil || !more {
			return err
		}
	}
}

func (h *house) mustWork() {
	h.t.Helper()
	if err := h.work(); err != nil {
		h.t.Fatal(err)
	}
}

// message reads the message about an event.
func (h *house) message(e event.Event) Message {
	h.t.Helper()
	doc, err := h.messages().Get(context.Background(), MessageID(e.ID, person))
	if err != nil {
		h.t.Fatal(err)
	}
	return doc.Body
}

// told reads the events that wait to be published.
func (h *house) told() []event.Event {
	h.t.Helper()
	pending, err := h.store.Pending(context.Background(), Collection, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	var all []event.Event
	for _, p := range pending {
		for _, e := range p.Events {
			m := bus.Message{Topic: e.Topic, Key: []byte(e.Key), Value: e.Value}
			for _, header := range e.Headers {
				m.Headers = append(m.Headers, bus.Header{Key: header.Key, Value: []byte(header.Value)})
			}
			decoded, err := event.Decode(m)
			if err != nil {
				h.t.Fatal(err)
			}
			if e.Topic != event.TopicNotifications || e.Key != p.ID {
				h.t.Errorf("an event of %s goes to %s under %s", p.ID, e.Topic, e.Key)
			}
			all = append(all, decoded)
		}
	}
	return all
}

func (h *house) expect(e event.Event, status Status, reason Reason, attempts, mails int) {
	h.t.Helper()
	m := h.message(e)
	if m.Status != status || m.Reason != reason || m.Attempts != attempts {
		h.t.Errorf("the message is %s (%s) after %d attempts, want %s (%s) after %d", m.Status, m.Reason, m.Attempts, status, reason, attempts)
	}
	if n := len(h.mail.mails()); n != mails {
		h.t.Errorf("%d mails, want %d", n, mails)
	}
}

func TestOnceForEachEvent(t *testing.T) {
	h := newHouse(t)
	e := entered("P07", noon)
	h.learn(e, e)
	h.mustWork()
	h.expect(e, Sent, "", 1, 1)
	h.learn(e)
	h.mustWork()
	h.restart()
	h.learn(e)
	h.mustWork()
	h.expect(e, Sent, "", 1, 1)
	got := h.told()
	if len(got) != 1 {
		t.Fatalf("%d events, want 1", len(got))
	}
	want := &notificationsv1.MessageSent{
		CandidateId: person, PathwayId: e.Subject, CauseId: e.ID,
		Template: "stage_entered", Language: "fr", Channel: "smtp", Attempts: 1,
	}
	if !proto.Equal(got[0].Data, want) || got[0].Subject != MessageID(e.ID, person) {
		t.Errorf("told %v", got[0])
	}
	mail := h.mail.mails()[0]
	header, subject, body := readMail(t, mail.data)
	if mail.to != canaryMail || !strings.Contains(body, canaryName) || !strings.Contains(subject, "Entretien") {
		t.Errorf("the mail is %q\n%s", subject, body)
	}
	if header.Get("Message-Id") != "<"+MessageID(e.ID, person)+"@example.tn>" {
		t.Errorf("Message-ID %s", header.Get("Message-Id"))
	}
	// Another event is another message, in the language of today.
	arab := consenting
	arab.Language = "ar"
	h.people.put(person, arab)
	e2 := entered("P08", noon)
	h.learn(e2)
	h.mustWork()
	h.expect(e2, Sent, "", 1, 2)
	if _, _, body := readMail(t, h.mail.mails()[1].data); !strings.Contains(body, canaryArab) {
		t.Errorf("the Arabic mail is %s", body)
	}
}

func TestRetry(t *testing.T) {
	h := newHouse(t)
	h.mail.answers(func(string) error { return later })
	e := entered("P07", noon)
	h.learn(e)
	h.mustWork()
	h.expect(e, Planned, "", 1, 0)
	if next := h.message(e).NextAttemptAt; !next.Equal(noon.Add(30 * time.Second)) {
		t.Errorf("the next attempt is at %s", next)
	}
	h.mustWork() // not due
	h.expect(e, Planned, "", 1, 0)
	h.clock.Advance(30 * time.Second)
	h.mustWork()
	h.expect(e, Planned, "", 2, 0)
	h.mail.answers(nil)
	h.clock.Advance(59 * time.Second)
	h.mustWork() // not due: the wait has doubled
	h.expect(e, Planned, "", 2, 0)
	h.restart()
	h.clock.Advance(time.Second)
	h.mustWork()
	h.expect(e, Sent, "", 3, 1)
	if sent := h.told()[0].Data.(*notificationsv1.MessageSent); sent.GetAttempts() != 3 {
		t.Errorf("told of %d attempts", sent.GetAttempts())
	}
}

func TestRefused(t *testing.T) {
	h := newHouse(t)
	h.mail.answers(func(string) error { return never })
	e := entered("P07", noon)
	h.learn(e)
	h.mustWork()
	h.expect(e, Failed, Refused, 1, 0)
	h.clock.Advance(24 * time.Hour)
	h.mustWork()
	if n := h.mail.offers(); n != 1 {
		t.Errorf("offered %d times after a refusal for good", n)
	}
	if failed := h.told()[0].Data.(*notificationsv1.MessageFailed); failed.GetReason() != "refused" || failed.GetLanguage() != "fr" {
		t.Errorf("told %v", failed)
	}
}

func TestGivenUp(t *testing.T) {
	for name, change := range map[string]func(*Policy){
		"after the attempts": func(p *Policy) { p.Attempts = 4 },
		"after the time":     func(p *Policy) { p.Expiry = 5 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			change(&h.policy)
			h.mail.answers(func(string) error { return later })
			e := entered("P07", noon)
			h.learn(e)
			for range 200 {
				h.mustWork()
				h.clock.Advance(10 * time.Second)
			}
			h.expect(e, Failed, Expired, 4, 0) // at 0, 30 s, 90 s, 210 s; the next would be at 450 s
			if n := h.mail.offers(); n != 4 {
				t.Errorf("offered %d times", n)
			}
			if got := h.told(); len(got) != 1 || got[0].Data.(*notificationsv1.MessageFailed).GetReason() != "expired" {
				t.Errorf("told %v", got)
			}
		})
	}
}

func TestSkipped(t *testing.T) {
	for name, c := range map[string]struct {
		contact *Contact
		reason  Reason
	}{
		"consent withdrawn": {&Contact{Name: canaryName, Email: canaryMail, Language: "fr", Consents: []string{"matching"}}, NoConsent},
		"no address":        {&Contact{Name: canaryName, Language: "fr", Consents: []string{"notification"}}, NoContact},
		"not an address":    {&Contact{Name: canaryName, Email: "98 765 432", Language: "fr", Consents: []string{"notification"}}, NoContact},
		"person unknown":    {nil, NoContact},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			e := entered("P07", noon)
			h.learn(e) // the consent was in force when the event was learned
			h.people.mu.Lock()
			delete(h.people.people, person)
			if c.contact != nil {
				h.people.people[person] = *c.contact
			}
			h.people.mu.Unlock()
			h.mustWork()
			h.expect(e, Skipped, c.reason, 1, 0)
			if n := h.mail.offers(); n != 0 {
				t.Errorf("the mail server was asked %d times", n)
			}
			if got := h.told(); len(got) != 1 || got[0].Data.(*notificationsv1.MessageFailed).GetReason() != string(c.reason) {
				t.Errorf("told %v", got)
			}
		})
	}
}

func TestTooOld(t *testing.T) {
	h := newHouse(t)
	e := entered("P07", noon.Add(-30*24*time.Hour))
	h.learn(e, e)
	h.mustWork()
	h.expect(e, Skipped, TooOld, 0, 0)
	if got := h.told(); len(got) != 0 || h.people.asked != 0 {
		t.Errorf("told %v, asked for a contact %d times", got, h.people.asked)
	}
}

func TestUnknownNewsGoesToTheDeadLetters(t *testing.T) {
	h := newHouse(t)
	e := entered("P07", noon)
	e.Data.(*candidatesv1.StageEntered).SchemeVersion = "99"
	_, err := h.service.Learn(t.Context(), e)
	if !errors.Is(err, ErrUnknownNews) || !bus.IsPermanent(mark(err)) {
		t.Errorf("got %v", err)
	}
	if err := mark(fmt.Errorf("x: %w", docstore.ErrUnavailable)); !bus.IsBlocked(err) {
		t.Error("a store that is down must hold the topic up")
	}
}

// TestOutage: while the candidates service or the mail server is down, messages
// wait; those that were not tried yet lose no attempt.
func TestOutage(t *testing.T) {
	for _, which := range []string{"candidates", "mail server"} {
		t.Run(which, func(t *testing.T) {
			h := newHouse(t)
			var events []event.Event
			for range 40 {
				e := entered("P07", noon)
				e.Data.(*candidatesv1.StageEntered).CandidateId = person + e.ID // each to another person
				h.people.put(person+e.ID, consenting)
				events = append(events, e)
			}
			h.learn(events...)
			up := h.carrier
			if which == "candidates" {
				h.people.fail(true)
			} else {
				h.carrier = openSMTP(t, "smtp://127.0.0.1:1?from=masar@example.tn")
			}
			if err := h.work(); err == nil {
				t.Fatal("no outage was noticed")
			}
			tried := 0
			for doc, err := range h.messages().All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if doc.Body.Status != Planned {
					t.Errorf("a message is %s", doc.Body.Status)
				}
				tried += doc.Body.Attempts
			}
			if tried == 0 || tried > 2*senders {
				t.Errorf("%d of 40 messages were tried", tried)
			}
			h.people.fail(false)
			h.carrier = up
			h.clock.Advance(time.Minute)
			h.mustWork()
			if n := len(h.mail.mails()); n != 40 {
				t.Errorf("%d mails after the outage, want 40", n)
			}
		})
	}
}

func TestOldestNewsFirst(t *testing.T) {
	h := newHouse(t)
	var want []string
	var events []event.Event
	for i, stage := range []string{"P04", "P05", "P07", "P08", "P10", "P11", "P12", "P13"} {
		e := entered(stage, noon.Add(time.Duration(i-10)*time.Hour))
		events = append(events, e)
		want = append(want, "<"+MessageID(e.ID, person)+"@example.tn>")
	}
	for i := range events { // learned in another order
		h.learn(events[(i*3)%len(events)])
	}
	h.mustWork()
	for i, mail := range h.mail.mails() {
		if header, _, _ := readMail(t, mail.data); header.Get("Message-Id") != want[i] {
			t.Errorf("mail %d is another", i)
		}
	}
	if n := len(h.mail.mails()); n != len(want) {
		t.Errorf("%d mails", n)
	}
}

// TestTwoDispatchers: two of them, with the lease as in two replicas, and then
// without it as in the moment when a lease changes hands: each message once.
func TestTwoDispatchers(t *testing.T) {
	for _, leased := range []bool{true, false} {
		t.Run(fmt.Sprintf("lease %v", leased), func(t *testing.T) {
			h := newHouse(t)
			const n = 150
			for i := range n {
				e := entered("P07", noon)
				id := fmt.Sprintf("01PERSON%018d", i)
				e.Data.(*candidatesv1.StageEntered).CandidateId = id
				h.people.put(id, Contact{Name: "A", Email: fmt.Sprintf("a%d@example.tn", i), Language: "fr", Consents: []string{"notification"}})
				h.learn(e)
			}
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			for i := range 2 {
				d := h.dispatcher(fmt.Sprintf("replica-%d", i))
				group.Go(func() {
					run := d.Run
					if !leased {
						run = d.loop
					}
					if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			}
			eventually(t, "every mail is sent", func() bool { return len(h.mail.mails()) >= n })
			stop()
			group.Wait()
			seen := map[string]bool{}
			for _, mail := range h.mail.mails() {
				if seen[mail.to] {
					t.Errorf("%s got two mails", mail.to)
				}
				seen[mail.to] = true
			}
			if len(seen) != n || len(h.told()) != n {
				t.Errorf("%d people, %d events, want %d", len(seen), len(h.told()), n)
			}
		})
	}
}

// dying is a carrier under which the process dies right after the carrier's
// acceptance.
type dying struct {
	Carrier
	once sync.Once
}

func (d *dying) Deliver(ctx context.Context, m Mail) error {
	err := d.Carrier.Deliver(ctx, m)
	d.once.Do(runtime.Goexit)
	return err
}

// TestCrashAfterAcceptance: the one moment in which SMTP may repeat a mail, and
// the mailbox may not.
func TestCrashAfterAcceptance(t *testing.T) {
	crash := func(h *house, e event.Event) {
		h.carrier = &dying{Carrier: h.carrier}
		h.learn(e)
		var group sync.WaitGroup
		group.Go(func() { _ = h.dispatcher("first").try(context.Background(), MessageID(e.ID, person)) })
		group.Wait()
		h.expect(e, Sending, "", 1, len(h.mail.mails()))
		h.mustWork() // the claim still holds
		h.expect(e, Sending, "", 1, len(h.mail.mails()))
		h.restart()
		h.clock.Advance(h.policy.Claim)
		h.mustWork()
	}
	t.Run("smtp", func(t *testing.T) {
		h := newHouse(t)
		e := entered("P07", noon)
		crash(h, e)
		h.expect(e, Sent, "", 2, 2)
		first, _, _ := readMail(t, h.mail.mails()[0].data)
		second, _, _ := readMail(t, h.mail.mails()[1].data)
		if first.Get("Message-Id") != second.Get("Message-Id") {
			t.Error("the repeat cannot be recognised: it has another Message-ID")
		}
	})
	t.Run("mailbox", func(t *testing.T) {
		h := newHouse(t)
		dir := filepath.Join(t.TempDir(), "mailbox")
		var err error
		if h.carrier, err = OpenMailbox(dir); err != nil {
			t.Fatal(err)
		}
		e := entered("P07", noon)
		crash(h, e)
		h.expect(e, Sent, "", 2, 0)
		if files, err := filepath.Glob(filepath.Join(dir, "*.eml")); err != nil || len(files) != 1 {
			t.Errorf("%d files, want 1: %v", len(files), err)
		}
	})
	t.Run("exhausted", func(t *testing.T) { // crashes for ever must end too
		h := newHouse(t)
		h.policy.Attempts = 1
		e := entered("P07", noon)
		crash(h, e)
		h.expect(e, Failed, Expired, 1, 1)
	})
}

// TestLateResult: a try that took longer than its claim does not undo what
// another has recorded meanwhile, but what was sent was sent.
func TestLateResult(t *testing.T) {
	h := newHouse(t)
	e := entered("P07", noon)
	h.learn(e)
	id := MessageID(e.ID, person)
	d := h.dispatcher("late")
	claim := func() {
		if _, err := h.messages().Update(t.Context(), id, func(doc *docstore.Doc[Message]) error {
			doc.Body.claim(h.policy, "smtp", h.clock.Now())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	claim() // first
	claim() // second
	if err := d.finish(t.Context(), id, 1, result{status: Planned}); err != nil {
		t.Fatal(err)
	}
	h.expect(e, Sending, "", 2, 0)
	if err := d.finish(t.Context(), id, 1, result{status: Sent, language: "fr"}); err != nil {
		t.Fatal(err)
	}
	if err := d.finish(t.Context(), id, 2, result{status: Failed, reason: Refused}); err != nil {
		t.Fatal(err)
	}
	h.expect(e, Sent, "", 2, 0)
	if n := len(h.told()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

// TestCanary: nothing of a person is found in documents, events, logs, spans or
// metrics, whatever happens.
func TestCanary(t *testing.T) {
	h := newHouse(t)
	answers := []error{nil, later, never, errors.New(canaryMail)}
	for i, answer := range answers {
		h.mail.answers(func(string) error { return answer })
		h.learn(entered("P07", noon.Add(-time.Duration(i)*time.Minute)), exited("P14", "INAPTITUDE_MEDICALE", noon))
		_ = h.work()
	}
	h.people.put(person, Contact{Name: canaryName, Email: canaryMail + ">,<" + canaryMail, Language: "ar", Consents: []string{"notification"}})
	h.learn(entered("P14", noon))
	_ = h.work()
	h.people.fail(true)
	h.learn(entered("P15", noon))
	_ = h.work()

	var everything strings.Builder
	n := 0
	for doc, err := range h.messages().All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := h.store.Get(t.Context(), Collection, doc.ID)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&everything, raw.Body.String())
		n++
	}
	for _, e := range h.told() {
		fmt.Fprintln(&everything, e)
	}
	everything.WriteString(h.log.String())
	for _, span := range h.spans.GetSpans() {
		fmt.Fprintln(&everything, span.Name, span.Status, span.Attributes, span.Events)
	}
	var metrics metricdata.ResourceMetrics
	if err := h.metrics.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&everything, "%+v", metrics)
	if text := everything.String(); n != 10 || !strings.Contains(text, "stage_discreet") || !strings.Contains(text, "message given up") || len(h.spans.GetSpans()) == 0 {
		t.Fatalf("the test does not look at everything: %d documents\n%s", n, text)
	}
	for _, secret := range []string{canaryName, "Canari", canaryArab, canaryMail, "zoubeida", canaryPhone, "INAPTITUDE", token} {
		if i := strings.Index(everything.String(), secret); i >= 0 {
			t.Errorf("%q is in: %s", secret, everything.String()[max(0, i-200):i+40])
		}
	}
}

// TestFieldsOfAMessage: a field that is added to the document must be thought
// about here.
func TestFieldsOfAMessage(t *testing.T) {
	raw, err := bson.Marshal(Message{Trace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	elements, err := bson.Raw(raw).Elements()
	if err != nil {
		t.Fatal(err)
	}
	allowed := "candidate_id pathway_id cause_id template scheme scheme_version stage governorate occurred_at language channel status reason attempts planned_at next_attempt_at settled_at trace"
	for _, e := range elements {
		if !strings.Contains(" "+allowed+" ", " "+e.Key()+" ") {
			t.Errorf("the document has a field %q: is it personal?", e.Key())
		}
	}
}

// TestTrace: the span of a mail belongs to the trace of the command.
func TestTrace(t *testing.T) {
	h := newHouse(t)
	e := entered("P07", noon)
	e.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.learn(e)
	h.mustWork()
	spans := h.spans.GetSpans()
	if len(spans) != 1 || spans[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Fatalf("got %v", spans)
	}
	if got := h.told()[0].Traceparent; !strings.Contains(got, "0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("the event goes on with %q", got)
	}
	want := attribute.String("masar.message.template", "stage_entered")
	for _, a := range spans[0].Attributes {
		if a == want {
			return
		}
	}
	t.Errorf("the span lacks %v", want)
}
