// Package backup keeps what a platform held at one moment in one file.
//
// The file is a stream of BSON documents, compressed with gzip and, for a
// recipient, encrypted with age (https://age-encryption.org/v1): a head, for each
// service its documents (see docstore.Kept) with their outboxes and its journal,
// files of the platform beside them, and a tail that counts them. What has no tail
// is no backup. It does not depend on the engine: what came from SQLite goes into
// MongoDB as well.
package backup

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"filippo.io/age"
	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

const (
	format   = 1
	maxFrame = 64 << 20 // a document of MongoDB ends at 16 MiB
)

// Head is the beginning of a backup.
type Head struct {
	Format  int       `bson:"masar_backup"`
	Version string    `bson:"version"` // of the program that wrote it
	At      time.Time `bson:"at"`      // the moment whose state it is: the recovery point
	Exact   bool      `bson:"exact"`   // see docstore.Cut
}

// File is a file of the platform that is no database, such as a key.
type File struct {
	Path string      `bson:"path"` // relative, with slashes
	Mode fs.FileMode `bson:"mode"`
	Data []byte      `bson:"data"`
}

// Tail counts what a backup holds.
type Tail struct {
	Documents map[string]int64 `bson:"documents"` // by service
	Waiting   int64            `bson:"waiting"`   // events in outboxes
	Files     int64            `bson:"files"`
}

// frame is one of the documents of the stream.
type frame struct {
	Head     *Head          `bson:"head,omitempty"`
	Service  string         `bson:"service,omitempty"` // of the documents that follow
	Document *docstore.Kept `bson:"document,omitempty"`
	File     *File          `bson:"file,omitempty"`
	Tail     *Tail          `bson:"tail,omitempty"`
}

// Writer writes a backup. What it is given comes in the order of its methods.
type Writer struct {
	to     *gzip.Writer
	sealed io.WriteCloser // nil: not encrypted
	tail   Tail
}

// NewWriter begins a backup, for who holds the identity of the recipient ("age1...";
// "": for who has the file).
func NewWriter(to io.Writer, recipient string, head Head) (*Writer, error) {
	w := &Writer{tail: Tail{Documents: map[string]int64{}}}
	if recipient != "" {
		r, err := age.ParseX25519Recipient(recipient)
		if err != nil {
			return nil, fmt.Errorf("backup: the recipient is not an age public key (age1...): %w", err)
		}
		if w.sealed, err = age.Encrypt(to, r); err != nil {
			return nil, fmt.Errorf("backup: %w", err)
		}
		to = w.sealed
	}
	w.to, _ = gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is one
	head.Format = format
	return w, w.frame(frame{Head: &head})
}

func (w *Writer) frame(f frame) error {
	raw, err := bson.Marshal(f)
	if err == nil {
		_, err = w.to.Write(raw)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Service writes the documents of one service.
func (w *Writer) Service(name string, docs iter.Seq2[docstore.Kept, error]) error {
	w.tail.Documents[name] = 0
	if err := w.frame(frame{Service: name}); err != nil {
		return err
	}
	for k, err := range docs {
		if err != nil {
			return fmt.Errorf("backup of %s: %w", name, err)
		}
		if err := w.frame(frame{Document: &k}); err != nil {
			return err
		}
		w.tail.Documents[name]++
		w.tail.Waiting += int64(len(k.Outbox))
	}
	return nil
}

// File writes a file.
func (w *Writer) File(f File) error {
	w.tail.Files++
	return w.frame(frame{File: &f})
}

// Close ends the backup; without it there is none.
func (w *Writer) Close() (Tail, error) {
	err := w.frame(frame{Tail: &w.tail})
	if err == nil {
		err = w.to.Close()
	}
	if err == nil && w.sealed != nil {
		err = w.sealed.Close()
	}
	return w.tail, err
}

// Sink takes what a backup holds. A method that is nil leaves it out.
type Sink struct {
	Service func(name string, docs iter.Seq2[docstore.Kept, error]) error // called for each service; takes all documents or fails
	File    func(File) error
}

// Read reads a backup to its end and checks it; identities open an encrypted one. A
// file that is damaged or not whole is an error, after what could be read of it was
// given to the sink: read it once without a sink first.
func Read(from io.Reader, identities []age.Identity, sink Sink) (head Head, tail Tail, err error) {
	buffered := bufio.NewReaderSize(from, 1<<20)
	if start, _ := buffered.Peek(3); string(start) == "age" {
		if len(identities) == 0 {
			return head, tail, errors.New("backup: it is encrypted: give the identity of its recipient")
		}
		opened, err := age.Decrypt(buffered, identities...)
		if err != nil {
			return head, tail, fmt.Errorf("backup: it cannot be opened with this identity: %w", err)
		}
		buffered = bufio.NewReader(opened)
	}
	unzipped, err := gzip.NewReader(buffered)
	if err != nil {
		return head, tail, fmt.Errorf("backup: this is no backup: %w", err)
	}
	r := &reader{from: bufio.NewReaderSize(unzipped, 1<<20)}
	f, err := r.next()
	switch {
	case err != nil:
		return head, tail, err
	case f.Head == nil:
		return head, tail, errors.New("backup: this is no backup: it has no head")
	case f.Head.Format != format:
		return *f.Head, tail, fmt.Errorf("backup: it has format %d, this program (%d) does not read it: take the version %s", f.Head.Format, format, f.Head.Version)
	}
	head = *f.Head
	head.At = head.At.UTC()
	counted := Tail{Documents: map[string]int64{}}
	f, err = r.next()
	for {
		switch {
		case err != nil:
			return head, tail, err
		case f.Service != "":
			name := f.Service
			if _, twice := counted.Documents[name]; twice {
				return head, tail, fmt.Errorf("backup: %s is in it twice", name)
			}
			counted.Documents[name] = 0
			docs := func(yield func(docstore.Kept, error) bool) {
				for {
					if f, err = r.next(); err != nil {
						yield(docstore.Kept{}, err)
						return
					}
					if f.Document == nil {
						return
					}
					counted.Documents[name]++
					counted.Waiting += int64(len(f.Document.Outbox))
					if !yield(*f.Document, nil) {
						return
					}
				}
			}
			take := sink.Service
			if take == nil {
				take = pass
			}
			if failed := take(name, docs); failed != nil {
				return head, tail, failed
			}
			continue
		case f.File != nil:
			counted.Files++
			if sink.File != nil {
				if err := sink.File(*f.File); err != nil {
					return head, tail, err
				}
			}
		case f.Tail != nil:
			tail = *f.Tail
			if fmt.Sprint(tail) != fmt.Sprint(counted) {
				return head, tail, fmt.Errorf("backup: it should hold %v and holds %v", tail, counted)
			}
			// To the end: only there is the checksum compared.
			if _, err := io.Copy(io.Discard, r.from); err != nil {
				return head, tail, fmt.Errorf("backup: it is damaged: %w", err)
			}
			return head, tail, nil
		default:
			return head, tail, errors.New("backup: it is damaged: a part is none")
		}
		f, err = r.next()
	}
}

func pass(_ string, docs iter.Seq2[docstore.Kept, error]) error {
	for _, err := range docs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Identities reads age identities (private keys), as age-keygen writes them.
func Identities(from io.Reader) ([]age.Identity, error) {
	found, err := age.ParseIdentities(from)
	if err != nil {
		return nil, errors.New("backup: the file of the identity holds none (AGE-SECRET-KEY-1...)") // the cause would quote it
	}
	return found, nil
}

type reader struct{ from *bufio.Reader }

func (r *reader) next() (f frame, err error) {
	size, err := r.from.Peek(4)
	if err != nil {
		return f, fmt.Errorf("backup: it ends too early: it was not written to its end, or not copied whole: %w", err)
	}
	n := binary.LittleEndian.Uint32(size)
	if n < 5 || n > maxFrame {
		return f, errors.New("backup: it is damaged: a part has an impossible size")
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r.from, raw); err != nil {
		return f, fmt.Errorf("backup: it ends too early or is damaged: %w", err)
	}
	if err := bson.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("backup: it is damaged: %w", err)
	}
	return f, nil
}

// Restore reads a backup into the engines, by service, which must all be in it and
// hold no documents; the sink's other parts are as for Read.
func Restore(ctx context.Context, from io.Reader, identities []age.Identity, into map[string]docstore.Engine, file func(File) error) (Head, Tail, error) {
	found := map[string]bool{}
	head, tail, err := Read(from, identities, Sink{
		Service: func(name string, docs iter.Seq2[docstore.Kept, error]) error {
			e, ok := into[name]
			if !ok {
				return fmt.Errorf("backup: it holds the service %q, for which no store is given", name)
			}
			found[name] = true
			if _, err := docstore.Fill(ctx, e, docs); err != nil {
				return fmt.Errorf("restoring %s: %w", name, err)
			}
			return nil
		},
		File: file,
	})
	for name := range into {
		if err == nil && !found[name] {
			err = fmt.Errorf("backup: it does not hold the service %s", name)
		}
	}
	return head, tail, err
}
