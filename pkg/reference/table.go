package reference

import (
	"bufio"
	"embed"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
)

//go:embed data/*.csv
var dataFiles embed.FS

// table reads an embedded CSV list: lines that begin with "#" are its version
// and source, the first other line names the columns. The files are compiled in
// and tested, so a fault in one cannot happen in a binary that passed its tests.
func table(name string, columns ...string) []map[string]string {
	f, err := dataFiles.Open("data/" + name + ".csv")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	rows, err := readCSV(f, columns...)
	if err != nil {
		panic(fmt.Errorf("reference: embedded list %s: %w", name, err))
	}
	return rows
}

// readCSV reads a comma separated file with a header line into one map a row.
// The columns must all be there; others are read too.
func readCSV(r io.Reader, columns ...string) ([]map[string]string, error) {
	var rows []map[string]string
	err := eachCSV(r, columns, func(head, record []string) error {
		row := make(map[string]string, len(head))
		for i, name := range head {
			row[name] = strings.TrimSpace(record[i])
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// eachCSV is readCSV row by row, for files too long for a map a row. The record
// is overwritten by the next one; the first error ends.
func eachCSV(r io.Reader, columns []string, visit func(head, record []string) error) error {
	buffered := bufio.NewReader(r)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		buffered.Discard(3) // it was just peeked, so it is there
	}
	c := csv.NewReader(buffered)
	c.Comment = '#'
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return fmt.Errorf("no header line: %w", err)
	}
	head = slices.Clone(head)
	for _, name := range columns {
		if !slices.Contains(head, name) {
			return fmt.Errorf("no column %q in the header %q", name, head)
		}
	}
	for {
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(head, record); err != nil {
			return err
		}
	}
}
