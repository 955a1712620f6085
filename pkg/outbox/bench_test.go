package outbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/docstore"
	"masar.local/pkg/docstore/storetest"
)

// BenchmarkRelay measures events per second from the outbox to the broker, the
// journal and out of the outbox, all of it on the disk.
func BenchmarkRelay(b *testing.B) {
	for _, each := range []int{1, 3} {
		b.Run(fmt.Sprintf("events-of-a-write=%d", each), func(b *testing.B) {
			e, k := open(b, storetest.SQLite(b)), kafka(b)
			c := docstore.NewCollection[counter](e, counters)
			for range b.N {
				d := &docstore.Doc[counter]{ID: ulid.Make().String()}
				for range each {
					emit(d)
				}
				if err := c.Insert(b.Context(), d); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			start := time.Now()
			if err := relay(e, k, "one").Drain(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N*each)/time.Since(start).Seconds(), "events/s")
		})
	}
}
