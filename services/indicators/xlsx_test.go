package indicators

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"masar.local/pkg/access"
)

// workbook reads an answer as a workbook.
func workbook(t *testing.T, body string) *excelize.File {
	t.Helper()
	f, err := excelize.OpenReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// sheetLines are the rows of a sheet as texts, joined with bars.
func sheetLines(t *testing.T, f *excelize.File, sheet string) (out []string) {
	t.Helper()
	rows, err := f.GetRows(sheet, excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		out = append(out, strings.Join(r, "|"))
	}
	return out
}

// TestWorkbook opens the workbook of a quarter as its readers do.
func TestWorkbook(t *testing.T) {
	r := newRig(t, nil)
	s := year(t)
	r.publish(s.events...)
	r.folded(len(s.events))
	status, header, body := r.get(as(access.Statistician), "/api/indicators/workbook?period=2026-Q1&grain=month")
	if status != http.StatusOK || header.Get("Content-Type") != typeXLSX || header.Get("Content-Disposition") != "attachment; filename=masar-indicateurs-2026-Q1.xlsx" {
		t.Fatalf("%d %v", status, header)
	}
	f := workbook(t, body)
	sheets := f.GetSheetList()
	if n := len(r.service.defs) + 3; len(sheets) != n || sheets[0] != "Synthèse" || sheets[n-2] != "Définitions" || sheets[n-1] != "Lecture" {
		t.Fatalf("sheets %v", sheets)
	}
	front := sheetLines(t, f, "Synthèse")
	if !slices.ContainsFunc(front, func(l string) bool {
		return strings.HasPrefix(l, "OG|Personnes suivies|الأشخاص المتابَعون|3|3|2500|0.0012|personnes|")
	}) {
		t.Errorf("the front page: %s", strings.Join(front, "\n"))
	}
	rows := sheetLines(t, f, "Personnes suivies")
	for _, want := range []string{
		"Découpage|Code|Libellé|2026-01|2026-02|2026-03|Période entière",
		"Ensemble|||2|1|1|3",
		"Gouvernorat|TN-71|Gafsa|2|1|0|2",
		"Dispositif × Sexe|soin / F|Soin et accompagnement / Femmes|0|1|1|2",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(rows, "\n"))
		}
	}
	for _, sheet := range sheets {
		layout, err := f.GetPageLayout(sheet)
		if err != nil || *layout.Size != 9 || *layout.Orientation != "landscape" || *layout.FitToWidth != 1 {
			t.Errorf("%s is not for A4: %+v %v", sheet, layout, err)
		}
		if panes, err := f.GetPanes(sheet); err != nil || !panes.Freeze {
			t.Errorf("%s: the head does not stay: %+v %v", sheet, panes, err)
		}
		if footer, err := f.GetHeaderFooter(sheet); err != nil || !strings.Contains(footer.OddFooter, "&P") {
			t.Errorf("%s: no page numbers: %v", sheet, err)
		}
		if !slices.ContainsFunc(f.GetDefinedName(), func(n excelize.DefinedName) bool {
			return n.Name == "_xlnm.Print_Titles" && n.Scope == sheet
		}) {
			t.Errorf("%s: the head is not repeated on each page", sheet)
		}
	}
	if ok, target, err := f.GetCellHyperLink("Synthèse", "B5"); !ok || err != nil || !strings.HasSuffix(target, "!A1") {
		t.Errorf("the front page has no links: %v %s %v", ok, target, err)
	}

	// A manager: small cells are hidden, and the legend says so.
	_, _, body = r.get(as(access.Manager), "/api/indicators/workbook?code=people_followed&period=2026-Q1")
	f = workbook(t, body)
	if got := sheetLines(t, f, "Personnes suivies"); !slices.Contains(got, "Gouvernorat|TN-71|Gafsa|•|•|•|•") {
		t.Errorf("as a manager: %s", strings.Join(got, "\n"))
	}
	if got := strings.Join(sheetLines(t, f, "Lecture"), "\n"); !strings.Contains(got, "•") || !strings.Contains(got, "moins de 5 personnes") || !strings.Contains(got, "masar.candidates.v1") {
		t.Errorf("how to read it: %s", got)
	}

	// Arabic, from right to left.
	_, _, body = r.get(as(access.Manager), "/api/indicators/workbook?code=people_followed&lang=ar")
	f = workbook(t, body)
	for _, sheet := range f.GetSheetList() {
		if view, err := f.GetSheetView(sheet, -1); err != nil || !*view.RightToLeft {
			t.Errorf("%s is from left to right", sheet)
		}
	}
	if got := f.GetSheetList(); !slices.Equal(got, []string{"الملخص", "الأشخاص المتابَعون", "التعريفات", "دليل القراءة"}) {
		t.Errorf("sheets in Arabic: %v", got)
	}

	for query, want := range map[string]string{
		"period=soon": "2026-Q1", "grain=week": "quarter", "code=nothing": "people_followed", "lang=de": "fr or ar",
	} {
		if status, _, body := r.get(as(access.Manager), "/api/indicators/workbook?"+query); status != http.StatusUnprocessableEntity || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// TestOneIndicatorAsWorkbook: ratios and medians keep what they are made of, and
// nothing that came in an event is a formula.
func TestOneIndicatorAsWorkbook(t *testing.T) {
	value, n := 0.25, 3
	rows := []Row{
		{Period: "2026-01", Dimensions: map[string]string{"template": `=HYPERLINK("http://x")`}, Value: &value, P90: &value, Count: &n},
		{Period: "2026-02", Dimensions: map[string]string{"template": "+1"}, Suppressed: true},
	}
	b := newBook("fr")
	d := &Definition{Code: "x", LabelFR: "=1+1", Measure: MedianDays, Unit: "days"}
	b.seriesBook(Series{Code: "x", LabelFR: "=1+1", By: []string{"template"}, Measure: MedianDays, Unit: "days", Rows: rows}, d, Dimensions(), readingNotes{})
	var out strings.Builder
	if err := b.write(&out); err != nil {
		t.Fatal(err)
	}
	f := workbook(t, out.String())
	got := sheetLines(t, f, "Données")[3:]
	want := []string{`2026-01|=HYPERLINK("http://x")|=HYPERLINK("http://x")|0.25|0.25|3`, "2026-02|+1|+1|•|•|•"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, sheet := range f.GetSheetList() {
		rows, _ := f.GetRows(sheet)
		for y, row := range rows {
			for x := range row {
				at, _ := excelize.CoordinatesToCellName(x+1, y+1)
				if formula, _ := f.GetCellFormula(sheet, at); formula != "" {
					t.Errorf("%s!%s is a formula: %s", sheet, at, formula)
				}
			}
		}
	}
}

// TestSheetNames: whatever a name is, Excel takes it, and no two are the same.
func TestSheetNames(t *testing.T) {
	b := newBook("fr")
	seen := map[string]bool{}
	for _, name := range []string{"a/b", "a:b", "A b", strings.Repeat("é", 40), strings.Repeat("é", 41), "'q'", "الأشخاص"} {
		got := b.sheetName(name)
		if len([]rune(got)) > 31 || strings.ContainsAny(got, `[]:*?/\'`) || seen[strings.ToLower(got)] || got == "" {
			t.Errorf("%q becomes %q", name, got)
		}
		seen[strings.ToLower(got)] = true
	}
}

// TestLongWorkbook writes 250,000 rows: they go to a file as they come, so that what
// is held at once stays far below the table.
func TestLongWorkbook(t *testing.T) {
	if testing.Short() || racing {
		t.Skip("too long beside the race detector and with -short; runs without")
	}
	const n = 250_000
	rows := make([]Row, n)
	value := 12345.0
	for i := range rows {
		rows[i] = Row{Period: fmt.Sprintf("2026-%02d-%02d", i%12+1, i%28+1), Dimensions: map[string]string{"governorate": "TN-71", "stage": "P04"}, Value: &value}
	}
	series := Series{Code: "x", By: []string{"governorate", "stage"}, Measure: Count, Unit: "people", Rows: rows}
	d := &Definition{Code: "x", Measure: Count, Unit: "people"}
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	b := newBook("fr")
	b.seriesBook(series, d, Dimensions(), readingNotes{})
	grown := int64(held()) - int64(before)
	runtime.KeepAlive(rows)
	path := filepath.Join(t.TempDir(), "long.xlsx")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.write(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows: %d KiB held before zipping, %d KiB as a file", n, grown>>10, info.Size()>>10)
	if grown > 32<<20 {
		t.Errorf("%d rows hold %d MiB", n, grown>>20)
	}
	// Excelize itself would take half a minute to read it back.
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	sheet, err := archive.Open("xl/worksheets/sheet1.xml")
	if err != nil {
		t.Fatal(err)
	}
	defer sheet.Close()
	text, err := io.ReadAll(sheet)
	if err != nil {
		t.Fatal(err)
	}
	if count := bytes.Count(text, []byte("<row ")); count != n+3 {
		t.Errorf("%d rows, want %d", count, n+3)
	}
	if !bytes.HasSuffix(text, []byte("</worksheet>")) {
		t.Error("the sheet does not end")
	}
}
