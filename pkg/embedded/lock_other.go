//go:build !unix

package embedded

import (
	"errors"
	"os"
)

func lockDir(string) (*os.File, error) {
	return nil, errors.New("embedded broker: this system has no file locks that the broker can use: run Masar on Linux, macOS or another Unix")
}
