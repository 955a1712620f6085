// Package notifications tells people, by e-mail, in French or in Arabic, when
// their pathway moves.
//
// The contract: one message for each event and recipient, whatever is repeated
// or restarted; nobody is written to without a consent "notification" in force
// at the moment of sending; a message names a stage and a date, never a state
// of health nor the reason of a refusal; and what is stored here is who, why,
// which template and how it went, never a name or an address: those are asked
// of the candidates service when the message leaves, and forgotten.
package notifications

import (
	"crypto/sha256"
	"time"

	"github.com/oklog/ulid/v2"
)

// Status says where a message stands.
type Status string

// The life of a message: planned -> sending -> sent, or back to planned after
// an attempt that may be repeated, or failed or skipped for good.
const (
	Planned Status = "planned"
	Sending Status = "sending" // claimed by a dispatcher until NextAttemptAt
	Sent    Status = "sent"    // accepted by the carrier
	Failed  Status = "failed"  // given up after it was due: Refused or Expired
	Skipped Status = "skipped" // not to be sent: NoConsent, NoContact or TooOld
)

// Statuses lists every status, for the transports to check a filter against.
var Statuses = []Status{Planned, Sending, Sent, Failed, Skipped}

// Reason says why a message did not reach the person.
type Reason string

// Reasons of a message that was failed or skipped.
const (
	NoConsent Reason = "no_consent" // no consent "notification" in force at the time of sending
	NoContact Reason = "no_contact" // no usable address, or the person is no longer known
	Refused   Reason = "refused"    // the mail server refused it for good (SMTP 5xx)
	Expired   Reason = "expired"    // not delivered within the attempts or the time allowed
	TooOld    Reason = "too_old"    // the news was already old when it was learned
)

// Consent is the purpose that must be in force at the time of sending.
const Consent = "notification"

// Template names the kind of text. A template exists in every language.
type Template string

// Templates of the messages about a pathway.
const (
	PathwayOpened Template = "pathway_opened"
	StageEntered  Template = "stage_entered"
	// StageDiscreet announces a stage whose very name touches on health: the
	// text does not name it.
	StageDiscreet Template = "stage_discreet"
	// PathwayExited is neutral: the exit code never reaches this service's
	// documents, let alone a text.
	PathwayExited Template = "pathway_exited"
)

// Templates lists every template.
var Templates = []Template{PathwayOpened, StageEntered, StageDiscreet, PathwayExited}

// Languages that every template is written in.
const (
	French = "fr"
	Arabic = "ar"
)

// Languages lists every language.
var Languages = []string{French, Arabic}

// discreet are the stages that a message must not name, by their common code
// (DOMAIN §1.1): P14 is the medical visit. Whoever reads over a shoulder, or an
// employer's shared computer, learns nothing of anybody's health.
var discreet = map[string]bool{"P14": true}

// silent are the exits that nobody must be written about: a mail to somebody
// who has died reaches the family.
var silent = map[string]bool{"DECES": true}

// wayBack are the reasons of moves that lead a pathway back because an offer fell
// through: a message that a stage was reached would be wrong, and that it fell
// through is for a counsellor to say.
var wayBack = map[string]bool{"decision_refused": true, "decision_no_show": true}

// Message is one text to one person about one event. It holds ids and codes
// only.
type Message struct {
	CandidateID   string    `bson:"candidate_id"`
	PathwayID     string    `bson:"pathway_id"`
	CauseID       string    `bson:"cause_id"` // the event that caused it
	Template      Template  `bson:"template"`
	Scheme        string    `bson:"scheme"`
	SchemeVersion string    `bson:"scheme_version"`
	Stage         string    `bson:"stage"`
	Governorate   string    `bson:"governorate"` // code, as in the event: whose scope the message is in
	OccurredAt    time.Time `bson:"occurred_at"` // when the news happened in the world
	Language      string    `bson:"language"`    // "" until the person's language was asked
	Channel       string    `bson:"channel"`     // "smtp" or "mailbox"; "" until the first attempt
	Status        Status    `bson:"status"`
	Reason        Reason    `bson:"reason"`
	Attempts      int       `bson:"attempts"`
	PlannedAt     time.Time `bson:"planned_at"`
	// NextAttemptAt is when a planned message is due, and when the claim of a
	// message that is being sent lapses. Zero once the message is settled.
	NextAttemptAt time.Time `bson:"next_attempt_at"`
	SettledAt     time.Time `bson:"settled_at"` // when it was sent, failed or skipped
	// Trace is the trace context of the event, so that one trace follows a
	// command to its mail.
	Trace string `bson:"trace,omitempty"`
}

// MessageID names the message about an event for a recipient. It is a function
// of the two, so that an event that comes again names the same message.
func MessageID(eventID, recipient string) string {
	sum := sha256.Sum256([]byte("masar/message\x00" + eventID + "\x00" + recipient))
	return ulid.ULID(sum[:16]).String()
}

// Policy bounds how a message is tried.
type Policy struct {
	MaxAge   time.Duration // news older than this when it is learned is not sent
	Attempts int           // tries before a message is given up
	Expiry   time.Duration // age of a message at which it is given up
	Backoff  time.Duration // wait after the first failed try, doubled after each
	Longest  time.Duration // longest wait between two tries
	Claim    time.Duration // how long one try may take before another may start
}

// DefaultPolicy gives up after about 70 hours: by attempts or by age, whichever
// comes first.
func DefaultPolicy() Policy {
	return Policy{
		MaxAge:   7 * 24 * time.Hour,
		Attempts: 20,
		Expiry:   72 * time.Hour,
		Backoff:  30 * time.Second,
		Longest:  6 * time.Hour,
		Claim:    90 * time.Second,
	}
}

// wait is the pause after the given number of tries.
func (p Policy) wait(attempts int) time.Duration {
	d := p.Backoff
	for range attempts - 1 {
		if d >= p.Longest/2 {
			return p.Longest
		}
		d *= 2
	}
	return min(d, p.Longest)
}

// due says whether a try may start now.
func (m *Message) due(now time.Time) bool {
	return (m.Status == Planned || m.Status == Sending) && !m.NextAttemptAt.After(now)
}

// exhausted says whether the message is to be given up instead of tried.
func (m *Message) exhausted(p Policy, now time.Time) bool {
	return m.Attempts >= p.Attempts || now.Sub(m.PlannedAt) >= p.Expiry
}

// claim starts a try: no other dispatcher may start one before the claim lapses.
func (m *Message) claim(p Policy, channel string, now time.Time) {
	m.Status, m.Channel = Sending, channel
	m.Attempts++
	m.NextAttemptAt = now.Add(p.Claim)
}

// postpone puts the message back after a try that failed for now. It says false
// when there is no time left for another: the message is then to be given up.
func (m *Message) postpone(p Policy, now time.Time) bool {
	next := now.Add(p.wait(m.Attempts))
	if m.Attempts >= p.Attempts || next.Sub(m.PlannedAt) >= p.Expiry {
		return false
	}
	m.Status, m.NextAttemptAt = Planned, next
	return true
}

// settle ends the message's life.
func (m *Message) settle(status Status, reason Reason, now time.Time) {
	m.Status, m.Reason = status, reason
	m.NextAttemptAt, m.SettledAt = time.Time{}, now
}

// settled says whether the message's life has ended.
func (m *Message) settled() bool {
	return m.Status == Sent || m.Status == Failed || m.Status == Skipped
}
