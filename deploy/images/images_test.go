package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

var (
	hello = program{"hello", "./deploy/images/testdata/hello", "The smallest program"}
	test  = release{"v1.2.3", "0123456789abcdef0123456789abcdef01234567", time.Unix(1_700_000_000, 0).UTC()}
)

// TestImages looks at everything that a build of both platforms gives: layout,
// archives, configuration, files, and what a registry has after the push.
func TestImages(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	c := cli{
		Out: t.TempDir(), Arch: []string{"amd64", "arm64"}, Archive: true,
		Push: strings.TrimPrefix(server.URL, "http://"), Insecure: true,
	}
	var table strings.Builder
	if err := build(t.Context(), root(t), c, test, []program{hello}, &table); err != nil {
		t.Fatal(err)
	}

	top := indexIn(t, filepath.Join(c.Out, "hello"))
	if err := validate.Index(top); err != nil {
		t.Error("layout:", err)
	}
	entries := manifests(t, top)
	if len(entries) != 1 || entries[0].Annotations["org.opencontainers.image.ref.name"] != "masar/hello:v1.2.3" {
		t.Fatalf("the layout names %+v", entries)
	}
	index, err := top.ImageIndex(entries[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	platforms := manifests(t, index)
	if len(platforms) != 2 {
		t.Fatalf("%d platforms in the index, want 2", len(platforms))
	}
	for i, d := range platforms {
		if got, want := d.Platform.String(), "linux/"+c.Arch[i]; got != want {
			t.Errorf("platform %s, want %s", got, want)
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, img, c.Arch[i])
		checkFiles(t, img, c.Out, c.Arch[i])
		if !strings.Contains(table.String(), d.Digest.String()) {
			t.Errorf("the table lacks the digest of %s:\n%s", c.Arch[i], &table)
		}

		ref, err := name.NewTag("masar.local/masar/hello:v1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		archived, err := tarball.ImageFromPath(filepath.Join(c.Out, "hello-"+c.Arch[i]+".tar"), &ref)
		if err != nil {
			t.Fatal("archive:", err)
		}
		if got, want := must(archived.ConfigName()), must(img.ConfigName()); got != want {
			t.Errorf("the archive for %s holds another image: %s, want %s", c.Arch[i], got, want)
		}
	}

	pushed, err := name.ParseReference(c.Push+"/masar/hello:v1.2.3", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Index(pushed)
	if err != nil {
		t.Fatal("pull:", err)
	}
	if err := validate.Index(pulled); err != nil {
		t.Error("pulled:", err)
	}
	if got, want := must(pulled.Digest()), entries[0].Digest; got != want {
		t.Errorf("pulled %s, want %s", got, want)
	}

	// The next version leaves nothing of this one in the layout.
	next := test
	next.version = "v1.2.4"
	c.Arch, c.Push, c.Archive = c.Arch[:1], "", false
	if err := build(t.Context(), root(t), c, next, []program{hello}, io.Discard); err != nil {
		t.Fatal(err)
	}
	blobs, err := os.ReadDir(filepath.Join(c.Out, "hello", "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	if len(blobs) != 5 { // index, manifest, configuration, two layers
		t.Errorf("%d blobs in the layout after a second build, want 5", len(blobs))
	}
}

func checkConfig(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	f, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(f.OS, f.Architecture, f.Created.UTC(), f.Config.User, f.Config.Entrypoint, f.Config.Cmd, f.Config.StopSignal,
		slices.Sorted(maps.Keys(f.Config.ExposedPorts)), f.Config.Env)
	want := fmt.Sprint("linux", arch, test.created, "65532:65532", []string{"/usr/bin/hello"}, []string(nil), "SIGTERM",
		[]string{"8080/tcp", "9090/tcp"}, []string{"PATH=/usr/bin"})
	if got != want {
		t.Errorf("configuration\n got %s\nwant %s", got, want)
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       "masar/hello",
		"org.opencontainers.image.description": "The smallest program",
		"org.opencontainers.image.version":     "v1.2.3",
		"org.opencontainers.image.revision":    "0123456789abcdef0123456789abcdef01234567",
		"org.opencontainers.image.created":     "2023-11-14T22:13:20Z",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if !maps.Equal(f.Config.Labels, labels) {
		t.Errorf("labels %v\nwant %v", f.Config.Labels, labels)
	}
}

func checkFiles(t *testing.T, img v1.Image, out, arch string) {
	t.Helper()
	var got []string
	contents := files(t, img, func(h *tar.Header) {
		got = append(got, fmt.Sprintf("%c %04o %s", h.Typeflag, h.Mode, h.Name))
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(test.created) {
			t.Errorf("%s: owner %d:%d, time %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
	})
	want := []string{
		"5 0755 etc/", "0 0644 etc/group", "0 0644 etc/passwd", "5 0755 etc/ssl/", "5 0755 etc/ssl/certs/",
		"0 0644 etc/ssl/certs/ca-certificates.crt", "5 1777 tmp/",
		"5 0755 usr/", "5 0755 usr/bin/", "0 0755 usr/bin/hello",
		"5 0755 usr/share/", "5 0755 usr/share/doc/", "5 0755 usr/share/doc/hello/", "0 0644 usr/share/doc/hello/sbom.spdx.json",
	}
	if !slices.Equal(got, want) {
		t.Errorf("files\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	beside, err := os.ReadFile(filepath.Join(out, "hello-"+arch+".spdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(beside, contents["usr/share/doc/hello/sbom.spdx.json"]) {
		t.Error("the bill of materials in the image differs from the one beside it")
	}
	bin := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(bin, contents["usr/bin/hello"], 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkBinary(bin, arch); err != nil {
		t.Error(err)
	}
}

// TestService builds a real service, here and in a copy of the repository elsewhere
// with settings of the builder that must not show.
func TestService(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a service")
	}
	here := root(t)
	there := filepath.Join(t.TempDir(), "elsewhere", "masar")
	copyTree(t, here, there)

	out, sums := buildCandidates(t, here)
	t.Run("image", func(t *testing.T) { checkService(t, out) })
	t.Run("reproducible", func(t *testing.T) {
		t.Setenv("GOFLAGS", "-trimpath=false -ldflags=-X=main.a=b")
		t.Setenv("GOAMD64", "v3")
		t.Setenv("GOARM64", "v9.0")
		t.Setenv("CGO_ENABLED", "1")
		t.Setenv("GOWORK", "off")
		t.Setenv("TZ", "Asia/Tokyo")
		if _, again := buildCandidates(t, there); !slices.Equal(sums, again) {
			t.Errorf("two builds differ:\n%s\n\n%s", strings.Join(sums, "\n"), strings.Join(again, "\n"))
		}
	})
}

// buildCandidates builds the folder's sources and lists the sums of all files written.
func buildCandidates(t *testing.T, folder string) (out string, sums []string) {
	t.Helper()
	c := cli{Out: t.TempDir(), Arch: []string{runtime.GOARCH}, Archive: true}
	if err := build(t.Context(), folder, c, test, programs[:1], io.Discard); err != nil {
		t.Fatal(err)
	}
	err := fs.WalkDir(os.DirFS(c.Out), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(filepath.Join(c.Out, p))
		sums = append(sums, fmt.Sprintf("%x %s", sha256.Sum256(body), p))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.Out, sums
}

// copyTree copies the sources, without what git or make keep beside them.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() && (slices.Contains([]string{".git", "bin", "data"}, rel) || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		body, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), body, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkService looks at the image of a service: that it is small, that its bill of
// materials is one that others can read, and that its program starts.
func checkService(t *testing.T, out string) {
	t.Helper()
	top := indexIn(t, filepath.Join(out, "candidates"))
	index, err := top.ImageIndex(manifests(t, top)[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifests(t, index)[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if size := must(compressedSize(img)); size < 5e6 || size > 20e6 {
		t.Errorf("%.1f MB compressed; it was 12 when this was written", float64(size)/1e6)
	}
	contents := files(t, img, func(*tar.Header) {})

	doc, err := spdxjson.Read(bytes.NewReader(contents["usr/share/doc/candidates/sbom.spdx.json"]))
	if err != nil {
		t.Fatal("bill of materials:", err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error("bill of materials:", err)
	}
	described, err := spdxlib.GetDescribedPackageIDs(doc)
	if err != nil || len(described) != 1 {
		t.Errorf("it describes %v, want the program alone (%v)", described, err)
	}
	goSum, err := os.ReadFile(filepath.Join(root(t), "services", "candidates", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	names, ids := map[string]string{}, map[string]bool{}
	for _, p := range doc.Packages {
		names[p.PackageName] = p.PackageVersion + " " + p.PackageLicenseDeclared + " " + p.PackageExternalReferences[0].Locator
		if ids[string(p.PackageSPDXIdentifier)] {
			t.Errorf("two packages have the id %s", p.PackageSPDXIdentifier)
		}
		ids[string(p.PackageSPDXIdentifier)] = true
		if p.PackageName == "github.com/segmentio/kafka-go" {
			sum, err := hex.DecodeString(p.PackageChecksums[0].Value)
			line := p.PackageName + " " + p.PackageVersion + " h1:" + base64.StdEncoding.EncodeToString(sum) + "\n"
			if err != nil || !strings.Contains(string(goSum), line) {
				t.Errorf("go.sum of the service lacks %q", line)
			}
		}
	}
	for module, want := range map[string]string{
		"github.com/segmentio/kafka-go": " MIT pkg:golang/github.com/segmentio/kafka-go@v0.",
		"stdlib":                        strings.TrimPrefix(runtime.Version(), "go") + " BSD-3-Clause pkg:golang/stdlib@",
		"masar.local/pkg":               "v1.2.3 Apache-2.0 pkg:golang/masar.local/pkg@v1.2.3",
		certificatesModule:              " BSD-3-Clause pkg:golang/" + certificatesModule + "@v0.",
	} {
		if !strings.Contains(names[module], want) {
			t.Errorf("%s: %q lacks %q", module, names[module], want)
		}
	}

	bin := filepath.Join(t.TempDir(), "candidates")
	if err := os.WriteFile(bin, contents["usr/bin/candidates"], 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Env = []string{"PATH=/usr/bin"}
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(said), "MASAR_STORE_URI is needed") {
		t.Errorf("without settings it ends with %v and says %s", err, said)
	}
}

func TestCertificates(t *testing.T) {
	roots := map[string]bool{}
	for rest := certificates(); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		roots[cert.Subject.CommonName] = true
	}
	if len(roots) < 100 || !roots["ISRG Root X1"] || !roots["DigiCert Global Root G2"] {
		t.Errorf("%d roots: %v", len(roots), slices.Sorted(maps.Keys(roots)))
	}
}

// TestCheckBinary turns a static program into one that asks for a loader.
func TestCheckBinary(t *testing.T) {
	dir := t.TempDir()
	if err := compile(t.Context(), root(t), "v1.2.3", "amd64", dir, []program{hello}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "hello")
	if err := checkBinary(file, "arm64"); err == nil || !strings.Contains(err.Error(), "not for arm64") {
		t.Errorf("a program of another architecture: %v", err)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The type of the first program header becomes PT_INTERP.
	first := binary.LittleEndian.Uint64(body[0x20:])
	binary.LittleEndian.PutUint32(body[first:], 3)
	if err := os.WriteFile(file, body, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkBinary(file, "amd64"); err == nil || !strings.Contains(err.Error(), "not static") {
		t.Errorf("a program that asks for a loader: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	nowhere := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(nowhere))
	for what, c := range map[string]struct {
		err  error
		says string
	}{
		"a program that does not exist": {second(choose([]string{"candidate"})), "there are candidates, employers"},
		"a tag that cannot be":          {checkReferences(cli{}, "v1+2"), "not the tag of an image"},
		"a registry with a scheme":      {checkReferences(cli{Push: "https://registry.example"}, "v1"), "without https://"},
		"no git, no version":            {second(describe(t.Context(), nowhere, "")), "give --version"},
		"no git, no time":               {second(describe(t.Context(), nowhere, "v1")), "set SOURCE_DATE_EPOCH"},
		"a large image":                 {checkSize(maxCompressed), "the bound is less than 40 MB"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, c.err, c.says)
		}
	}

	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := describe(t.Context(), nowhere, "v1"); err == nil || !strings.Contains(err.Error(), "whole seconds") {
		t.Errorf("a wrong SOURCE_DATE_EPOCH: %v", err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if r, err := describe(t.Context(), nowhere, "v1"); err != nil || !r.created.Equal(test.created) || r.revision != "" {
		t.Errorf("outside git, with all that is needed: %+v, %v", r, err)
	}
}

// TestDockerfile keeps deploy/Dockerfile in step; the files come from here anyway.
func TestDockerfile(t *testing.T) {
	body, err := os.ReadFile(filepath.Join(root(t), "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"USER " + user, "EXPOSE 8080 9090", "STOPSIGNAL SIGTERM", "ENV PATH=/usr/bin"}
	for _, p := range programs {
		want = append(want, fmt.Sprintf("FROM image AS %[1]s\nLABEL org.opencontainers.image.title=\"masar/%[1]s\"\nENTRYPOINT [\"/usr/bin/%[1]s\"]", p.name))
	}
	for _, w := range want {
		if !strings.Contains(string(body), "\n"+w+"\n") {
			t.Errorf("it lacks %s", w)
		}
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := workspace(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func indexIn(t *testing.T, dir string) v1.ImageIndex {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func manifests(t *testing.T, index v1.ImageIndex) []v1.Descriptor {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests
}

// files reads an image's files, and shows each entry of its layers in their order.
func files(t *testing.T, img v1.Image, each func(*tar.Header)) map[string][]byte {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string][]byte{}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			each(h)
			if contents[h.Name], err = io.ReadAll(in); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	return contents
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func second[T any](_ T, err error) error { return err }
