//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDir takes the lock of the data directory, which the kernel gives back when
// the process ends, however it ends. Two brokers on one directory would
// overwrite each other's segments.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("embedded broker: the data directory %s is in use by another broker: stop it or choose another directory", dir)
		}
		return nil, fmt.Errorf("embedded broker: lock %s: %w", path, err)
	}
	return f, nil
}
