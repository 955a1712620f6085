package indicators

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// LockName is the file beside the definitions that keeps what each of them counts.
const LockName = "definitions.lock"

// Checked is the outcome of a check of definitions.
type Checked struct {
	Definitions Definitions
	Tests       int // small histories that were counted
	Figures     int // questions that they ask
	Faults      []error
}

// CheckEmbedded checks the indicators that are part of the program.
func CheckEmbedded() Checked { return CheckDefinitions(definitionFiles, "definitions") }

// CheckDefinitions reads every definition of a directory, runs their tests by the
// engine and by the recount, and compares what they count with LockName, where
// there is one.
func CheckDefinitions(fsys fs.FS, dir string) (out Checked) {
	defs, err := LoadDefinitions(fsys, dir, Dimensions())
	out.fault(err)
	if len(defs) == 0 && err == nil {
		out.fault(fmt.Errorf("there is no definition (*.yaml) in %s", dir))
	}
	for _, d := range defs {
		out.add(d)
	}
	lock, err := fs.ReadFile(fsys, path.Join(dir, LockName))
	switch {
	case err == nil:
		out.fault(checkLock(defs, lock, true))
	case !errors.Is(err, fs.ErrNotExist):
		out.fault(err)
	}
	return out
}

// CheckDefinition does the same with one definition; lock is the text of LockName,
// nil when there is none.
func CheckDefinition(data, lock []byte) (out Checked) {
	d, err := ParseDefinition(data, Dimensions())
	if err != nil {
		out.fault(err)
		return out
	}
	out.add(d)
	if lock != nil {
		out.fault(checkLock(Definitions{d}, lock, false))
	}
	return out
}

func (c *Checked) add(d *Definition) {
	c.Definitions = append(c.Definitions, d)
	c.Tests += len(d.Tests)
	for _, t := range d.Tests {
		c.Figures += len(t.Expect)
	}
	if len(d.Tests) == 0 {
		c.fault(fmt.Errorf("indicator %s has no test: give a small history and the figures that it must give", d.Code))
	}
	c.fault(d.RunTests(Dimensions()))
}

// fault keeps an error, each of several joined ones on its own.
func (c *Checked) fault(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			c.fault(e)
		}
	} else if err != nil {
		c.Faults = append(c.Faults, err)
	}
}

// hash is a short name of what the definition counts: of its measures, selectors
// and numbers, and of nothing that is only shown (labels, targets, cuts).
func (d *Definition) hash() string {
	type counted struct {
		Measure Measure
		Of      string
		Select  map[string]string
		From    map[string]string
	}
	var all []counted
	for _, p := range d.Parts() {
		c := counted{p.Measure, p.Of, map[string]string{}, p.From}
		for name, s := range p.selectors() {
			c.Select[name] = s.plain // another layout counts nothing else
		}
		all = append(all, c)
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // strings and maps of strings
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// locked is one line of LockName.
type locked struct {
	version int
	hash    string
}

const lockHead = "# What each indicator counts: code, version, hash of its measures and selectors.\n" +
	"# Written by `masar indicators check --lock`; frozen figures say the version that\n" +
	"# they were counted by, so what a version counts must never change.\n"

// Lock writes the text of LockName. It refuses a definition that counts something
// else than in the old text under the same version.
func Lock(defs Definitions, old []byte) ([]byte, error) {
	was, err := parseLock(old)
	if err != nil {
		return nil, err
	}
	var faults []error
	lines := []string{}
	for _, d := range defs {
		if w, ok := was[d.Code]; ok {
			faults = append(faults, w.refuses(d))
		}
		lines = append(lines, fmt.Sprintf("%s %d %s\n", d.Code, d.Version, d.hash()))
	}
	slices.Sort(lines)
	return []byte(lockHead + strings.Join(lines, "")), errors.Join(faults...)
}

// refuses says that the definition must raise its version, nil when it need not.
func (w locked) refuses(d *Definition) error {
	switch {
	case d.Version < w.version:
		return fmt.Errorf("indicator %s has version %d, and had %d already: a version never comes back; set version to %d or more", d.Code, d.Version, w.version, w.version)
	case d.Version == w.version && d.hash() != w.hash:
		return fmt.Errorf("indicator %s counts something else than before, under the same version %d: set version to %d in its file, then run `masar indicators check --lock`, so that figures which were published or frozen under version %d keep their meaning", d.Code, d.Version, d.Version+1, d.Version)
	}
	return nil
}

// checkLock compares definitions with the text of LockName; whole says that they
// are all that there should be.
func checkLock(defs Definitions, lock []byte, whole bool) error {
	was, err := parseLock(lock)
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range defs {
		w, ok := was[d.Code]
		delete(was, d.Code)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("indicator %s is not in %s yet: run `masar indicators check --lock`", d.Code, LockName))
		case w.refuses(d) != nil:
			faults = append(faults, w.refuses(d))
		case w != locked{d.Version, d.hash()}:
			faults = append(faults, fmt.Errorf("indicator %s is version %d now, and %s still has version %d: run `masar indicators check --lock`", d.Code, d.Version, LockName, w.version))
		}
	}
	if whole {
		for _, code := range slices.Sorted(maps.Keys(was)) {
			faults = append(faults, fmt.Errorf("indicator %s is in %s and has no definition: bring its file back, or run `masar indicators check --lock` if it is meant to go", code, LockName))
		}
	}
	return errors.Join(faults...)
}

func parseLock(text []byte) (map[string]locked, error) {
	out := map[string]locked{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		version := 0
		var err error
		if len(fields) == 3 {
			version, err = strconv.Atoi(fields[1])
		}
		if len(fields) != 3 || err != nil {
			return nil, fmt.Errorf("%s, line %d: want a code, a version and a hash", LockName, n)
		}
		if _, twice := out[fields[0]]; twice {
			return nil, fmt.Errorf("%s, line %d: %s is there twice", LockName, n, fields[0])
		}
		out[fields[0]] = locked{version, fields[2]}
	}
	return out, nil
}
