package allocation

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// LineError says in which line of a file what is wrong.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives what is wrong, without the line.
func (e *LineError) Unwrap() error { return e.Err }

// maxLine is the longest line read, in bytes: a matrix of 3,000 times 3,000 may
// stand in one line.
const maxLine = 64 << 20

// lines scans a text file and knows where it is.
type lines struct {
	scan   *bufio.Scanner
	number int
	fields [][]byte // of the line at hand
}

func newLines(r io.Reader) *lines {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	return &lines{scan: scan}
}

// next goes to the next line with anything in it. It is false at the end and
// where reading fails: see end.
func (l *lines) next() bool {
	for l.scan.Scan() {
		l.number++
		l.fields = l.fields[:0]
		rest := l.scan.Bytes()
		for {
			rest = bytes.TrimLeft(rest, " \t\r")
			if len(rest) == 0 {
				break
			}
			end := bytes.IndexAny(rest, " \t\r")
			if end < 0 {
				end = len(rest)
			}
			l.fields = append(l.fields, rest[:end])
			rest = rest[end:]
		}
		if len(l.fields) > 0 {
			return true
		}
	}
	return false
}

// end is the error that ended the file early, or nil.
func (l *lines) end() error {
	err := l.scan.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		l.number++
		return l.errorf("longer than %d bytes", maxLine)
	}
	return err
}

func (l *lines) errorf(format string, args ...any) error {
	return &LineError{Line: l.number, Err: fmt.Errorf(format, args...)}
}

// integers reads the line's fields from the given one on as whole numbers.
func (l *lines) integers(from int, into []int64) error {
	if len(l.fields)-from != len(into) {
		return l.errorf("%q line has %d numbers, not %d", l.fields[0], len(l.fields)-from, len(into))
	}
	for i := range into {
		x, err := l.integer(from + i)
		if err != nil {
			return err
		}
		into[i] = x
	}
	return nil
}

func (l *lines) integer(i int) (int64, error) {
	field := l.fields[i]
	if x, ok := short(field); ok {
		return x, nil
	}
	x, err := strconv.ParseInt(string(field), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, l.errorf("%.40q does not fit into 64 bits", field)
	}
	if err != nil {
		return 0, l.errorf("%.40q is not a whole number", field)
	}
	return x, nil
}

// short reads numbers of up to 18 digits, which is what files consist of, without
// making a string of them.
func short(field []byte) (int64, bool) {
	digits, negative := field, false
	if field[0] == '-' {
		digits, negative = field[1:], true
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	x := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		x = 10*x + int64(c-'0')
	}
	if negative {
		x = -x
	}
	return x, true
}

// Read reads a network in the format that the file's first character tells: a
// number begins an OR-Library assignment, anything else is DIMACS.
func Read(r io.Reader) (*Network, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for skip := 0; ; skip++ {
		if ahead, err := in.Peek(skip + 1); err != nil {
			return ReadDIMACS(in) // which says what is missing
		} else if c := ahead[skip]; c >= '0' && c <= '9' {
			return ReadAssignment(in)
		} else if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return ReadDIMACS(in)
		}
	}
}
