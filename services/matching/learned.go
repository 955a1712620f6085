package matching

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"masar.local/pkg/docstore"
	"masar.local/pkg/event"
	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// Stamp is the fingerprint of the state of a person's document: of the last
// event of the candidate and of each pathway that it took. A document is worked
// out from those events alone, each aggregate in its own part, so that two
// documents of one person with one stamp are the same. The stamps of different
// people are not to be compared.
//
// It is a sum with one summand for each aggregate, so that the events which lead
// to a stamp can be looked for among all those that are known: see vector.
func (s *Seeker) Stamp() uint64 {
	sum := stampOf("", s.Seq)
	for i := range s.Pathways {
		sum += stampOf(s.Pathways[i].ID, s.Pathways[i].Seq)
	}
	return sum
}

// stampOf is what one aggregate adds to a stamp: the candidate ("") or a pathway
// at its last event.
func stampOf(pathway string, seq int64) uint64 {
	if seq == 0 { // nothing of it is known
		return 0
	}
	return mix(fnv(14695981039346656037, pathway) ^ mix(uint64(seq)))
}

// mix is the finalizer of SplitMix64: each bit of the input changes half of the
// output.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Learned is the document of one event that changed what is known of a person, an
// offer or an employer; or of how that stood when the log began for it. The log
// is only ever added to.
//
// Its id is "<whom or what it is about>/<aggregate>/<seq>": a person's events and
// those of their pathways lie side by side. An entry is written before the
// document that it changes: what a document says can always be worked out again,
// and of an entry whose document was never changed (the process died in between)
// the event comes again. It holds what matching uses of the event and nothing
// else: no sex, no year of birth.
//
// A document that an older program wrote has no log. Then the document as it
// stands is the first entry, "<whom or what>/base/<version>", written before the
// first change.
type Learned struct {
	Type       string    `bson:"type"` // full name of the protobuf message; "" for a base
	Seq        int64     `bson:"seq"`  // of the event within its aggregate
	Data       []byte    `bson:"data"` // the message in protobuf's binary form; the base in BSON
	OccurredAt time.Time `bson:"occurred_at"`
	RecordedAt time.Time `bson:"recorded_at"`
	LearnedAt  time.Time `bson:"learned_at"`
}

var learnedSchema = docstore.Schema{Collection: "learned"}

// learnedLog is the log of what was learned. It is safe for concurrent use.
type learnedLog struct{ e docstore.Engine }

// document is what a log is kept of: a Seeker, an Offer or an Employer.
type document[T any] interface {
	*T
	// apply folds an event and says whether anything changed.
	apply(e event.Event) bool
	// learned marks a change: when, and that there is a log from here on. It says
	// whether there was one before.
	learned(now time.Time) (logged bool)
}

func (s *Seeker) learned(now time.Time) (logged bool) {
	logged, s.Logged, s.UpdatedAt = s.Logged, true, now
	return logged
}

func (o *Offer) learned(now time.Time) (logged bool) {
	logged, o.Logged, o.UpdatedAt = o.Logged, true, now
	return logged
}

func (m *Employer) learned(now time.Time) (logged bool) {
	logged, m.Logged, m.UpdatedAt = m.Logged, true, now
	return logged
}

// learn applies an event to a document, once, and logs it before.
func learn[T any, P document[T]](ctx context.Context, c *docstore.Collection[T], log learnedLog, id string, e event.Event, now time.Time) (*docstore.Doc[T], error) {
	return c.Upsert(ctx, id, func(d *docstore.Doc[T]) error {
		before, err := bson.Marshal(d.Body)
		if err != nil {
			return fmt.Errorf("matching: encode a document: %w", err)
		}
		if !P(&d.Body).apply(e) {
			return docstore.Unchanged
		}
		if logged := P(&d.Body).learned(now); logged || d.Version == 0 {
			before = nil
		}
		// Writing in here is harmless: an entry that is there stays as it is, so
		// that it may be repeated as this function may.
		return log.add(ctx, id, d.Version, before, e, now)
	})
}

// add logs an event about a document, and its base before it, unless nil.
func (l learnedLog) add(ctx context.Context, about string, version int64, base []byte, e event.Event, now time.Time) error {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(used(e.Data))
	if err != nil {
		return unusable("its data cannot be encoded: %v", err) // a text that is not UTF-8
	}
	entries := []namedLearned{{
		learnedID(about, e.Subject, e.Seq),
		Learned{e.Type, e.Seq, data, e.OccurredAt, e.RecordedAt, now},
	}}
	if base != nil {
		entries = append(entries, namedLearned{learnedID(about, baseName, version), Learned{Data: base, LearnedAt: now}})
	}
	var records []docstore.Record
	for _, n := range entries {
		body, err := bson.Marshal(n.Learned)
		if err != nil {
			return fmt.Errorf("matching: encode an entry of the log: %w", err)
		}
		records = append(records, docstore.Record{ID: n.id, Version: 1, Body: body})
	}
	if err := l.e.File(ctx, learnedSchema.Collection, records); err != nil {
		return fmt.Errorf("matching: log what was learned: %w", err)
	}
	return nil
}

const baseName = "base"

type namedLearned struct {
	id string
	Learned
}

func learnedID(about, aggregate string, seq int64) string {
	return fmt.Sprintf("%s/%s/%012d", about, aggregate, seq)
}

// used gives what the fold uses of an event's data.
func used(data proto.Message) proto.Message {
	switch data := data.(type) {
	case *candidatesv1.CandidateRegistered:
		return &candidatesv1.CandidateRegistered{Profile: usedProfile(data.GetProfile())}
	case *candidatesv1.CandidateUpdated:
		return &candidatesv1.CandidateUpdated{Profile: usedProfile(data.GetProfile())}
	case *candidatesv1.PathwayOpened:
		return &candidatesv1.PathwayOpened{
			CandidateId: data.GetCandidateId(), Scheme: data.GetScheme(), SchemeVersion: data.GetSchemeVersion(), Stage: data.GetStage(),
		}
	case *candidatesv1.StageEntered:
		return &candidatesv1.StageEntered{
			CandidateId: data.GetCandidateId(), Scheme: data.GetScheme(), SchemeVersion: data.GetSchemeVersion(),
			To: data.GetTo(), Placement: data.GetPlacement(),
		}
	case *candidatesv1.PathwayExited:
		return &candidatesv1.PathwayExited{
			CandidateId: data.GetCandidateId(), Scheme: data.GetScheme(), SchemeVersion: data.GetSchemeVersion(), Stage: data.GetStage(),
		}
	case *candidatesv1.PathwayCompleted:
		return &candidatesv1.PathwayCompleted{
			CandidateId: data.GetCandidateId(), Scheme: data.GetScheme(), SchemeVersion: data.GetSchemeVersion(), Stage: data.GetStage(),
		}
	case *candidatesv1.EntryCorrected:
		return &candidatesv1.EntryCorrected{Now: data.GetNow()}
	case *candidatesv1.EntryRetracted:
		return &candidatesv1.EntryRetracted{Placement: data.GetPlacement(), Now: data.GetNow()}
	}
	return data // of offers and employers: nothing in it is about a person
}

func usedProfile(p *candidatesv1.Profile) *candidatesv1.Profile {
	return &candidatesv1.Profile{
		Governorate: p.GetGovernorate(), Occupations: p.GetOccupations(), Languages: p.GetLanguages(), Licences: p.GetLicences(),
		Competences: p.GetCompetences(), AvailableFrom: p.GetAvailableFrom(), AvailableTo: p.GetAvailableTo(),
		Schemes: p.GetSchemes(), Regions: p.GetRegions(), Consents: p.GetConsents(),
	}
}

// logOf is everything that was learned about one person, offer or employer.
type logOf struct {
	about  string
	bases  [][]byte      // how the document stood when the log began, newest first
	events []event.Event // by aggregate and seq
}

// logPage is how many entries are read at once: those of most people.
const logPage = 24

// read reads the log of one person, offer or employer.
func (l learnedLog) read(ctx context.Context, about string) (*logOf, error) {
	out := &logOf{about: about}
	prefix := about + "/"
	for after := prefix; ; {
		found, err := l.e.Scan(ctx, learnedSchema.Collection, after, logPage)
		if err != nil {
			return nil, fmt.Errorf("matching: read what was learned: %w", err)
		}
		for _, r := range found {
			rest, ok := strings.CutPrefix(r.ID, prefix)
			if !ok {
				return out, nil
			}
			if err := out.take(rest, r.Body); err != nil {
				return nil, fmt.Errorf("matching: the entry %s of the log is damaged: %w", r.ID, err)
			}
			after = r.ID
		}
		if len(found) < logPage {
			return out, nil
		}
	}
}

func (l *logOf) take(rest string, body []byte) error {
	var entry Learned
	if err := bson.Unmarshal(body, &entry); err != nil {
		return err
	}
	aggregate, _, _ := strings.Cut(rest, "/")
	if aggregate == baseName {
		l.bases = slices.Insert(l.bases, 0, entry.Data)
		return nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(entry.Type))
	if err != nil {
		return fmt.Errorf("type %s: %w", entry.Type, err)
	}
	data := mt.New().Interface()
	if err := proto.Unmarshal(entry.Data, data); err != nil {
		return err
	}
	l.events = append(l.events, event.Event{
		Type: entry.Type, Subject: aggregate, Seq: entry.Seq, OccurredAt: entry.OccurredAt.UTC(), RecordedAt: entry.RecordedAt.UTC(), Data: data,
	})
	return nil
}

// from gives the documents to fold events on: those that the log began with,
// newest first, and the empty one, with which the log of whatever was first heard
// of by this program or a later one begins.
func from[T any](l *logOf) ([]*T, error) {
	var out []*T
	for _, b := range l.bases {
		var d T
		if err := bson.Unmarshal(b, &d); err != nil {
			return nil, fmt.Errorf("matching: a base of %s in the log is damaged: %w", l.about, err)
		}
		out = append(out, &d)
	}
	return append(out, new(T)), nil
}

// ErrForgotten is wrapped by the error of a state that cannot be worked out: it
// is older than the log, or was never logged.
var ErrForgotten = errors.New("this state is not in the log of what was learned")

func forgotten(what, id, state string, l *logOf) error {
	began := "which has nothing about it"
	if n := len(l.events); n > 0 && len(l.bases) == 0 {
		began = fmt.Sprintf("which has %d events about it", n)
	} else if len(l.bases) > 0 {
		began = fmt.Sprintf("which began when it was known already, and has %d events since", n)
	}
	return fmt.Errorf("matching: the %s %s at %s: %w, %s", what, id, state, ErrForgotten, began)
}

// seeker works out a person's document at a stamp.
func (l *logOf) seeker(stamp uint64) (*Seeker, error) {
	starts, err := from[Seeker](l)
	if err != nil {
		return nil, err
	}
	for _, s := range starts {
		upTo, ok := l.vector(s, stamp)
		if !ok {
			continue
		}
		for _, e := range l.events { // each aggregate has its own part: their order does not matter
			if e.Seq <= upTo[e.Subject] {
				s.apply(e)
			}
		}
		if s.Stamp() == stamp {
			return s, nil
		}
	}
	return nil, forgotten("candidate", l.about, fmt.Sprintf("stamp %016x", stamp), l)
}

// vector finds the last event of each aggregate that leads from a document to a
// stamp. Aggregates are learned in any order, so every combination may have
// been: a person has a few aggregates with a few events each. For the one with
// the most events the stamp itself says which.
func (l *logOf) vector(s *Seeker, stamp uint64) (upTo map[string]int64, ok bool) {
	type summand struct {
		seq int64
		add uint64
	}
	var order []string
	parts := map[string][]summand{} // what each aggregate may add
	start := func(aggregate, name string, seq int64) {
		order = append(order, aggregate)
		parts[aggregate] = []summand{{seq, stampOf(name, seq)}}
	}
	start(l.about, "", s.Seq)
	for _, p := range s.Pathways {
		start(p.ID, p.ID, p.Seq)
	}
	for _, e := range l.events {
		name := e.Subject
		if name == l.about {
			name = ""
		}
		if parts[e.Subject] == nil {
			start(e.Subject, name, 0)
		}
		if have := parts[e.Subject]; e.Seq > have[0].seq {
			parts[e.Subject] = append(have, summand{e.Seq, stampOf(name, e.Seq)})
		}
	}
	most := 0
	for i, a := range order {
		if len(parts[a]) > len(parts[order[most]]) {
			most = i
		}
	}
	order[0], order[most] = order[most], order[0]
	last := map[uint64]int64{}
	for _, c := range parts[order[0]] {
		last[c.add] = c.seq
	}
	upTo = map[string]int64{}
	var search func(i int, left uint64) bool
	search = func(i int, left uint64) bool {
		if i == len(order) {
			seq, ok := last[left]
			upTo[order[0]] = seq
			return ok
		}
		choices := parts[order[i]]
		for j := len(choices) - 1; j >= 0; j-- { // what is asked for is mostly new
			if search(i+1, left-choices[j].add) {
				upTo[order[i]] = choices[j].seq
				return true
			}
		}
		return false
	}
	return upTo, search(1, stamp)
}

// stateAt works out an offer's or an employer's document at a seq.
func stateAt[T any, P document[T]](l *logOf, what string, seq int64, seqOf func(*T) int64) (*T, error) {
	starts, err := from[T](l)
	if err != nil {
		return nil, err
	}
	for _, d := range starts {
		if seqOf(d) > seq {
			continue
		}
		for _, e := range l.events {
			if e.Seq <= seq {
				P(d).apply(e)
			}
		}
		if seqOf(d) == seq {
			return d, nil
		}
	}
	return nil, forgotten(what, l.about, fmt.Sprintf("seq %d", seq), l)
}

// seekerAt gives a person's document as it was at a stamp: the document itself
// when it has not changed since, or worked out from the log.
func (s *store) seekerAt(ctx context.Context, id string, stamp uint64) (*Seeker, error) {
	d, err := s.seekers.Get(ctx, id)
	if err == nil && d.Body.Stamp() == stamp {
		return &d.Body, nil
	}
	if err != nil && !errors.Is(err, docstore.ErrNotFound) {
		return nil, err
	}
	l, err := s.learned.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return l.seeker(stamp)
}

// offerAt gives an offer's document as it was at a seq.
func (s *store) offerAt(ctx context.Context, id string, seq int64) (*Offer, error) {
	return documentAt(ctx, s.offers, s.learned, "offer", id, seq, func(o *Offer) int64 { return o.Seq })
}

// employerAt gives an employer's document as it was at a seq; 0 is the document
// of one that was not heard of.
func (s *store) employerAt(ctx context.Context, id string, seq int64) (*Employer, error) {
	if seq == 0 {
		return &Employer{}, nil
	}
	return documentAt(ctx, s.employers, s.learned, "employer", id, seq, func(m *Employer) int64 { return m.Seq })
}

func documentAt[T any, P document[T]](ctx context.Context, c *docstore.Collection[T], log learnedLog, what, id string, seq int64, seqOf func(*T) int64) (*T, error) {
	d, err := c.Get(ctx, id)
	if err == nil && seqOf(&d.Body) == seq {
		return &d.Body, nil
	}
	if err != nil && !errors.Is(err, docstore.ErrNotFound) {
		return nil, err
	}
	l, err := log.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return stateAt[T, P](l, what, seq, seqOf)
}
