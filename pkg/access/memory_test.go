package access

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestATokenIsRememberedNoLongerThanItHolds(t *testing.T) {
	var clock atomic.Int64
	now := func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	i := openIssuer(t, t.TempDir(), "http://x", now)
	v := i.Verifier()
	token, err := i.Token(Principal{Subject: "c", Role: Counsellor, Governorates: []string{"TN-71"}}, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{0, time.Second, 49 * time.Second} {
		clock.Store(int64(at))
		p, err := v.Verify(t.Context(), token)
		if err != nil || p.Governorates[0] != "TN-71" {
			t.Fatalf("at %s: %+v, %v", at, p, err)
		}
		p.Governorates[0] = "TN-11" // what a caller does with it is its own affair
	}
	clock.Store(int64(51 * time.Second))
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrRefused) {
		t.Errorf("an expired token is still known: %v", err)
	}
}

func TestTheMemoryHasAnEnd(t *testing.T) {
	var m memory
	for i := range maxRemember + 10 {
		m.keep(string(rune(i)), Principal{Subject: "s"}, noon, noon.Add(time.Hour))
	}
	if n := len(m.known); n > maxRemember {
		t.Errorf("%d tokens are known", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	i := openIssuer(b, b.TempDir(), "http://x", at(noon))
	token, err := i.Token(Principal{Subject: "c", Role: Counsellor, Governorates: []string{"TN-71"}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, err := i.Verifier().Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		v := i.Verifier()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
