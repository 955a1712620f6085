package notifications

import (
	"fmt"
	"path/filepath"
	"testing"

	candidatesv1 "masar.local/proto/masar/candidates/v1"
)

// BenchmarkDispatch is a message from the learned event to its record as sent:
// plan, claim, look-up of the contact over HTTP, hand-over, record.
func BenchmarkDispatch(b *testing.B) {
	for _, channel := range []string{"smtp", "mailbox"} {
		b.Run(channel, func(b *testing.B) {
			h := newHouse(b)
			if channel == "mailbox" {
				box, err := OpenMailbox(filepath.Join(b.TempDir(), "mailbox"))
				if err != nil {
					b.Fatal(err)
				}
				h.carrier = box
			}
			for i := 0; b.Loop(); i++ {
				e := entered("P07", noon)
				id := fmt.Sprintf("01PERSON%018d", i)
				e.Data.(*candidatesv1.StageEntered).CandidateId = id
				h.people.put(id, consenting)
				h.learn(e)
				if i%500 == 499 {
					h.mustWork()
				}
			}
			h.mustWork()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkTooOld is what the history of a large import costs.
func BenchmarkTooOld(b *testing.B) {
	h := newHouse(b)
	for b.Loop() {
		h.learn(entered("P07", noon.AddDate(0, -3, 0)))
	}
}
