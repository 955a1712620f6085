package indicators

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// trackCache holds the pathways as they were last laid out, and as of the past
// instant that was last asked about.
type trackCache struct {
	mu   sync.Mutex
	now  trackEntry
	past trackEntry
	asOf time.Time // of past
}

type trackEntry struct {
	view   *view
	tracks *tracks
	made   time.Time
	took   time.Duration
}

// While events stream in, there is a new view with every one of them, and with ten
// million facts to lay out is work of a second. What was laid out may therefore be
// used for a few times as long as it took, and never longer than mostStale: small
// data are always fresh, large ones within the time in which an event must show
// (DESIGN §6: 5 s).
const (
	staleTimes = 3
	mostStale  = 3 * time.Second
)

// tracksAsOf are the pathways as of a moment that readAsOf can read; "" or to come: now.
func (s *service) tracksAsOf(ctx context.Context, text string) (*tracks, error) {
	asOf, err := readAsOf(text)
	if err != nil {
		return nil, err
	}
	if asOf.After(s.now()) {
		asOf = time.Time{}
	}
	return s.tracks(ctx, asOf)
}

// tracks are the pathways as of a past instant; zero: now.
func (s *service) tracks(ctx context.Context, asOf time.Time) (*tracks, error) {
	c := &s.pathwayCache
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err // waited for another's work for too long
	}
	view := s.columns.View()
	entry := &c.now
	if !asOf.IsZero() {
		entry = &c.past
		if !asOf.Equal(c.asOf) {
			*entry, c.asOf = trackEntry{}, asOf
		}
	}
	now := s.now()
	if entry.tracks != nil && (entry.view == view || time.Since(entry.made) < min(staleTimes*entry.took, mostStale)) {
		if !asOf.IsZero() || entry.tracks.next.IsZero() || now.Before(entry.tracks.next) {
			t := *entry.tracks
			if asOf.IsZero() {
				t.at, t.seconds = now, unixSeconds(now)
			}
			return &t, nil
		}
	}
	began := time.Now()
	at := asOf
	if asOf.IsZero() {
		at = now
	}
	t := newTracks(view, s.schemes, at, asOf)
	*entry = trackEntry{view: view, tracks: t, made: time.Now(), took: time.Since(began)}
	return t, nil
}

// about is what every answer says of itself.
func (s *service) about(p access.Principal, t *tracks) PathwaysAbout {
	about := PathwaysAbout{AsOf: t.at.UTC(), KnownTo: t.known, TimeZone: Zone, Scope: pathwayScope(p), Notes: []Told{}}
	if !p.Can(access.IndicatorsFacts) && s.smallCell > 1 {
		about.SmallCell = s.smallCell
		about.Notes = append(about.Notes, Told{
			fmt.Sprintf("Les chiffres de moins de %d personnes sont masqués, ainsi que ceux qui permettraient de les retrouver par soustraction ; les courbes sont arrondies à %d personnes près.", s.smallCell, s.smallCell),
			fmt.Sprintf("تُحجب الأرقام التي تخص أقل من %d أشخاص، وكل رقم يسمح باستنتاجها بالطرح؛ والمنحنيات مقرّبة في حدود %d أشخاص.", s.smallCell, s.smallCell),
		})
	}
	without, keeps := 0, t.keeper(about.Scope)
	for i := range t.list {
		if t.list[i].opened == 0 && keeps(&t.list[i]) {
			without++
		}
	}
	about.WithoutOpening = shown(without > 0 && without < about.SmallCell, without)
	return about
}

// round4 is v to four places, as shares are told.
func round4(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// AnalyticsFormat chooses the form of an answer about pathways.
type AnalyticsFormat struct {
	Format string   `query:"format"` // "json" (default) or "csv"
	Accept []string `header:"Accept"`
}

// Validate checks the format.
func (f *AnalyticsFormat) Validate() error {
	switch f.Format {
	case "":
		f.Format = "json"
		if len(f.Accept) > 0 && strings.HasPrefix(f.Accept[0], "text/csv") {
			f.Format = "csv"
		}
	case "json", "csv":
	default:
		return api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: "json or csv expected"})
	}
	return nil
}

// tabular is an answer that can be told as a table.
type tabular interface{ csv(w io.Writer) error }

// tableCSV streams it (RFC 4180, UTF-8, with a header).
type tableCSV struct{ answer tabular }

// ContentType says that the first line is a header.
func (tableCSV) ContentType() string { return "text/csv; charset=utf-8; header=present" }

// Stream writes the table.
func (a tableCSV) Stream(w io.Writer) error { return a.answer.csv(w) }

// csvTable writes lines and keeps the first error.
type csvTable struct{ to *csv.Writer }

func newTableCSV(w io.Writer, header ...string) csvTable {
	t := csvTable{csv.NewWriter(w)}
	t.to.UseCRLF = true
	t.write(header...)
	return t
}

// write adds a line; an error comes out at flush.
func (t csvTable) write(line ...string) { _ = t.to.Write(line) }

func (t csvTable) flush() error {
	t.to.Flush()
	return t.to.Error()
}

// groupCells are the first cells of a group's lines.
func groupCells(g PathwayGroup, by []string) []string {
	line := []string{g.Cohort}
	for _, name := range by {
		line = append(line, plain(g.Dimensions[name]))
	}
	return append(line, countText(g.People))
}

func countText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
