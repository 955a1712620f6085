package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// program is one of the programs that get an image.
type program struct {
	name  string
	path  string // of its package, from the repository's root
	about string
}

var programs = []program{
	{"candidates", "./services/candidates/cmd/candidates", "People, their pathways and their consents"},
	{"employers", "./services/employers/cmd/employers", "Employers and their offers"},
	{"indicators", "./services/indicators/cmd/indicators", "Facts, figures and frozen reviews"},
	{"matching", "./services/matching/cmd/matching", "Proposals, campaigns and decisions, explained"},
	{"notifications", "./services/notifications/cmd/notifications", "Who is told what, and when"},
	{"masar", "./cmd/masar", "The operator's tool, and the whole platform on one machine"},
}

// release is what all images of one build have in common.
type release struct {
	version  string
	revision string // the commit; empty outside a git checkout
	created  time.Time
}

// workspace is the folder of the go.work that holds Masar.
func workspace(ctx context.Context) (string, error) {
	file, err := output(ctx, ".", "go", "env", "GOWORK")
	if err != nil {
		return "", err
	}
	if file == "" || file == "off" {
		return "", errors.New("no go.work here: run this inside Masar's repository, without GOWORK=off")
	}
	return filepath.Dir(file), nil
}

// describe reads version, commit and time from git, and the time rather from
// SOURCE_DATE_EPOCH (reproducible-builds.org) where it is set.
func describe(ctx context.Context, root, version string) (release, error) {
	r := release{version: version}
	var noGit error
	if r.revision, noGit = output(ctx, root, "git", "rev-parse", "HEAD"); noGit != nil {
		r.revision = ""
	}
	if r.version == "" {
		if noGit != nil {
			return r, fmt.Errorf("the version is not known from git, give --version: %w", noGit)
		}
		var err error
		if r.version, err = output(ctx, root, "git", "describe", "--tags", "--always", "--dirty"); err != nil {
			return r, err
		}
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if noGit != nil {
			return r, fmt.Errorf("the time of the commit is not known from git, set SOURCE_DATE_EPOCH to it, in seconds since 1970: %w", noGit)
		}
		var err error
		if epoch, err = output(ctx, root, "git", "log", "-1", "--format=%ct"); err != nil {
			return r, err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return r, fmt.Errorf("SOURCE_DATE_EPOCH %q: whole seconds since 1970 expected", epoch)
	}
	r.created = time.Unix(seconds, 0).UTC()
	return r, nil
}

// buildArgs decide what the binaries are, with buildEnv; deploy/Dockerfile goes
// through here too.
//
// With timetzdata every program carries the time zones, as an image from nothing
// has no zone files: those that ask for Africa/Tunis, and all for a TZ.
func buildArgs(version string) []string {
	return []string{
		"build", "-trimpath", "-buildvcs=false", "-tags=timetzdata",
		"-ldflags=-s -w -buildid= -X masar.local/pkg/runtime.release=" + version,
	}
}

// buildEnv leaves nothing that changes a binary to the builder's own settings;
// GOFLAGS is not empty, as go would then take that of `go env -w`.
func buildEnv(root, arch string) []string {
	return append(os.Environ(),
		"GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOWORK="+filepath.Join(root, "go.work"),
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
}

// compile builds the programs for one architecture into dir.
func compile(ctx context.Context, root, version, arch, dir string, chosen []program) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// The separator at the end makes go take dir for a folder, with one program too.
	args := append(buildArgs(version), "-o", dir+string(filepath.Separator))
	for _, p := range chosen {
		args = append(args, p.path)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = root, buildEnv(root, arch), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build for linux/%s, in %s: %w", arch, root, err)
	}
	for _, p := range chosen {
		if err := checkBinary(filepath.Join(dir, p.name), arch); err != nil {
			return err
		}
	}
	return nil
}

// checkBinary fails unless the file runs on a bare Linux kernel of the architecture.
func checkBinary(file, arch string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("%s is for %v, not for %s", file, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: it asks for a loader, which an image from nothing lacks; "+
				"look for a package that needs cgo: go list -deps -f '{{if .CgoFiles}}{{.ImportPath}}{{end}}'", filepath.Base(file))
		}
	}
	return nil
}

// output runs a program and returns what it printed, trimmed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
