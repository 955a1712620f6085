package matching

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
	"masar.local/pkg/reference"
)

// benchPeople is how many candidates the benchmarks have.
func benchPeople() int {
	if testing.Short() {
		return 100_000
	}
	return 1_000_000
}

// benchJobs are forty occupations as ROME has them: two to a family, moves
// between neighbours, 66 competences each, some of which many share.
var benchJobs = sync.OnceValue(func() *reference.Occupations {
	r := rand.New(rand.NewPCG(7, 7))
	list := &reference.Occupations{Version: "bench", Jobs: map[string]reference.Job{}}
	code := func(n int) string { return fmt.Sprintf("A%04d", 1000+n%40) }
	for n := range 40 {
		j := reference.Job{Code: code(n), Parent: code(n / 2 * 2), Mobility: []string{code(n + 2), code(n + 5)}}
		for range 16 {
			j.Items = append(j.Items, reference.Item{Code: fmt.Sprint(100_000 + r.IntN(100))})
		}
		for i := range 50 {
			j.Items = append(j.Items, reference.Item{Code: fmt.Sprint(200_000 + 50*n + i), Core: i < 12})
		}
		list.Jobs[j.Code] = j
	}
	return list
})

func benchRules() *Rules { return NewRules(PresentWeights(), reference.Schemes(), benchJobs()) }

// benchID is the id of the n-th person: a ULID of its moment, as real ones are.
func benchID(n int) string {
	var id ulid.ULID
	_ = id.SetTime(1_760_000_000_000 + uint64(n)*7)
	binary.BigEndian.PutUint64(id[8:], mix(uint64(n)))
	return id.String()
}

// synthetic draws one of many people over 40 occupations; with one, everybody has
// it.
func synthetic(r *rand.Rand, one bool) *Seeker {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	s := &Seeker{
		Seq: 1 + r.Int64N(20), Governorate: fmt.Sprintf("TN-%d", 11+r.IntN(24)),
		Languages: []Language{{"ar", pick("C1", "C2")}, {"fr", pick(cefrs...)}},
	}
	for i := range 1 + r.IntN(2) {
		rome := 1000 + r.IntN(40)
		if one && i == 0 {
			rome = 1007
		}
		s.Occupations = append(s.Occupations, Occupation{fmt.Sprintf("A%04d", rome), r.Int32N(121)})
		for range r.IntN(5) {
			s.Competences = append(s.Competences, fmt.Sprint(200_000+50*(rome-1000)+r.IntN(50)))
		}
	}
	if r.IntN(3) == 0 {
		s.Languages = append(s.Languages, Language{pick("en", "it", "de"), pick(cefrs...)})
	}
	for _, l := range []struct {
		code string
		of   int
	}{{"B", 2}, {"C", 8}, {"CE", 20}, {"D", 30}} {
		if r.IntN(l.of) == 0 {
			s.Licences = append(s.Licences, l.code)
		}
	}
	if r.IntN(4) == 0 {
		s.AvailableFrom = (today + Day(r.IntN(300))).String()
	}
	if r.IntN(10) == 0 {
		s.AvailableTo = (today + Day(200+r.IntN(300))).String()
	}
	if r.IntN(3) > 0 {
		s.Schemes = []string{pick("agri", "agri", "soin")}
	}
	for range r.IntN(3) {
		s.Regions = append(s.Regions, pick("84", "93", "11", "76", "44"))
	}
	if r.IntN(20) > 0 {
		s.Consents = append(s.Consents, ConsentMatching)
	}
	if r.IntN(5) > 0 {
		s.Consents = append(s.Consents, ConsentDisclosure)
	}
	if r.IntN(10) > 0 {
		s.Pathways = []Pathway{{
			ID: fmt.Sprintf("P%025d", r.Uint64()), Seq: 1 + r.Int64N(9), Scheme: "agri", Version: "1",
			Stage: pick("P02", "P02", "P02", "P04", "P05", "P07", "P08", "P12"), Open: true,
		}}
	}
	return s
}

// benchOffer draws an offer.
func benchOffer(r *rand.Rand) *Offer {
	o := anOffer()
	o.Rome, o.Posts = fmt.Sprintf("A%04d", 1000+r.IntN(40)), 20
	o.Languages[0].CEFR = cefrs[1+r.IntN(4)]
	o.Licences[0].Category = []string{"B", "B", "C"}[r.IntN(3)]
	if r.IntN(2) == 0 {
		o.Licences = nil
	}
	o.StartsOn = (today + Day(r.IntN(200))).String()
	return o
}

// heap gives the bytes in use.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bigIndex is an index of many people, made once.
type bigIndex struct {
	*Index
	bytes float64 // a candidate
	put   time.Duration
}

func newBigIndex(one bool) *bigIndex {
	rules, n := benchRules(), benchPeople()
	before := heapInUse()
	big := &bigIndex{Index: NewIndex(rules)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		s, name := synthetic(r, one), benchID(i)
		began := time.Now()
		big.PutSeeker(name, 1, s)
		big.put += time.Since(began)
	}
	big.bytes = float64(heapInUse()-before) / float64(n)
	runtime.KeepAlive(big)
	return big
}

var (
	spread   = sync.OnceValue(func() *bigIndex { return newBigIndex(false) })
	together = sync.OnceValue(func() *bigIndex { return newBigIndex(true) })
)

// percentiles reports the median and the 99th of a hundred of the times.
func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIndex: what a candidate takes in memory, and how long it takes to put
// one.
func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		big := spread()
		b.ReportMetric(big.bytes, "B/candidate")
		b.ReportMetric(float64(big.put.Nanoseconds())/float64(benchPeople()), "ns/put")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkShortlist: the time of one shortlist, k=50, over varied offers. In the
// second case everybody has the occupation of every offer; in the third the first
// is asked while others write as fast as they can.
func BenchmarkShortlist(b *testing.B) {
	offers := func(x *Index, rome string) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range 400 {
			o := benchOffer(r)
			if rome != "" {
				o.Rome = rome
			}
			x.PutOffer(id(i), int64(i+1), o)
		}
	}
	ask := func(b *testing.B, x *Index, witness bool) {
		var took []time.Duration
		eligible, n := 0, 0
		b.ReportAllocs()
		for b.Loop() {
			began := time.Now()
			list, _ := x.Candidates(id(n%400), Ask{K: 50, Today: today, Seed: "s", Left: -1, Witness: witness})
			took = append(took, time.Since(began))
			eligible += list.Eligible
			n++
		}
		percentiles(b, took)
		b.ReportMetric(float64(eligible/n), "eligible")
	}
	b.Run("40 occupations", func(b *testing.B) {
		x := spread()
		offers(x.Index, "")
		ask(b, x.Index, false)
	})
	b.Run("40 occupations with a witness", func(b *testing.B) {
		x := spread()
		offers(x.Index, "")
		ask(b, x.Index, true)
	})
	b.Run("40 occupations and a writer", func(b *testing.B) {
		x := spread()
		offers(x.Index, "")
		var writer sync.WaitGroup
		stop := make(chan struct{})
		puts, slowest, began := 0, time.Duration(0), time.Now()
		writer.Go(func() {
			r := rand.New(rand.NewPCG(5, 6))
			some := make([]*Seeker, 1000)
			for i := range some {
				some[i] = synthetic(r, false)
			}
			for v := int64(1000); ; v++ {
				select {
				case <-stop:
					return
				default:
				}
				name := benchID(r.IntN(benchPeople()))
				at := time.Now()
				x.PutSeeker(name, v+time.Now().Unix(), some[r.IntN(len(some))])
				slowest = max(slowest, time.Since(at))
				puts++
			}
		})
		ask(b, x.Index, false)
		close(stop)
		writer.Wait()
		b.ReportMetric(float64(puts)/time.Since(began).Seconds(), "puts/s")
		b.ReportMetric(slowest.Seconds()*1000, "slowest-put-ms")
	})
	b.Run("one occupation", func(b *testing.B) {
		x := together()
		offers(x.Index, "A1007")
		ask(b, x.Index, false)
	})
}

// BenchmarkColdBuild: the index from the documents of a SQLite store, as a replica
// does it when it starts. To write the documents is not counted.
func BenchmarkColdBuild(b *testing.B) {
	e, err := docstore.Open(b.Context(), "sqlite:"+b.TempDir()+"/matching.db")
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	documents, err := openStore(b.Context(), e)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	const batch = 1000
	for i := 0; i < benchPeople(); i += batch {
		if err := fileSeekers(b.Context(), e, i, batch, r); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		x := NewIndex(benchRules())
		refresh := &refresher{store: documents, index: x, now: time.Now}
		began := time.Now()
		if err := refresh.load(b.Context()); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		if people, _ := x.Size(); people != benchPeople() {
			b.Fatalf("%d people, want %d", people, benchPeople())
		}
		b.ReportMetric(took.Seconds(), "s/build")
		b.ReportMetric(took.Seconds()*1e6/float64(benchPeople()), "µs/candidate")
		b.ReportMetric(0, "ns/op")
	}
}

// fileSeekers writes the documents of n people from the i-th on.
func fileSeekers(ctx context.Context, e docstore.Engine, i, n int, r *rand.Rand) error {
	var records []docstore.Record
	for end := i + n; i < end; i++ {
		body, err := bson.Marshal(synthetic(r, false))
		if err != nil {
			return err
		}
		records = append(records, docstore.Record{ID: benchID(i), Version: 1, Body: body})
	}
	return e.File(ctx, seekersSchema.Collection, records)
}

// BenchmarkUpdate: the time to change one of many candidates.
func BenchmarkUpdate(b *testing.B) {
	x, r := spread(), rand.New(rand.NewPCG(8, 9))
	changed := make([]*Seeker, 1000)
	for i := range changed {
		changed[i] = synthetic(r, false)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		x.PutSeeker(benchID(r.IntN(benchPeople())), 1<<40+int64(n), changed[n%len(changed)])
	}
}
