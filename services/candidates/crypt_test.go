package candidates

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func testRing(t testing.TB) *Keyring {
	t.Helper()
	ring, err := NewKeyring(bytes.Repeat([]byte{7}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestMasterKeyIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	rings := make([]*Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			ring, err := OpenKeyring(env(), dir)
			if err != nil {
				t.Error(err)
			}
			rings[i] = ring
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, ring := range rings[1:] {
		if ring.digest("a", "b") != rings[0].digest("a", "b") {
			t.Fatal("two starts at the same time made two master keys")
		}
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v; want mode 0600", info, err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMasterKeyErrorsSayWhatToDo(t *testing.T) {
	write := func(mode os.FileMode, text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, keyFile), mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	good := base64.StdEncoding.EncodeToString(make([]byte, keySize))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		getenv func(string) string
		dir    string
		want   string
	}{
		"nothing":           {env(), "", "set MASAR_MASTER_KEY"},
		"not base64":        {env("MASAR_MASTER_KEY", "s3cret!"), "", "not base64"},
		"short":             {env("MASAR_MASTER_KEY", "AAAA"), "", "has 3 bytes, want 32"},
		"open to all":       {env(), write(0o644, good), "chmod 600"},
		"damaged":           {env(), write(0o600, "x"), "restore it"},
		"not a directory":   {env(), filepath.Join(file, "sub"), "make MASAR_DATA_DIR writable"},
		"the key is better": {env("MASAR_MASTER_KEY", good), file, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenKeyring(c.getenv, c.dir)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error is %v, want %q in it", err, c.want)
			case err != nil && strings.Contains(err.Error(), "s3cret"):
				t.Error("the error quotes the key")
			}
		})
	}
}

func TestSealedFieldsOpenOnlyWhereTheyBelong(t *testing.T) {
	ring := testRing(t)
	key, wrapped, err := ring.newDataKey("anna")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ring.dataKey("anna", wrapped)
	if err != nil || !bytes.Equal(key, again) {
		t.Fatalf("unwrapped key differs: %v", err)
	}
	sealed, err := sealField(key, "anna", "cin", "01234567")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openField(key, "anna", "cin", sealed); err != nil || got != "01234567" {
		t.Fatalf("opened %q, %v", got, err)
	}
	if bytes.Contains(sealed, []byte("01234567")) {
		t.Error("the sealed value holds the clear one")
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, try := range map[string]func() error{
		"another person":  func() error { _, err := openField(key, "bilel", "cin", sealed); return err },
		"another field":   func() error { _, err := openField(key, "anna", "passport", sealed); return err },
		"a changed value": func() error { _, err := openField(key, "anna", "cin", flipped); return err },
		"a cut value":     func() error { _, err := openField(key, "anna", "cin", sealed[:5]); return err },
		"another's key":   func() error { _, err := ring.dataKey("bilel", wrapped); return err },
	} {
		if try() == nil {
			t.Errorf("%s opens it", name)
		}
	}
	other, err := NewKeyring(bytes.Repeat([]byte{8}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.dataKey("anna", wrapped); err == nil || !strings.Contains(err.Error(), "replaced?") {
		t.Errorf("another master key: %v", err)
	}
	if other.digest("cin", "1") == ring.digest("cin", "1") {
		t.Error("digests do not depend on the master key")
	}
	if ring.digest("cin", "1") == ring.digest("passport", "1") {
		t.Error("digests do not depend on the kind")
	}
}

func FuzzOpenField(f *testing.F) {
	key := bytes.Repeat([]byte{9}, keySize)
	sealed, err := sealField(key, "p", "f", "value")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := openField(key, "p", "f", data)
		// Nothing else was ever sealed with this key (each worker of the fuzzer
		// seals the seed with a nonce of its own).
		if err == nil && got != "value" {
			t.Fatalf("a forged value opened as %q", got)
		}
	})
}
