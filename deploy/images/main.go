// Command images builds Masar's container images with nothing but Go: one image
// a program, for amd64 and arm64, each with its software bill of materials. No
// Docker is needed; `go run ./deploy/images --help` lists what it takes.
//
// Two builds of one commit with one version of Go have the same digests, whoever
// builds them and wherever.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type cli struct {
	Version  string   `help:"Version, and tag, of the images; as git describes the commit where not given." placeholder:"TAG"`
	Out      string   `help:"Folder of the images and of their bills of materials (${default})." default:"bin/images" placeholder:"DIR"`
	Arch     []string `help:"Only these architectures, of ${enum}." enum:"amd64,arm64" default:"amd64,arm64" placeholder:"ARCH"`
	Only     []string `help:"Only these programs." placeholder:"NAME"`
	Archive  bool     `help:"Also write OUT/NAME-ARCH.tar, for 'ctr images import' and 'docker load'."`
	Push     string   `help:"Also push to this registry, as REGISTRY/masar/NAME:TAG, with the credentials of 'docker login'." placeholder:"REGISTRY"`
	Insecure bool     `help:"The registry speaks plain HTTP."`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("images"), kong.Description("Build Masar's container images, without a Docker."))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c cli, out io.Writer) error {
	chosen, err := choose(c.Only)
	if err != nil {
		return err
	}
	root, err := workspace(ctx)
	if err != nil {
		return err
	}
	r, err := describe(ctx, root, c.Version)
	if err != nil {
		return err
	}
	// A wrong tag or registry is said now, not after minutes of compiling.
	if err := checkReferences(c, r.version); err != nil {
		return err
	}
	return build(ctx, root, c, r, chosen, out)
}

func choose(only []string) ([]program, error) {
	if len(only) == 0 {
		return programs, nil
	}
	var chosen []program
	for _, n := range only {
		i := slices.IndexFunc(programs, func(p program) bool { return p.name == n })
		if i < 0 {
			var names []string
			for _, p := range programs {
				names = append(names, p.name)
			}
			return nil, fmt.Errorf("--only %s: no such program; there are %s", n, strings.Join(names, ", "))
		}
		chosen = append(chosen, programs[i])
	}
	return chosen, nil
}

func checkReferences(c cli, version string) error {
	if _, err := archiveTag("any", version); err != nil {
		return fmt.Errorf("--version %s: not the tag of an image (letters, digits, '_', '.' and '-', at most 128): %w", version, err)
	}
	if c.Push == "" {
		return nil
	}
	_, err := pushTag(c, "any", version)
	if err == nil && strings.Contains(c.Push, "://") {
		err = errors.New("it would be pushed to the host https") // what the parser makes of it
	}
	if err != nil {
		return fmt.Errorf("--push %s: HOST[:PORT][/PATH] expected, without https://: %w", c.Push, err)
	}
	return nil
}

// archiveTag is the reference of an archive's image. It has a host of its own, as
// containerd looks for a short name on Docker Hub.
func archiveTag(program, version string) (name.Tag, error) {
	return name.NewTag("masar.local/masar/"+program+":"+version, name.StrictValidation)
}

func pushTag(c cli, program, version string) (name.Tag, error) {
	opts := []name.Option{name.StrictValidation}
	if c.Insecure {
		opts = append(opts, name.Insecure)
	}
	return name.NewTag(c.Push+"/masar/"+program+":"+version, opts...)
}

func build(ctx context.Context, root string, c cli, r release, chosen []program, out io.Writer) error {
	bin, err := os.MkdirTemp("", "masar-images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	for _, arch := range c.Arch {
		if err := compile(ctx, root, r.version, arch, filepath.Join(bin, arch), chosen); err != nil {
			return err
		}
	}
	common, err := commonLayer(r.created)
	if err != nil {
		return err
	}
	mods, err := moduleCache(ctx, root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "name\tarch\tcompressed\tdigest")
	for _, p := range chosen {
		var index v1.ImageIndex = empty.Index
		for _, arch := range c.Arch {
			img, doc, err := image(p, arch, r, filepath.Join(bin, arch, p.name), common, mods)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", p.name, arch, err)
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add:        img,
				Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
			})
			file := filepath.Join(c.Out, p.name+"-"+arch)
			if err := os.WriteFile(file+".spdx.json", doc, 0o644); err != nil {
				return err
			}
			if c.Archive {
				tag, err := archiveTag(p.name, r.version)
				if err != nil {
					return err
				}
				if err := tarball.WriteToFile(file+".tar", tag, img); err != nil {
					return fmt.Errorf("write %s.tar: %w", file, err)
				}
			}
			if err := row(table, p.name, arch, img); err != nil {
				return err
			}
		}
		if err := writeLayout(filepath.Join(c.Out, p.name), "masar/"+p.name+":"+r.version, index); err != nil {
			return err
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\tindex\t\t%s\n", p.name, digest)
		if c.Push != "" {
			if err := push(ctx, c, p.name, r.version, index); err != nil {
				return err
			}
		}
	}
	return nil
}

func row(w io.Writer, name, arch string, img v1.Image) error {
	size, err := compressedSize(img)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%s\n", name, arch, float64(size)/1e6, digest)
	return err
}

// writeLayout writes an OCI layout that holds the index alone. What an earlier
// build has left in the folder goes, and nothing else does.
func writeLayout(dir, ref string, index v1.ImageIndex) error {
	for _, old := range []string{"index.json", "oci-layout", "blobs"} {
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return err
		}
	}
	_, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        index,
		Descriptor: v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": ref}},
	}))
	if err != nil {
		return fmt.Errorf("write the layout %s: %w", dir, err)
	}
	return nil
}

func push(ctx context.Context, c cli, program, version string, index v1.ImageIndex) error {
	tag, err := pushTag(c, program, version)
	if err != nil {
		return err
	}
	err = remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return fmt.Errorf("push %s (credentials are those of docker login; --insecure is for plain HTTP): %w", tag, err)
	}
	return nil
}

// ownDependency is a module that this program was itself built with.
func ownDependency(path string) (*debug.Module, error) {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("this program does not know its version of %s: run it with go run", path)
}
