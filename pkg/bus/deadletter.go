package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Headers that a dead letter has besides those of its original.
const (
	HeaderReason    = "dlq_reason"     // text of the last error
	HeaderTopic     = "dlq_topic"      // where the original is
	HeaderPartition = "dlq_partition"  // "
	HeaderOffset    = "dlq_offset"     // "
	HeaderAttempts  = "dlq_attempts"   // tries of the handler
	HeaderGroup     = "dlq_group"      // the consumer that gave up
	HeaderAt        = "dlq_at"         // when, RFC 3339
	HeaderValueGone = "dlq_value_gone" // "true": the original is too large even for this topic and stays where it was

	deadPrefix = "dlq_"
	maxReason  = 2000
)

// bury stores the message of it as a dead letter. Until that is acknowledged the
// message is not done.
func (r *run) bury(ctx context.Context, it *item) verdict {
	letter := r.deadLetter(it)
	err := r.c.publish(ctx, r.c.dead, []Message{letter})
	if errors.Is(err, ErrTooLarge) {
		letter.Value = nil
		letter.Headers = append(letter.Headers, Header{HeaderValueGone, []byte("true")})
		err = r.c.publish(ctx, r.c.dead, []Message{letter})
	}
	if err != nil {
		if ctx.Err() != nil {
			return verdict{drop: true}
		}
		it.waits++
		r.failed("store a dead letter", err)
		return verdict{again: r.pause(it.waits), blocked: true}
	}
	r.c.meters.buried(ctx, it.msg, r.k.Group)
	r.c.log.Error("bus: message became a dead letter", "group", r.k.Group, "topic", it.msg.Topic, "partition", it.msg.Partition, "offset", it.msg.Offset, "attempts", it.attempts, "dead_letters", r.k.DeadLetters, "error", it.dead)
	return verdict{done: true}
}

// deadLetter keeps the key, the bytes, the headers and the time of the original.
// Headers of an earlier death of the same message are replaced.
func (r *run) deadLetter(it *item) Message {
	m := it.msg
	letter := Message{Topic: r.k.DeadLetters, Key: m.Key, Value: m.Value, Time: m.Time}
	for _, h := range m.Headers {
		if !strings.HasPrefix(h.Key, deadPrefix) {
			letter.Headers = append(letter.Headers, h)
		}
	}
	for _, h := range []struct{ key, value string }{
		{HeaderReason, clip(it.dead.Error(), maxReason)},
		{HeaderTopic, m.Topic},
		{HeaderPartition, strconv.Itoa(m.Partition)},
		{HeaderOffset, strconv.FormatInt(m.Offset, 10)},
		{HeaderAttempts, strconv.Itoa(it.attempts)},
		{HeaderGroup, r.k.Group},
		{HeaderAt, r.c.cfg.Now().UTC().Format(time.RFC3339Nano)},
	} {
		letter.Headers = append(letter.Headers, Header{h.key, []byte(h.value)})
	}
	return letter
}

// clip shortens s to at most n bytes, without cutting a letter in two.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
