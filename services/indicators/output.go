package indicators

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
)

// What is published leaves by one door: every form (JSON, CSV, XLSX, SDMX, GeoJSON)
// is written from the Series that Values gives to the principal, so that each shows
// and hides the same.

// Media types of the forms.
const (
	typeJSON          = "application/json"
	typeCSV           = "text/csv"
	typeXLSX          = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	typeGeoJSON       = "application/geo+json"
	typeSDMXData      = "application/vnd.sdmx.data+json"
	typeSDMXCSV       = "application/vnd.sdmx.data+csv"
	typeSDMXStructure = "application/vnd.sdmx.structure+json"
)

// Names of the forms, as format= has them.
const (
	formJSON     = "json"
	formCSV      = "csv"
	formXLSX     = "xlsx"
	formSDMXCSV  = "sdmx-csv"
	formSDMXJSON = "sdmx-json"
)

// formTypes are the media types by which Accept asks for a form.
var formTypes = map[string]string{
	formJSON: typeJSON, formCSV: typeCSV, formXLSX: typeXLSX, formSDMXCSV: typeSDMXCSV, formSDMXJSON: typeSDMXData,
}

// output is an answer of figures in one form. It is computed when it is written,
// not when the reader has it already.
type output struct {
	etag  string
	kind  string // media type
	file  string // name under which a browser saves it; "" for what is shown
	write func(io.Writer) error
}

// ETag of the figures, see tag.
func (o output) ETag() string { return o.etag }

// CacheControl lets the reader keep the answer, and ask each time whether it still
// holds; nobody in between may.
func (output) CacheControl() string { return "private, no-cache" }

// Filename for saving.
func (o output) Filename() string { return o.file }

// ContentType is the form's media type.
func (o output) ContentType() string { return o.kind }

// Stream computes and writes the answer.
func (o output) Stream(w io.Writer) error { return o.write(w) }

// tag is the entity tag of an answer: a digest of what the figures depend on (the
// stamp: facts, day, definitions, reader's scope) and of what was asked. It is weak
// (RFC 9110, 8.8.1), for zipped forms are not the same to the byte each time.
func tag(stamp, form string, query any) string {
	h := sha256.New()
	text, _ := json.Marshal(query) // of texts and dates: it cannot fail
	fmt.Fprintf(h, "%s\x00%s\x00%s", stamp, form, text)
	return `W/"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15]) + `"`
}

// Stamp changes whenever figures may: with the facts, the day, the definitions,
// the settings, and from one reader's scope to another's. Queries are checked, for
// what cannot be answered has no tag.
func (s *service) Stamp(ctx context.Context, queries ...ValuesQuery) (string, error) {
	for _, q := range queries {
		if err := s.loading(); err != nil {
			return "", err
		}
		if _, err := s.check(q); err != nil {
			return "", err
		}
	}
	p := access.From(ctx)
	// Facts are only added: their number and the latest of each source tell one
	// state of them from another.
	h := sha256.New()
	fmt.Fprintln(h, s.columns.Len(), s.today(), s.definitionsHash(), s.smallCell, p.Can(access.IndicatorsFacts))
	fmt.Fprintf(h, "%q %q\n", p.Governorates, p.Schemes)
	for _, c := range s.columns.Sources() {
		fmt.Fprintln(h, c.Topic, c.Facts, c.LastRecorded.UnixNano(), c.LastOccurred.UnixNano())
	}
	return string(h.Sum(nil)), nil
}

// definitionsHash is a digest of the definitions with the programme's values.
func (s *service) definitionsHash() string {
	s.hashOnce.Do(func() {
		text, _ := json.Marshal(s.defs)
		sum := sha256.Sum256(text)
		s.hash = string(sum[:])
	})
	return s.hash
}

// readAsOf reads as_of: an instant (RFC 3339), or a local day, of which the end is
// meant. The zero time is "everything known". The error is an api.Field.
func readAsOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	wrong := api.Field{Path: "query.as_of", Code: "date", Reason: "a day (2026-03-31, its end in " + Zone + ") or an instant (2026-03-31T18:00:00Z) expected"}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		end, err := dayStart(text, 1)
		if err != nil {
			return time.Time{}, wrong
		}
		at = end.Add(-time.Millisecond) // facts are kept to the millisecond
	}
	if at.Year() < firstYear || at.Year() >= lastYear {
		wrong.Code = "range"
		return time.Time{}, wrong
	}
	return at.UTC(), nil
}

// writeJSON writes an answer as a line of JSON.
func writeJSON(w io.Writer, answer any) error {
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	return to.Encode(answer)
}

// valuesCSV writes a series as CSV (RFC 4180, UTF-8, with a header): one line for
// each figure; what is suppressed has no value.
func valuesCSV(w io.Writer, s Series) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	header := []string{"indicator", "unit", "period"}
	header = append(header, s.By...)
	header = append(header, "value", "suppressed")
	switch s.Measure {
	case MedianDays:
		header = append(header, "p90", "count")
	case Ratio:
		header = append(header, "numerator", "denominator")
	}
	for _, name := range s.By {
		header = append(header, name+"_label_fr", name+"_label_ar")
	}
	header = append(header, "definition_version", "as_of")
	asOf := ""
	if !s.AsOf.IsZero() {
		asOf = s.AsOf.Format(time.RFC3339Nano)
	}
	if err := to.Write(header); err != nil {
		return err
	}
	for _, r := range s.Rows {
		line := []string{plain(s.Code), plain(s.Unit), r.Period}
		for _, name := range s.By {
			line = append(line, plain(r.Dimensions[name]))
		}
		line = append(line, number(r.Value), strconv.FormatBool(r.Suppressed))
		switch s.Measure {
		case MedianDays:
			count := ""
			if r.Count != nil {
				count = strconv.Itoa(*r.Count)
			}
			line = append(line, number(r.P90), count)
		case Ratio:
			line = append(line, number(r.Numerator), number(r.Denominator))
		}
		for _, name := range s.By {
			label := codeLabel(name, r.Dimensions[name])
			line = append(line, plain(label.FR), plain(label.AR))
		}
		line = append(line, strconv.Itoa(s.Version), asOf)
		if err := to.Write(line); err != nil {
			return err
		}
	}
	to.Flush()
	return to.Error()
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// plain keeps a spreadsheet from taking a text for a formula (CWE-1236): codes
// come from events, and events from other systems.
func plain(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r\n") {
		return "'" + text
	}
	return text
}

// valuesOutput answers with one indicator's figures in the form that is asked for.
func valuesOutput(ctx context.Context, s Service, r ValuesRequest) (output, error) {
	stamp, err := s.Stamp(ctx, r.ValuesQuery)
	if err != nil {
		return output{}, err
	}
	out := output{etag: tag(stamp, r.Format+r.Lang, r.ValuesQuery), kind: formTypes[r.Format]}
	var form func(io.Writer, Series) error
	switch r.Format {
	case formCSV:
		out.kind, form = "text/csv; charset=utf-8; header=present", valuesCSV
	case formXLSX:
		out.file = "masar-" + r.Code + ".xlsx"
		out.write = func(w io.Writer) error {
			write, err := s.SeriesWorkbook(ctx, r.ValuesQuery, r.Lang)
			if err != nil {
				return err
			}
			return write(w)
		}
		return out, nil
	case formSDMXCSV, formSDMXJSON:
		out.kind = sdmxTypes[r.Format]
		out.write = func(w io.Writer) error {
			m, err := s.SDMX(ctx, r.ValuesQuery)
			if err != nil {
				return err
			}
			return m.write(w, r.Format)
		}
		return out, nil
	default:
		form = func(w io.Writer, s Series) error { return writeJSON(w, s) }
	}
	out.write = func(w io.Writer) error {
		series, err := s.Values(ctx, r.ValuesQuery)
		if err != nil {
			return err
		}
		return form(w, series)
	}
	return out, nil
}

// summaryOutput answers with the main figures.
func summaryOutput(ctx context.Context, s Service) (output, error) {
	stamp, err := s.Stamp(ctx)
	if err != nil {
		return output{}, err
	}
	return output{etag: tag(stamp, "summary", nil), kind: typeJSON, write: func(w io.Writer) error {
		summary, err := s.Summary(ctx)
		if err != nil {
			return err
		}
		return writeJSON(w, summary)
	}}, nil
}

// catalogueOutput answers with what is defined; its tag is of the text itself, for
// definitions do not change with the facts.
func catalogueOutput(ctx context.Context, s Service) (output, error) {
	catalogue, err := s.Indicators(ctx)
	if err != nil {
		return output{}, err
	}
	return output{etag: tag("", "indicators", catalogue), kind: typeJSON, write: func(w io.Writer) error { return writeJSON(w, catalogue) }}, nil
}
