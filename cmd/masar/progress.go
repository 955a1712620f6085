package main

import (
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and silent elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress makes a bar towards total; -1 means that the end is not known.
func newProgress(total int64, what string) *progress {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &progress{}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30),
		progressbar.OptionShowIts(),
	}
	return &progress{progressbar.NewOptions64(total, options...)}
}

func (p *progress) Add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // a terminal that does not take it is no reason to stop
	}
}

// Set moves the bar of a file whose size is known to the bytes read.
func (p *progress) Set(n int64) {
	if p.bar != nil && p.bar.GetMax64() > 0 {
		_ = p.bar.Set64(n)
	}
}

// Count moves a bar without a known end to the rows done.
func (p *progress) Count(n int) {
	if p.bar != nil && p.bar.GetMax64() <= 0 {
		_ = p.bar.Set(n)
	}
}

// Clear makes room for a line of report.
func (p *progress) Clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) Finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// measuredFile counts what is read of a file.
type measuredFile struct {
	io.ReadCloser
	read atomic.Int64
}

func (m *measuredFile) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.read.Add(int64(n))
	return n, err
}

// Count is the bytes read so far.
func (m *measuredFile) Count() int64 { return m.read.Load() }

// measured opens a file and its size, -1 when it is not known.
func measured(name string) (*measuredFile, int64, error) {
	in, err := openInput(name)
	if err != nil {
		return nil, 0, err
	}
	size := int64(-1)
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	return &measuredFile{ReadCloser: in}, size, nil
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
