package matching

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"masar.local/pkg/docstore"
)

// Blob names bytes that are too many for one document. They are written once and
// never changed.
type Blob struct {
	Name   string `bson:"name"`
	Parts  int    `bson:"parts"`
	Size   int64  `bson:"size"`
	SHA256 string `bson:"sha256"` // of all bytes, in hex
}

// blobPart is the document of a part of a blob, "<name>/000000".
type blobPart struct {
	Bytes []byte `bson:"bytes"`
}

const blobPartSize = 4 << 20

var blobsSchema = docstore.Schema{Collection: "campaign_parts"}

// blobs keeps blobs.
type blobs struct{ e docstore.Engine }

func blobPartID(name string, part int) string { return fmt.Sprintf("%s/%06d", name, part) }

// write keeps bytes under a name of their own: the digest is part of it, so that
// the same bytes again are kept once and other bytes never take their place.
func (b blobs) write(ctx context.Context, name string, data []byte) (*Blob, error) {
	sum := sha256.Sum256(data)
	out := &Blob{Name: name + "-" + hex.EncodeToString(sum[:8]), Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	for ; len(data) > 0; out.Parts++ {
		n := min(len(data), blobPartSize)
		body, err := bson.Marshal(blobPart{data[:n]})
		if err != nil {
			return nil, fmt.Errorf("matching: encode %s: %w", out.Name, err)
		}
		if err := b.e.File(ctx, blobsSchema.Collection, []docstore.Record{{ID: blobPartID(out.Name, out.Parts), Version: 1, Body: body}}); err != nil {
			return nil, fmt.Errorf("matching: keep %s: %w", out.Name, err)
		}
		data = data[n:]
	}
	return out, nil
}

// read gives back the bytes, checked against their digest.
func (b blobs) read(ctx context.Context, blob *Blob) ([]byte, error) {
	data := make([]byte, 0, blob.Size)
	for i := range blob.Parts {
		r, err := b.e.Get(ctx, blobsSchema.Collection, blobPartID(blob.Name, i))
		if err != nil {
			return nil, fmt.Errorf("matching: read %s: %w", blob.Name, err)
		}
		var part blobPart
		if err := bson.Unmarshal(r.Body, &part); err != nil {
			return nil, fmt.Errorf("matching: part %d of %s is damaged: %w", i, blob.Name, err)
		}
		data = append(data, part.Bytes...)
	}
	if digest(data) != blob.SHA256 {
		return nil, fmt.Errorf("matching: %s is damaged: its digest is another one", blob.Name)
	}
	return data, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (b blobs) writeJSON(ctx context.Context, name string, v any) (*Blob, error) {
	data, err := canonical(v)
	if err != nil {
		return nil, err
	}
	return b.write(ctx, name, data)
}

func (b blobs) readJSON(ctx context.Context, blob *Blob, v any) error {
	data, err := b.read(ctx, blob)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("matching: %s is damaged: %w", blob.Name, err)
	}
	return nil
}

// canonical gives the one JSON of a value: its types have no maps with keys in
// an order of their own, since encoding/json sorts them.
func canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	to := json.NewEncoder(&buf)
	to.SetEscapeHTML(false)
	if err := to.Encode(v); err != nil {
		return nil, fmt.Errorf("matching: encode: %w", err)
	}
	return buf.Bytes(), nil
}

// resultCache keeps the result that was read last: pages of one list come one
// after the other, and a result never changes.
type resultCache struct {
	mu  sync.Mutex
	id  string
	out *Outcome
}

func (c *resultCache) get(id string) *Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id != id {
		return nil
	}
	return c.out
}

func (c *resultCache) put(id string, out *Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.out = id, out
}
