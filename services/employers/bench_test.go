package employers

import (
	"fmt"
	"testing"
)

// BenchmarkReadRow reads real offers, without writing them.
func BenchmarkReadRow(b *testing.B) {
	rows := realOffers(b)
	n := 0
	for b.Loop() {
		if _, refused := readRow(rows[n%len(rows)]); refused != nil {
			b.Fatal(refused)
		}
		n++
	}
}

// BenchmarkImport takes in batches of 250 new offers, documents and outbox
// entries on the disk.
func BenchmarkImport(b *testing.B) {
	const batch = 250
	s, ctx := newService(b, clock), officer(b)
	n := 0
	for b.Loop() {
		b.StopTimer()
		req := ImportRequest{}
		for range batch {
			req.Rows = append(req.Rows, minimal(b, map[string]any{"id": fmt.Sprintf("B%07d", n)}))
			n++
		}
		b.StartTimer()
		if _, err := s.Import(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "offers/s")
}
