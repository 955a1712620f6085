package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"masar.local/pkg/backup"
	"masar.local/pkg/docstore"
)

// places is where a platform keeps its documents: a data directory of `masar up`,
// or one database for each service.
type places struct {
	Data string `default:"data" env:"MASAR_DATA_DIR" help:"Data directory of a masar up; not used where MASAR_STORE_URI_CANDIDATES, _EMPLOYERS, _MATCHING, _INDICATORS and _NOTIFICATIONS give the services' databases." placeholder:"DIR"`
}

// stores gives the address of each service's database, and whether they are files
// of the data directory.
func (p places) stores() (uris map[string]string, embedded bool, err error) {
	uris = map[string]string{}
	var missing []string
	for _, name := range serviceNames() {
		setting := "MASAR_STORE_URI_" + strings.ToUpper(name)
		if uri := os.Getenv(setting); uri != "" {
			uris[name] = uri
		} else {
			missing = append(missing, setting)
		}
	}
	switch {
	case len(missing) == 0:
		return uris, false, nil
	case len(uris) > 0:
		return nil, false, fmt.Errorf("all services or none: %s is not set", strings.Join(missing, ", "))
	}
	for _, name := range serviceNames() {
		uris[name] = "sqlite:" + filepath.Join(p.Data, "store", name+".db")
	}
	return uris, true, nil
}

const backupSuffix = ".backup"

// backupCmd writes what the platform holds at one moment into one file, while it
// runs.
type backupCmd struct {
	places
	To        string `required:"" env:"MASAR_BACKUP_DIR" help:"Directory for the file masar-TIME.backup." placeholder:"DIR"`
	Recipient string `env:"MASAR_BACKUP_RECIPIENT" help:"Public key (age1..., of age-keygen) of who may open it. Without it, whoever has the file can." placeholder:"KEY"`
	Keep      int    `default:"0" env:"MASAR_BACKUP_KEEP" help:"How many of the newest to keep in the directory; 0: all." placeholder:"N"`
}

func (c backupCmd) Run(ctx context.Context) error {
	began := time.Now()
	uris, embedded, err := c.stores()
	if err != nil {
		return err
	}
	names := serviceNames()
	if embedded {
		if _, err := os.Stat(filepath.Join(c.Data, "store")); err != nil {
			return fmt.Errorf("%s is no data directory of a masar up: %w", c.Data, err)
		}
	}
	if err := os.MkdirAll(c.To, 0o700); err != nil {
		return err
	}
	ordered := make([]string, len(names))
	for i, name := range names {
		ordered[i] = uris[name]
	}
	cut, err := docstore.OpenCut(ctx, ordered...)
	if err != nil {
		return err
	}
	defer cut.Close()

	path := filepath.Join(c.To, "masar-"+cut.At.Format("20060102T150405Z")+backupSuffix)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	partial, err := os.OpenFile(path+".partial", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name()) // where it did not become the backup
	defer partial.Close()
	w, err := backup.NewWriter(partial, c.Recipient, backup.Head{Version: version(), At: cut.At, Exact: cut.Exact})
	if err != nil {
		return err
	}
	for i, name := range names {
		if err := w.Service(name, cut.Documents(ctx, i)); err != nil {
			return err
		}
	}
	if embedded {
		if err := files(c.Data, w.File); err != nil {
			return err
		}
	}
	tail, err := w.Close()
	if err == nil {
		err = partial.Sync()
	}
	if err != nil {
		return err
	}
	size, err := partial.Stat()
	if err != nil {
		return err
	}
	if err := os.Rename(partial.Name(), path); err != nil {
		return err
	}
	if dir, err := os.Open(c.To); err == nil { // the name, too, survives a power cut
		err = errors.Join(dir.Sync(), dir.Close())
		if err != nil {
			return err
		}
	}
	fmt.Printf("%s: %s; %.1f MB in %s\n", path, held(cut.At, cut.Exact, tail), float64(size.Size())/1e6, time.Since(began).Round(100*time.Millisecond))
	return prune(c.To, c.Keep)
}

// held says what a backup holds.
func held(at time.Time, exact bool, tail backup.Tail) string {
	documents := int64(0)
	for _, n := range tail.Documents {
		documents += n
	}
	text := fmt.Sprintf("the state of %s, %d documents of %d services, %d events that wait, %d files",
		at.Format("2006-01-02 15:04:05 UTC"), documents, len(tail.Documents), tail.Waiting, tail.Files)
	if !exact {
		text += "; NOT one moment: this server gives no snapshots (a replica set does), and what was written meanwhile is there or not"
	}
	return text
}

// files gives the files of a data directory that are to be kept: keys, reference
// data, mail that was written down. Topics are refilled from the journals, and
// metrics and logs tell of the past machine.
func files(data string, each func(backup.File) error) error {
	skip := []string{"store", "kafka", "metrics", "masar.log", "run.json"}
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(data, path)
		switch {
		case err != nil:
			return err
		case slices.Contains(skip, relative) && d.IsDir():
			return filepath.SkipDir
		case !d.Type().IsRegular() || slices.Contains(skip, relative) || strings.HasSuffix(path, ".tmp"):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return each(backup.File{Path: filepath.ToSlash(relative), Mode: info.Mode().Perm(), Data: content})
	})
}

// prune removes all but the newest backups: their names sort by time.
func prune(dir string, keep int) error {
	found, err := filepath.Glob(filepath.Join(dir, "masar-*"+backupSuffix))
	if err != nil || keep <= 0 || len(found) <= keep {
		return err
	}
	slices.Sort(found)
	for _, old := range found[:len(found)-keep] {
		if err := os.Remove(old); err != nil {
			return err
		}
		fmt.Printf("%s: removed, %d are kept\n", old, keep)
	}
	return nil
}

// restoreCmd reads a backup into an empty place. Nothing may run there.
type restoreCmd struct {
	places
	File     string `arg:"" help:"The backup, or a directory whose newest is taken."`
	Identity string `env:"MASAR_BACKUP_IDENTITY_FILE" help:"File with the private key (AGE-SECRET-KEY-1...) that opens it." placeholder:"FILE"`
	Aside    bool   `help:"Rename a data directory that is not empty to DIR.before-TIME first, instead of refusing."`
	Check    bool   `help:"Only read it to its end and say what it holds."`
}

func (c restoreCmd) Run(ctx context.Context) error {
	began := time.Now()
	if info, err := os.Stat(c.File); err == nil && info.IsDir() {
		found, err := filepath.Glob(filepath.Join(c.File, "masar-*"+backupSuffix))
		if err != nil || len(found) == 0 {
			return errors.Join(err, fmt.Errorf("%s holds no backup", c.File))
		}
		c.File = slices.Max(found)
	}
	var identities []age.Identity
	if c.Identity != "" {
		f, err := os.Open(c.Identity)
		if err != nil {
			return err
		}
		identities, err = backup.Identities(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	// All of it is read before anything is written.
	head, tail, err := backup.Read(f, identities, backup.Sink{})
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.Check {
		fmt.Printf("%s: whole; %s\n", c.File, held(head.At, head.Exact, tail))
		return nil
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}

	uris, embedded, err := c.stores()
	if err != nil {
		return err
	}
	at := c.Data + ".restoring"
	if embedded {
		if there, err := os.ReadDir(c.Data); err == nil && len(there) > 0 && !c.Aside {
			return fmt.Errorf("the data directory %s is not empty: stop its platform and move it away (--aside does), or name another", c.Data)
		}
		if i, err := (target{Data: c.Data}).find(); err == nil && i.PID != os.Getpid() {
			return fmt.Errorf("a platform runs on %s: stop it first", c.Data)
		}
		if err := os.RemoveAll(at); err != nil { // of an attempt that was broken off
			return err
		}
		uris, _, _ = places{Data: at}.stores()
	}
	into := map[string]docstore.Engine{}
	closeAll := func() (err error) {
		for _, e := range into {
			err = errors.Join(err, e.Close())
		}
		clear(into)
		return err
	}
	defer closeAll()
	for name, uri := range uris {
		e, err := docstore.Open(ctx, uri)
		if err != nil {
			return fmt.Errorf("store of %s: %w", name, err)
		}
		into[name] = e
	}
	if !embedded {
		if err := empty(ctx, uris); err != nil {
			return err
		}
	}
	_, _, err = backup.Restore(ctx, f, identities, into, func(f backup.File) error {
		if !embedded {
			return nil // settings and secrets of the cluster are not in a backup
		}
		path, err := filepath.Localize(f.Path)
		if err != nil {
			return fmt.Errorf("the backup holds the file %q: %w", f.Path, err)
		}
		path = filepath.Join(at, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, f.Data, f.Mode)
	})
	err = errors.Join(err, closeAll())
	if err == nil && embedded {
		if os.Remove(c.Data) != nil && c.Aside { // it is there, and not empty
			err = os.Rename(c.Data, c.Data+".before-"+began.UTC().Format("20060102T150405Z"))
		}
		if err == nil {
			err = os.Rename(at, c.Data)
		}
	}
	if err != nil {
		return err
	}
	fmt.Printf("restored in %s: %s\nNow start the services, then: masar republish, masar verify\n", time.Since(began).Round(100*time.Millisecond), held(head.At, head.Exact, tail))
	return nil
}

// empty fails where one of the databases holds a document.
func empty(ctx context.Context, uris map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(uris)) {
		cut, err := docstore.OpenCut(ctx, uris[name])
		if err != nil {
			return err
		}
		for k, err := range cut.Documents(ctx, 0) {
			if err == nil {
				err = fmt.Errorf("the database of %s is not empty (%s): stop the services and name empty databases, or drop what is in these", name, k.Collection)
			}
			return errors.Join(err, cut.Close())
		}
		if err := cut.Close(); err != nil {
			return err
		}
	}
	return nil
}
