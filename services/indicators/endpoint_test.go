package indicators

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLongRecountKeepsTheConnection: while a recount goes on something is sent,
// and the answer is JSON all the same.
func TestLongRecountKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := verifyAnswer{func() (Verification, error) {
			time.Sleep(3*keepAlive + time.Second)
			return Verification{Clean: true, Facts: 7}, nil
		}}
		if err := a.Stream(&out); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out.Bytes(), []byte("   {")) {
			t.Errorf("got %q", out.String())
		}
		var v Verification
		if err := json.NewDecoder(&out).Decode(&v); err != nil || !v.Clean || v.Facts != 7 {
			t.Errorf("got %+v, %v", v, err)
		}
	})
	wrong := errors.New("wrong")
	var out bytes.Buffer
	if err := (verifyAnswer{func() (Verification, error) { return Verification{}, wrong }}).Stream(&out); !errors.Is(err, wrong) || out.Len() > 0 {
		t.Errorf("an error at once: %v, %q", err, out.String())
	}
}
