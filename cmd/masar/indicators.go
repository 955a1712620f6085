package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"masar.local/services/indicators"
)

// indicatorsCmd is what is asked of the definitions of indicators.
type indicatorsCmd struct {
	Check indicatorsCheckCmd `cmd:"" help:"Run the tests that definitions carry, by the engine and by the recount; exit 1 on any fault."`
	Docs  indicatorsDocsCmd  `cmd:"" help:"Print the document of all indicators, in French, as Markdown."`
}

// indicatorsCheckCmd checks definitions: those of this program, those of a
// directory, or one file.
type indicatorsCheckCmd struct {
	Path string `arg:"" optional:"" help:"A file of one definition, or a directory of them (default: those in this program)."`
	Lock bool   `help:"Write definitions.lock of the directory anew; refused while something is counted differently under the same version."`
}

func (c indicatorsCheckCmd) Run() error {
	checked, err := c.check()
	if err != nil {
		return err
	}
	for _, fault := range checked.Faults {
		fmt.Println(fault)
	}
	fmt.Printf("%d definitions, %d tests, %d expectations by the engine both ways and by the recount: ", len(checked.Definitions), checked.Tests, checked.Figures)
	if n := len(checked.Faults); n > 0 {
		fmt.Printf("%d faults\n", n)
		return errFailed
	}
	fmt.Println("all right")
	return nil
}

func (c indicatorsCheckCmd) check() (indicators.Checked, error) {
	if c.Path == "" {
		if c.Lock {
			return indicators.Checked{}, errors.New("--lock needs the directory of the definitions, such as services/indicators/definitions")
		}
		return indicators.CheckEmbedded(), nil
	}
	info, err := os.Stat(c.Path)
	if err != nil {
		return indicators.Checked{}, err
	}
	if info.IsDir() {
		if c.Lock {
			if err := writeLock(c.Path); err != nil {
				return indicators.Checked{}, err
			}
		}
		return indicators.CheckDefinitions(os.DirFS(c.Path), "."), nil
	}
	if c.Lock {
		return indicators.Checked{}, errors.New("--lock takes the directory of the definitions, not one file")
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return indicators.Checked{}, err
	}
	lock, err := readLock(filepath.Dir(c.Path))
	if err != nil {
		return indicators.Checked{}, err
	}
	return indicators.CheckDefinition(data, lock), nil
}

// readLock is the text of the directory's lock, nil when it has none.
func readLock(dir string) ([]byte, error) {
	lock, err := os.ReadFile(filepath.Join(dir, indicators.LockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

func writeLock(dir string) error {
	defs, err := indicators.LoadDefinitions(os.DirFS(dir), ".", indicators.Dimensions())
	if err != nil {
		return err
	}
	old, err := readLock(dir)
	if err != nil {
		return err
	}
	lock, err := indicators.Lock(defs, old)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, indicators.LockName), lock, 0o644)
}

// indicatorsDocsCmd prints docs/indicators.md.
type indicatorsDocsCmd struct{}

func (indicatorsDocsCmd) Run() error {
	defs, err := indicators.Embedded()
	if err != nil {
		return err
	}
	fmt.Print(indicators.Document(defs, indicators.Dimensions()))
	return nil
}
