package docstore

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Hold blocks until the lease of this name is ours, and then calls run; of all
// processes that hold it on one database, one runs at a time. When the lease is
// lost (the database cannot be reached for as long as ttl), run's context ends,
// and after run has returned Hold waits for the lease again. It returns when ctx
// ends, with an error that wraps its cause, or when run returns while the lease is held, with that
// result. holder names this process for people and must be unique.
//
// A lease tells who should work, not who may write: one who has lost it without
// noticing can still be in the middle of something. Make the work repeatable.
func Hold(ctx context.Context, e Engine, name, holder string, ttl time.Duration, run func(ctx context.Context) error) error {
	return e.Hold(ctx, name, holder, ttl, run)
}

func checkLease(name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return fmt.Errorf("docstore: the lease name %q is not made of letters, digits, _, . and -", name)
	}
	return nil
}
