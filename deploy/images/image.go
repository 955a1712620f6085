package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// maxCompressed bounds an image: a site behind a slow line pulls it at every upgrade.
const maxCompressed = 40_000_000

// user is who the programs run as: numeric, as runAsNonRoot can check nothing else.
const user = "65532:65532"

// image makes the image of a program and its bill of materials.
func image(p program, arch string, r release, file string, common v1.Layer, mods modules) (v1.Image, []byte, error) {
	binary, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	doc, err := billOfMaterials(p, arch, r, binary, mods)
	if err != nil {
		return nil, nil, err
	}
	own, err := layer(r.created, map[string]entry{
		"usr/bin/" + p.name:                           {0o755, binary},
		"usr/share/doc/" + p.name + "/sbom.spdx.json": {0o644, doc},
	})
	if err != nil {
		return nil, nil, err
	}

	created := v1.Time{Time: r.created}
	labels := map[string]string{
		"org.opencontainers.image.title":       "masar/" + p.name,
		"org.opencontainers.image.description": p.about,
		"org.opencontainers.image.version":     r.version,
		"org.opencontainers.image.created":     r.created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if r.revision != "" {
		labels["org.opencontainers.image.revision"] = r.revision
	}
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: created,
		Config: v1.Config{
			User:         user,
			Entrypoint:   []string{"/usr/bin/" + p.name},
			Env:          []string{"PATH=/usr/bin"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}, "9090/tcp": {}},
			StopSignal:   "SIGTERM",
			Labels:       labels,
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, nil, err
	}
	// The common layer comes first: six images share it in registries and on nodes.
	img, err = mutate.Append(img,
		mutate.Addendum{Layer: common, History: v1.History{Created: created, CreatedBy: "masar.local/deploy/images", Comment: "certificates, accounts, /tmp"}},
		mutate.Addendum{Layer: own, History: v1.History{Created: created, CreatedBy: "masar.local/deploy/images", Comment: p.name}},
	)
	if err != nil {
		return nil, nil, err
	}
	size, err := compressedSize(img)
	if err != nil {
		return nil, nil, err
	}
	return img, doc, checkSize(size)
}

func checkSize(size int64) error {
	if size >= maxCompressed {
		return fmt.Errorf("%.1f MB compressed, the bound is less than %d MB; go version -m lists what the program is built from",
			float64(size)/1e6, maxCompressed/1_000_000)
	}
	return nil
}

// compressedSize is what a pull transfers.
func compressedSize(img v1.Image) (int64, error) {
	m, err := img.Manifest()
	if err != nil {
		return 0, err
	}
	total, err := img.Size() // the manifest's own
	if err != nil {
		return 0, err
	}
	total += m.Config.Size
	for _, l := range m.Layers {
		total += l.Size
	}
	return total, nil
}

// commonLayer is what every program needs from a file system.
func commonLayer(created time.Time) (v1.Layer, error) {
	return layer(created, map[string]entry{
		"etc/group":                         {0o644, []byte("root:x:0:\nmasar:x:65532:\n")},
		"etc/passwd":                        {0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nmasar:x:65532:65532:Masar:/tmp:/sbin/nologin\n")},
		"etc/ssl/certs/ca-certificates.crt": {0o644, certificates()},
		"tmp/":                              {0o1777, nil},
	})
}

// certificatesModule holds Mozilla's roots, as code: they come with go.sum's
// checksum, not from whatever the building machine trusts.
const certificatesModule = "golang.org/x/crypto/x509roots/fallback"

// certificates are the roots as PEM. A root that Mozilla trusts for some
// certificates only is left out, since PEM cannot say for which.
func certificates() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		// Writing to a buffer does not fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return b.Bytes()
}

// entry is a file of a layer, or a folder where its path ends in a slash.
type entry struct {
	mode int64
	body []byte
}

// layer packs the entries and the folders above them: sorted, of one time, owned
// by root, so that the same entries are the same bytes.
func layer(created time.Time, entries map[string]entry) (v1.Layer, error) {
	all := maps.Clone(entries)
	for p := range entries {
		for d := path.Dir(strings.TrimSuffix(p, "/")); d != "."; d = path.Dir(d) {
			all[d+"/"] = entry{mode: 0o755}
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		h := &tar.Header{Name: p, Mode: all[p].mode, Size: int64(len(all[p].body)), ModTime: created, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(p, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(all[p].body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), // the best takes three times as long for 0.3 %
		tarball.WithCompressedCaching,                         // the bytes are wanted for the digest, the layout, the archive and the push
	)
}
