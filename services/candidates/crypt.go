package candidates

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sizes of AES-256-GCM.
const (
	keySize   = 32
	nonceSize = 12
)

// keyFile is the master key's file in the data directory, mode 0600.
const keyFile = "candidates.key"

// Keyring holds what is derived from the service's master key: the key that
// wraps each person's data key, and the key of the identity digests. The master
// key itself is in no store: without it, no identity number can be read.
type Keyring struct {
	wrap     cipher.AEAD
	identity []byte
}

// NewKeyring derives the keys from a master key of 32 bytes.
func NewKeyring(master []byte) (*Keyring, error) {
	if len(master) != keySize {
		return nil, fmt.Errorf("candidates: the master key has %d bytes, want %d", len(master), keySize)
	}
	wrapKey, err := hkdf.Key(sha256.New, master, nil, "masar candidates wrap v1", keySize)
	if err != nil {
		return nil, fmt.Errorf("candidates: deriving the wrapping key: %w", err)
	}
	identity, err := hkdf.Key(sha256.New, master, nil, "masar candidates identity v1", keySize)
	if err != nil {
		return nil, fmt.Errorf("candidates: deriving the identity key: %w", err)
	}
	wrap, err := aead(wrapKey)
	if err != nil {
		return nil, err
	}
	return &Keyring{wrap: wrap, identity: identity}, nil
}

// OpenKeyring takes the master key from MASAR_MASTER_KEY (base64 of 32 bytes)
// when it is set, else from the file candidates.key in dir, which it creates at
// the first start.
func OpenKeyring(getenv func(string) string, dir string) (*Keyring, error) {
	if text := strings.TrimSpace(getenv("MASAR_MASTER_KEY")); text != "" {
		master, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			// The decoder's error could quote a part of the key.
			return nil, errors.New("candidates: MASAR_MASTER_KEY is not base64; make one with: openssl rand -base64 32")
		}
		return NewKeyring(master)
	}
	if dir == "" {
		return nil, errors.New("candidates: no master key: set MASAR_MASTER_KEY (base64 of 32 bytes) or MASAR_DATA_DIR, where the service keeps its own in " + keyFile)
	}
	master, err := masterFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("candidates: no master key: set MASAR_MASTER_KEY (base64 of 32 bytes) or make MASAR_DATA_DIR writable: %w", err)
	}
	return NewKeyring(master)
}

// masterFile reads the key file, or creates it. The new key is complete and on
// the disk before it has its name, so that neither a crash nor a second process
// starting at the same time can leave half a key or two keys.
func masterFile(path string) ([]byte, error) {
	if master, err := readMaster(path); !errors.Is(err, fs.ErrNotExist) {
		return master, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	master := make([]byte, keySize)
	if _, err := rand.Read(master); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), keyFile+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(master) + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, err
	}
	// A link, unlike a rename, fails when somebody else was first.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		err = dir.Sync()
		if err = errors.Join(err, dir.Close()); err != nil {
			return nil, err
		}
	}
	return readMaster(path)
}

func readMaster(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	master, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(master) != keySize {
		return nil, fmt.Errorf("%s does not hold the base64 of %d bytes: restore it from its backup", path, keySize)
	}
	return master, nil
}

// digest gives the keyed digest of an identity: the same person gives the same
// digest, and nobody without the master key can try out identity numbers.
func (k *Keyring) digest(kind, value string) string {
	mac := hmac.New(sha256.New, k.identity)
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(value))
	return kind + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// newDataKey makes a person's data key: in clear for use, and wrapped for the store.
func (k *Keyring) newDataKey(person string) (key, wrapped []byte, err error) {
	key = make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, nil, fmt.Errorf("candidates: making a data key: %w", err)
	}
	wrapped, err = seal(k.wrap, key, "key "+person)
	return key, wrapped, err
}

// dataKey unwraps a person's data key.
func (k *Keyring) dataKey(person string, wrapped []byte) ([]byte, error) {
	key, err := open(k.wrap, wrapped, "key "+person)
	if err != nil {
		return nil, errors.New("candidates: a data key does not open with this master key: was MASAR_MASTER_KEY or " + keyFile + " replaced?")
	}
	return key, nil
}

// sealField encrypts one field of a person; it opens only as that field of that person.
func sealField(dataKey []byte, person, field, value string) ([]byte, error) {
	a, err := aead(dataKey)
	if err != nil {
		return nil, err
	}
	return seal(a, []byte(value), field+" "+person)
}

// openField decrypts one field of a person.
func openField(dataKey []byte, person, field string, sealed []byte) (string, error) {
	a, err := aead(dataKey)
	if err != nil {
		return "", err
	}
	value, err := open(a, sealed, field+" "+person)
	return string(value), err
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("candidates: %w", err)
	}
	return cipher.NewGCM(block)
}

// seal gives nonce and ciphertext. A data key seals a handful of values in its
// life and the wrapping key one value for each person, far below the 2^32 that
// random nonces allow.
func seal(a cipher.AEAD, plain []byte, bound string) ([]byte, error) {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+a.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("candidates: making a nonce: %w", err)
	}
	return a.Seal(nonce, nonce, plain, []byte(bound)), nil
}

func open(a cipher.AEAD, sealed []byte, bound string) ([]byte, error) {
	if len(sealed) < nonceSize {
		return nil, errors.New("candidates: a sealed value is too short")
	}
	plain, err := a.Open(nil, sealed[:nonceSize], sealed[nonceSize:], []byte(bound))
	if err != nil {
		return nil, errors.New("candidates: a sealed value does not open with its key")
	}
	return plain, nil
}
