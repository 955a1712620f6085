package backup

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"masar.local/pkg/docstore"
)

// content is what a backup holds.
type content struct {
	services []string
	docs     map[string][]docstore.Kept
	files    []File
}

func draw(t *rapid.T) content {
	c := content{docs: map[string][]docstore.Kept{}}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"candidates", "employers", "matching"}), 0, 3, rapid.ID[string]).Draw(t, "services") {
		c.services = append(c.services, name)
		for i := range rapid.IntRange(0, 5).Draw(t, "documents") {
			body, err := bson.Marshal(bson.D{{Key: "text", Value: rapid.String().Draw(t, "text")}})
			if err != nil {
				t.Fatal(err)
			}
			k := docstore.Kept{Collection: "things", ID: fmt.Sprint(i), Version: 3, Seq: 2, Body: body}
			for seq := range rapid.Int64Range(0, 2).Draw(t, "events") {
				k.Outbox = append(k.Outbox, docstore.Event{ID: fmt.Sprint(i, seq), Topic: "t", Key: "k", Value: []byte("{}"), Seq: seq, RecordedAt: time.UnixMilli(seq).UTC()})
			}
			c.docs[name] = append(c.docs[name], k)
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "files") {
		c.files = append(c.files, File{Path: fmt.Sprintf("d/%d", i), Mode: fs.FileMode(0o600), Data: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "data")})
	}
	return c
}

func (c content) write(t testing.TB, recipient string) []byte {
	var out bytes.Buffer
	w, err := NewWriter(&out, recipient, Head{Version: "1.2.3", At: time.UnixMilli(5).UTC(), Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.services {
		err := w.Service(name, func(yield func(docstore.Kept, error) bool) {
			for _, k := range c.docs[name] {
				if !yield(k, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range c.files {
		if err := w.File(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(raw []byte, identities ...age.Identity) (c content, err error) {
	c.docs = map[string][]docstore.Kept{}
	_, _, err = Read(bytes.NewReader(raw), identities, Sink{
		Service: func(name string, docs iter.Seq2[docstore.Kept, error]) error {
			c.services = append(c.services, name)
			for k, err := range docs {
				if err != nil {
					return err
				}
				for i := range k.Outbox {
					k.Outbox[i].RecordedAt = k.Outbox[i].RecordedAt.UTC()
				}
				c.docs[name] = append(c.docs[name], k)
			}
			return nil
		},
		File: func(f File) error { c.files = append(c.files, f); return nil },
	})
	return c, err
}

// TestWhatIsWrittenIsRead for any content, open or encrypted.
func TestWhatIsWrittenIsRead(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		c := draw(r)
		got, err := read(c.write(t, ""))
		if err != nil || !reflect.DeepEqual(got, c) {
			r.Fatalf("read %+v, %v; want %+v", got, err, c)
		}
		sealed := c.write(t, identity.Recipient().String())
		if got, err := read(sealed, identity); err != nil || !reflect.DeepEqual(got, c) {
			r.Fatalf("read %+v, %v; want %+v", got, err, c)
		}
		for _, wrong := range [][]age.Identity{nil, {other}} {
			if _, err := read(sealed, wrong...); err == nil {
				r.Fatal("it is opened without the right identity")
			}
		}
	})
}

// TestEveryDamageIsFound flips each byte of a backup and cuts it at each length:
// none is taken for whole with another content.
func TestEveryDamageIsFound(t *testing.T) {
	body, err := bson.Marshal(bson.D{{Key: "name", Value: strings.Repeat("مسار ", 50)}})
	if err != nil {
		t.Fatal(err)
	}
	c := content{
		services: []string{"candidates"},
		docs:     map[string][]docstore.Kept{"candidates": {{Collection: "things", ID: "1", Version: 1, Body: body}}},
		files:    []File{{Path: "key", Mode: 0o600, Data: []byte("secret")}},
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"open": c.write(t, ""), "encrypted": c.write(t, identity.Recipient().String())} {
		for i := range raw {
			if _, err := read(raw[:i], identity); err == nil {
				t.Errorf("%s: the first %d of %d bytes pass for whole", name, i, len(raw))
			}
			damaged := bytes.Clone(raw)
			damaged[i] ^= 1
			got, err := read(damaged, identity)
			if err == nil && !reflect.DeepEqual(got, c) {
				t.Errorf("%s: with byte %d of %d changed it is read as %+v", name, i, len(raw), got)
			}
		}
	}
}

// FuzzRead reads anything without a panic.
func FuzzRead(f *testing.F) {
	c := content{services: []string{"candidates"}, docs: map[string][]docstore.Kept{}}
	f.Add(c.write(f, ""))
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = read(raw) })
}
