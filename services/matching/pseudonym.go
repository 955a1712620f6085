package matching

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"masar.local/pkg/docstore"
)

// pseudonyms turn a candidate's id into what one employer sees, and back. Each
// employer sees another id of the same person, so that two of them cannot put
// their lists together; the same employer sees the same one each time.
//
// An id is the 16 bytes of a ULID: exactly one block of AES. Encrypted under a
// key of the employer's own, it is again 16 bytes in the shape of a ULID, and no
// table is needed to turn it back.
type pseudonyms struct{ secret []byte }

// Secret is the document of the service's secret, made at its first start.
type Secret struct {
	Bytes     []byte    `bson:"bytes"`
	CreatedAt time.Time `bson:"created_at"`
}

const pseudonymSecret = "pseudonyms"

// openPseudonyms reads the secret, and makes it when there is none. Of several
// replicas that start at once, one makes it and all read it.
func openPseudonyms(ctx context.Context, e docstore.Engine, now time.Time) (pseudonyms, error) {
	secrets := docstore.NewCollection[Secret](e, secretsSchema)
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return pseudonyms{}, fmt.Errorf("matching: make the secret of pseudonyms: %w", err)
	}
	err := secrets.Insert(ctx, &docstore.Doc[Secret]{ID: pseudonymSecret, Body: Secret{fresh, now}})
	if err != nil && !errors.Is(err, docstore.ErrExists) {
		return pseudonyms{}, fmt.Errorf("matching: keep the secret of pseudonyms: %w", err)
	}
	d, err := secrets.Get(ctx, pseudonymSecret)
	if err != nil {
		return pseudonyms{}, fmt.Errorf("matching: read the secret of pseudonyms: %w", err)
	}
	return pseudonyms{d.Body.Bytes}, nil
}

func (p pseudonyms) block(employer string) cipher.Block {
	key := hmac.New(sha256.New, p.secret)
	key.Write([]byte("masar/matching/pseudonym\x00" + employer))
	block, err := aes.NewCipher(key.Sum(nil))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	return block
}

// mask gives the id of a candidate that an employer sees.
func (p pseudonyms) mask(employer, candidate string) string {
	id, err := ulid.ParseStrict(candidate)
	if err != nil {
		return "" // no such id is ever stored: see person
	}
	p.block(employer).Encrypt(id[:], id[:])
	return id.String()
}

// unmask gives back the candidate's id. Whatever is not a pseudonym of this
// employer becomes the id of nobody.
func (p pseudonyms) unmask(employer, pseudonym string) (candidate string, ok bool) {
	id, err := ulid.ParseStrict(pseudonym)
	if err != nil {
		return "", false
	}
	p.block(employer).Decrypt(id[:], id[:])
	return id.String(), true
}
