package docstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// writer is the one goroutine that writes to the database. Writes that wait
// while it commits share the next transaction, and so the next sync of the disk.
type writer struct {
	db    *sql.DB
	queue chan *job // unbuffered: who has handed over a job gets its result
	watch *watchers

	stop    chan struct{} // closed: take nothing more
	stopped chan struct{} // closed: the goroutine has ended
	once    sync.Once
}

// job is one write.
type job struct {
	do   func(*tx) error
	done chan error
}

// groupLimit bounds the writes that share a transaction, and so how long the
// first of them waits for the last.
const groupLimit = 512

var errClosed = fmt.Errorf("%w: %w: the store is closed", ErrUnavailable, ErrNothingWritten)

func startWriter(ctx context.Context, path string, watch *watchers) (*writer, error) {
	db, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, sqliteError(err)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(sqliteError(err), db.Close())
	}
	w := &writer{
		db: db, watch: watch,
		queue: make(chan *job), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run(&tx{conn: conn, statements: map[string]*sql.Stmt{}})
	return w, nil
}

// do runs f in a transaction and returns when that is on the disk. f must check
// whatever it may refuse before it writes: its refusal does not roll back, for
// the transaction is shared. It may be run again, in a transaction of its own.
// The end of ctx matters only until the writer takes the job: a commit is short,
// and its caller should know how it ended.
func (w *writer) do(ctx context.Context, f func(*tx) error) error {
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	j := &job{do: f, done: make(chan error, 1)}
	select {
	case w.queue <- j:
	case <-ctx.Done():
		return cancelled(ctx)
	case <-w.stop:
		return errClosed
	}
	return <-j.done
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.stopped
	return sqliteError(w.db.Close())
}

func (w *writer) run(t *tx) {
	defer close(w.stopped)
	defer t.close()
	for {
		select {
		case j := <-w.queue:
			w.group(t, j)
		case <-w.stop:
			return
		}
	}
}

// group runs the job and those that wait behind it in one transaction.
func (w *writer) group(t *tx, first *job) {
	var (
		jobs    []*job
		results []error
		broken  bool
	)
	begin := func() error { t.emitted = false; return t.script("BEGIN IMMEDIATE") }
	if err := begin(); err != nil {
		first.done <- fmt.Errorf("%w: %w", ErrNothingWritten, err)
		return
	}
	for next := first; next != nil; {
		err := next.do(t)
		jobs, results = append(jobs, next), append(results, err)
		if broken = errors.Is(err, ErrUnavailable); broken {
			break
		}
		next = w.waiting(len(jobs))
	}
	if !broken {
		w.commit(t, jobs, results)
		return
	}
	// The database failed one of them, and may have thrown away the whole
	// transaction: each again, alone.
	t.rollback()
	for _, j := range jobs {
		err := begin()
		if err == nil {
			err = j.do(t)
		}
		if errors.Is(err, ErrUnavailable) {
			t.rollback()
			j.done <- fmt.Errorf("%w: %w", ErrNothingWritten, err)
			continue
		}
		w.commit(t, []*job{j}, []error{err})
	}
}

// waiting gives the next job that waits, nil when there is none.
func (w *writer) waiting(have int) *job {
	if have >= groupLimit {
		return nil
	}
	for range 2 {
		select {
		case j := <-w.queue:
			return j
		default:
			runtime.Gosched() // let those just answered come again
		}
	}
	return nil
}

// commit ends the transaction and answers its jobs.
func (w *writer) commit(t *tx, jobs []*job, results []error) {
	if err := t.script("COMMIT"); err != nil {
		t.rollback()
		for i, j := range jobs {
			if results[i] == nil {
				results[i] = err
			}
			j.done <- results[i]
		}
		return
	}
	for i, j := range jobs {
		j.done <- results[i]
	}
	if t.emitted {
		w.watch.wake()
	}
}

// tx is the writer's connection inside a transaction. Its errors wrap
// ErrUnavailable.
type tx struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	emitted    bool // events were put into an outbox
}

func (t *tx) prepare(text string) (*sql.Stmt, error) {
	if s, ok := t.statements[text]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, sqliteError(err)
	}
	t.statements[text] = s
	return s, nil
}

// exec runs a prepared statement and gives the rows it changed and the row id of
// what it inserted.
func (t *tx) exec(text string, args ...any) (changed, row int64, err error) {
	s, err := t.prepare(text)
	if err != nil {
		return 0, 0, err
	}
	res, err := s.Exec(args...)
	if err != nil {
		return 0, 0, sqliteError(err)
	}
	if changed, err = res.RowsAffected(); err == nil {
		row, err = res.LastInsertId()
	}
	return changed, row, sqliteError(err)
}

// each calls row for every row of the answer.
func (t *tx) each(text string, args []any, row func(*sql.Rows) error) error {
	s, err := t.prepare(text)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return sqliteError(err)
	}
	return eachRow(rows, func(rows *sql.Rows) error { return sqliteError(row(rows)) })
}

// number runs a statement whose answer is one number.
func (t *tx) number(text string, args ...any) (n int64, err error) {
	err = t.each(text, args, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

// whole undoes what f wrote when it fails.
func (t *tx) whole(f func(*tx) error) error {
	if err := t.script("SAVEPOINT whole"); err != nil {
		return err
	}
	if err := f(t); err != nil {
		return errors.Join(err, t.script("ROLLBACK TO whole", "RELEASE whole"))
	}
	return t.script("RELEASE whole")
}

// script runs statements that are not worth preparing.
func (t *tx) script(texts ...string) error {
	for _, text := range texts {
		if _, err := t.conn.ExecContext(context.Background(), text); err != nil {
			return sqliteError(err)
		}
	}
	return nil
}

// rollback forgets the transaction. It fails only when SQLite has done it itself.
func (t *tx) rollback() { _ = t.script("ROLLBACK") }

func (t *tx) close() {
	for _, s := range t.statements {
		_ = s.Close()
	}
	_ = t.conn.Close()
}

// watchers are who wants to know that events were written.
type watchers struct {
	mu sync.Mutex
	to map[chan struct{}]struct{}
}

func (w *watchers) add() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.to == nil {
		w.to = map[chan struct{}]struct{}{}
	}
	w.to[c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.to, c)
	}
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.to {
		select {
		case c <- struct{}{}:
		default: // it has not taken the last one yet
		}
	}
}
