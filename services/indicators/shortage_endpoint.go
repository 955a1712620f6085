package indicators

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"masar.local/pkg/access"
	"masar.local/pkg/api"
	"masar.local/pkg/reference"
	"masar.local/services/indicators/shortage"
)

// ShortageEndpoints are the use cases of shortage occupations as endpoints.
type ShortageEndpoints struct {
	Shortage api.Endpoint[shortageRequest, output] // a Shortage
	Import   api.Endpoint[ShortageImport, ShortageImported]
	Datasets api.Endpoint[struct{}, []ShortageDataset]
	Bulletin api.Endpoint[bulletinRequest, output] // a Bulletin
}

func newShortageEndpoints(s Service) ShortageEndpoints {
	return ShortageEndpoints{
		Shortage: func(ctx context.Context, r shortageRequest) (output, error) {
			answer, err := s.Shortage(ctx, r.ShortageQuery)
			if err != nil {
				return output{}, err
			}
			out := output{etag: tag("shortage", r.Format, answer), kind: formTypes[r.Format], write: func(w io.Writer) error { return writeJSON(w, answer) }}
			if r.Format == formCSV {
				out.write = func(w io.Writer) error { return writeShortageCSV(w, answer.Tables) }
				out.kind += "; charset=utf-8; header=present"
				out.file = "metiers-en-tension-" + string(answer.Zone) + ".csv"
			}
			return out, nil
		},
		Import:   s.ImportShortage,
		Datasets: nothingAsked(s.ShortageDatasets),
		Bulletin: func(ctx context.Context, r bulletinRequest) (output, error) {
			b, err := s.Bulletin(ctx, r.BulletinQuery)
			if err != nil {
				return output{}, err
			}
			out := output{etag: tag("bulletin", r.Format+r.Lang, b), kind: formTypes[r.Format], write: func(w io.Writer) error { return writeJSON(w, b) }}
			switch r.Format {
			case formHTML:
				out.write = func(w io.Writer) error { return writeBulletin(w, b, r.Lang) }
				out.kind = typeHTML + "; charset=utf-8"
			case formCSV:
				out.write = func(w io.Writer) error { return writeShortageCSV(w, b.Tables) }
				out.kind += "; charset=utf-8; header=present"
				out.file = fmt.Sprintf("bulletin-%s-%s.csv", b.Zone, b.Quarter)
			}
			return out, nil
		},
	}
}

// The largest file that is imported, in base64 within JSON.
const maxImport = 64 << 20

func mountShortage(r *api.Router, e ShortageEndpoints) {
	api.Handle(r, "GET /api/indicators/shortage", access.IndicatorsRead, e.Shortage, api.Answers[Shortage](typeCSV))
	api.Handle(r, "POST /api/indicators/shortage/imports", access.IndicatorsImport, e.Import, api.MaxBody(maxImport), api.Timeout(0))
	api.Handle(r, "GET /api/indicators/shortage/imports", access.IndicatorsRead, e.Datasets)
	api.Handle(r, "GET /api/indicators/shortage/bulletin", access.IndicatorsRead, e.Bulletin, api.Answers[Bulletin](typeHTML, typeCSV))
}

// The bulletin is also a page.
const (
	formHTML = "html"
	typeHTML = "text/html"
)

type shortageRequest struct {
	ShortageQuery
	Format string   `query:"format"` // "json" (default) or "csv"
	Accept []string `header:"Accept" json:"-"`
}

// Validate checks the format.
func (r *shortageRequest) Validate() (err error) {
	r.Format, err = form(r.Format, r.Accept, formJSON, formCSV)
	return err
}

type bulletinRequest struct {
	BulletinQuery
	Lang   string   `query:"lang"`   // of the page: "fr" (default) or "ar"
	Format string   `query:"format"` // "html" (default), "json" or "csv"
	Accept []string `header:"Accept" json:"-"`
}

// Validate checks the format and the language.
func (r *bulletinRequest) Validate() error {
	switch r.Format {
	case "":
		r.Format = formHTML
		for _, accept := range r.Accept {
			for _, f := range []string{formJSON, formCSV} {
				if strings.HasPrefix(accept, formTypes[f]) {
					r.Format = f
				}
			}
		}
	case formHTML, formJSON, formCSV:
	default:
		return api.Invalid(api.Field{Path: "query.format", Code: "unknown", Reason: "html, json or csv expected"})
	}
	switch r.Lang {
	case "":
		r.Lang = "fr"
	case "fr", "ar":
	default:
		return api.Invalid(api.Field{Path: "query.lang", Code: "unknown", Reason: "fr or ar expected"})
	}
	return nil
}

// writeShortageCSV writes tables as CSV (RFC 4180, UTF-8, with a header), a line
// for each occupation of each.
func writeShortageCSV(w io.Writer, tables []ShortageTable) error {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	header := []string{
		"zone", "nomenclature", "period", "occupation", "label", "class", "index", "published",
		"c1", "c2", "c3", "c3_high", "z1", "z2", "z3", "class_before", "index_before", "period_before",
	}
	for _, name := range shortage.Complementary {
		header = append(header, "level_"+name)
	}
	for _, m := range shortage.SeriesMeasures {
		header = append(header, string(m))
	}
	header = append(header, "campaign_posts", "campaign_filled", "one_more_candidate", "one_more_post", "rome", "sources", "flags", "method")
	if err := to.Write(header); err != nil {
		return err
	}
	for _, t := range tables {
		for _, r := range t.Rows {
			line := []string{
				string(t.Zone), string(t.Nomenclature), string(t.Period), r.Code, plain(r.Label), whole(r.Class), number(r.T), strconv.FormatBool(r.Published),
				number(r.Components[0]), number(r.Components[1]), number(r.Components[2]), number(r.C3High),
				number(r.Z[0]), number(r.Z[1]), number(r.Z[2]),
			}
			if b := r.Before; b != nil {
				line = append(line, whole(b.Class), number(b.T), string(b.Period))
			} else {
				line = append(line, "", "", "")
			}
			for _, level := range r.Levels {
				line = append(line, whole(level))
			}
			for _, m := range shortage.SeriesMeasures {
				if v, ok := r.Counts[m]; ok {
					line = append(line, number(&v))
				} else {
					line = append(line, "")
				}
			}
			if len(r.Scarcity) > 0 {
				var sum Scarcity
				for _, s := range r.Scarcity {
					sum.Posts, sum.Filled = sum.Posts+s.Posts, sum.Filled+s.Filled
					sum.OneMoreCandidate, sum.OneMorePost = max(sum.OneMoreCandidate, s.OneMoreCandidate), max(sum.OneMorePost, s.OneMorePost)
				}
				for _, n := range []int64{sum.Posts, sum.Filled, sum.OneMoreCandidate, sum.OneMorePost} {
					line = append(line, strconv.FormatInt(n, 10))
				}
			} else {
				line = append(line, "", "", "", "")
			}
			var flags []string
			for _, f := range r.Flags {
				flags = append(flags, string(f))
			}
			line = append(line, strings.Join(r.ROME, " "), strings.Join(r.Sources, " "), strings.Join(flags, " "), t.Method)
			if err := to.Write(line); err != nil {
				return err
			}
		}
	}
	to.Flush()
	return to.Error()
}

// occupationLabel is the name of an occupation: that of the imported tables, or of
// the list of ROME that is part of the program.
func occupationLabel(book *shortage.Book, o shortage.Occupation) string {
	if label := book.Label(o); label != "" {
		return label
	}
	if job, ok := reference.Occupation(o.Code); ok && o.Nomenclature == shortage.ROME {
		return job.LabelFR
	}
	return ""
}
