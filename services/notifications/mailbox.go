package notifications

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
)

// Mailbox is the carrier of an installation without a mail server: it writes
// each mail as a file that any mail program opens.
//
// A file's name is a function of the message, and the file appears whole
// (written beside, flushed to the disk, renamed), so that a message is in the
// folder exactly once, whatever crashed and when.
type Mailbox struct {
	dir  string
	from mail.Address
}

// OpenMailbox returns the mailbox in the folder, making it if need be. Only the
// owner may read it: the files name people.
func OpenMailbox(dir string) (*Mailbox, error) {
	box := &Mailbox{dir: dir, from: mail.Address{Name: "Masar", Address: "masar@masar.invalid"}}
	if err := os.MkdirAll(box.drafts(), 0o700); err != nil {
		return nil, fmt.Errorf("notifications: mailbox folder: %w", err)
	}
	return box, nil
}

// drafts is where files wait until they are whole.
func (b *Mailbox) drafts() string { return filepath.Join(b.dir, ".drafts") }

// Name is what the message documents record as their channel.
func (b *Mailbox) Name() string { return "mailbox" }

// From is the sender: an address of the reserved domain "invalid", as nothing
// leaves this machine.
func (b *Mailbox) From() mail.Address { return b.from }

// Close has nothing to do.
func (b *Mailbox) Close() error { return nil }

// File is the path of a message's file: by the date of the news, then by id.
func (b *Mailbox) File(m Mail) string {
	return filepath.Join(b.dir, m.News.UTC().Format("20060102T150405Z")+"-"+m.MessageID+".eml")
}

// Deliver writes the mail, unless it is there already.
func (b *Mailbox) Deliver(_ context.Context, m Mail) error {
	msg, err := m.compose()
	if err != nil {
		return err
	}
	file := b.File(m)
	if _, err := os.Stat(file); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrOutage, err)
	}
	// Each try has its own draft: a try that was given up for lost may still be writing.
	draft, err := os.CreateTemp(b.drafts(), m.MessageID+"-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutage, err)
	}
	defer func() { _ = os.Remove(draft.Name()) }() // a leftover of an error; gone after the rename
	_, err = msg.WriteTo(draft)
	if err == nil {
		err = draft.Sync()
	}
	if closed := draft.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(draft.Name(), file)
	}
	if err == nil {
		err = syncDir(b.dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutage, err)
	}
	return nil
}

// syncDir makes a rename in the folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}
