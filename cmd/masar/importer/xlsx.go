package importer

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// Limits of a workbook. Parts over unzippedInMemory are unzipped to temporary
// files and read from there as a stream.
const (
	unzippedInMemory = 1 << 20
	unzippedAtMost   = 2 << 30
)

// xlsxTable reads the rows of one sheet as a stream.
type xlsxTable struct {
	book     *excelize.File
	rows     *excelize.Rows
	line     int
	date1904 bool
}

func openXLSX(r io.Reader, sheet string) (*xlsxTable, error) {
	book, err := excelize.OpenReader(r, excelize.Options{
		UnzipXMLSizeLimit: unzippedInMemory, UnzipSizeLimit: unzippedAtMost, RawCellValue: true,
	})
	if err != nil {
		return nil, fmt.Errorf("le fichier n'est pas un classeur Excel (.xlsx) | الملف ليس مصنف Excel (.xlsx): %w", err)
	}
	t := &xlsxTable{book: book}
	sheets := book.GetSheetList()
	switch {
	case len(sheets) == 0:
		return nil, errors.Join(errors.New("le classeur n'a pas de feuille | ليس في المصنف أي ورقة"), t.close())
	case sheet == "":
		sheet = sheets[0]
	}
	if props, err := book.GetWorkbookProps(); err == nil && props.Date1904 != nil {
		t.date1904 = *props.Date1904
	}
	if t.rows, err = book.Rows(sheet); err != nil {
		return nil, errors.Join(fmt.Errorf("la feuille %[1]q ne peut pas être lue ; le classeur contient %[2]s | تعذرت قراءة الورقة %[1]q؛ في المصنف %[2]s: %[3]w", sheet, strings.Join(sheets, ", "), err), t.close())
	}
	return t, nil
}

// next reads one row that is not empty.
func (t *xlsxTable) next() (int, []string, *Problem, error) {
	for t.rows.Next() {
		t.line++
		cells, err := t.rows.Columns()
		if err != nil {
			return t.line, nil, nil, fmt.Errorf("ligne %[1]d de la feuille | السطر %[1]d من الورقة: %[2]w", t.line, err)
		}
		if !blank(cells) {
			return t.line, cells, nil, nil
		}
	}
	if err := t.rows.Error(); err != nil {
		return t.line, nil, nil, fmt.Errorf("après la ligne %[1]d de la feuille | بعد السطر %[1]d من الورقة: %[2]w", t.line, err)
	}
	return 0, nil, nil, io.EOF
}

// serial reads a date that Excel stores as a count of days.
func (t *xlsxTable) serial(value string) (string, bool) {
	days, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(days) || days < 1 || days >= 2958466 { // year 10000
		return "", false
	}
	days = math.Floor(days) // the hour does not matter
	if !t.date1904 && days == 60 {
		return "", false // 29 February 1900, which Excel believes in
	}
	at, err := excelize.ExcelDateToTime(days, t.date1904)
	if err != nil {
		return "", false
	}
	return at.Format(time.DateOnly), true
}

func (t *xlsxTable) notices() []string { return nil }

func (t *xlsxTable) close() error {
	var err error
	if t.rows != nil {
		err = t.rows.Close()
	}
	return errors.Join(err, t.book.Close())
}
