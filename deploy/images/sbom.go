package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/licensecheck"
	"golang.org/x/mod/module"
)

// The parts of SPDX 2.3 (spdx.github.io/spdx-spec/v2.3) that are used here.
type (
	spdxDocument struct {
		SPDXVersion       string             `json:"spdxVersion"`
		DataLicense       string             `json:"dataLicense"`
		SPDXID            string             `json:"SPDXID"`
		Name              string             `json:"name"`
		DocumentNamespace string             `json:"documentNamespace"`
		CreationInfo      spdxCreation       `json:"creationInfo"`
		Comment           string             `json:"comment"`
		Packages          []spdxPackage      `json:"packages"`
		Relationships     []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		Name             string            `json:"name"`
		SPDXID           string            `json:"SPDXID"`
		VersionInfo      string            `json:"versionInfo"`
		FileName         string            `json:"packageFileName,omitempty"`
		Purpose          string            `json:"primaryPackagePurpose"`
		Supplier         string            `json:"supplier"`
		DownloadLocation string            `json:"downloadLocation"`
		FilesAnalyzed    bool              `json:"filesAnalyzed"`
		Checksums        []spdxChecksum    `json:"checksums,omitempty"`
		LicenseConcluded string            `json:"licenseConcluded"`
		LicenseDeclared  string            `json:"licenseDeclared"`
		CopyrightText    string            `json:"copyrightText"`
		ExternalRefs     []spdxExternalRef `json:"externalRefs"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxExternalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const noAssertion = "NOASSERTION"

// ownModules begin with this; they have the release's version and licence.
const ownModules = "masar.local/"

// billOfMaterials lists what the image holds, as SPDX 2.3: the program, by the
// build information in its binary, and the certificates.
func billOfMaterials(p program, arch string, r release, binary []byte, mods modules) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("read the build information: %w", err)
	}
	sum := sha256.Sum256(binary)

	main := goPackage(info.Path, r.version, "APPLICATION", "Apache-2.0")
	main.FileName = "/usr/bin/" + p.name
	main.Checksums = []spdxChecksum{{"SHA256", hex.EncodeToString(sum[:])}}
	doc := spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT",
		Name: fmt.Sprintf("masar/%s:%s linux/%s", p.name, r.version, arch),
		// A name only, as SPDX wants one that is unique; nothing is published there.
		DocumentNamespace: fmt.Sprintf("https://masar.local/spdx/%s/%s/%s/%x", p.name, r.version, arch, sum),
		CreationInfo:      spdxCreation{r.created.Format(time.RFC3339), []string{"Tool: masar.local/deploy/images"}},
		Comment:           "The checksum of a Go module is that of go.sum (h1) in hexadecimal: of the list of its files with their checksums.",
		Packages:          []spdxPackage{main},
		Relationships:     []spdxRelationship{{"SPDXRef-DOCUMENT", "DESCRIBES", main.SPDXID}},
	}
	dependsOn := func(pkg spdxPackage) {
		doc.Packages = append(doc.Packages, pkg)
		doc.Relationships = append(doc.Relationships, spdxRelationship{main.SPDXID, "DEPENDS_ON", pkg.SPDXID})
	}

	version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	std := goPackage("stdlib", version, "LIBRARY", "BSD-3-Clause")
	// Scanners find Go's own vulnerabilities by this name.
	std.ExternalRefs = append(std.ExternalRefs, spdxExternalRef{"SECURITY", "cpe23Type", "cpe:2.3:a:golang:go:" + version + ":*:*:*:*:*:*:*"})
	dependsOn(std)
	for _, m := range info.Deps {
		pkg, err := modulePackage(m, r, mods)
		if err != nil {
			return nil, err
		}
		dependsOn(pkg)
	}
	roots, err := ownDependency(certificatesModule)
	if err != nil {
		return nil, err
	}
	pkg, err := modulePackage(roots, r, mods)
	if err != nil {
		return nil, err
	}
	pkg.FileName = "/etc/ssl/certs/ca-certificates.crt"
	dependsOn(pkg)

	out, err := json.MarshalIndent(doc, "", "  ")
	return append(out, '\n'), err
}

func modulePackage(m *debug.Module, r release, mods modules) (spdxPackage, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	if strings.HasPrefix(m.Path, ownModules) {
		return goPackage(m.Path, r.version, "LIBRARY", "Apache-2.0"), nil
	}
	licence, err := mods.licence(m)
	if err != nil {
		return spdxPackage{}, err
	}
	pkg := goPackage(m.Path, m.Version, "LIBRARY", licence)
	h1, ok := strings.CutPrefix(m.Sum, "h1:")
	sum, err := base64.StdEncoding.DecodeString(h1)
	if !ok || err != nil {
		return pkg, fmt.Errorf("%s@%s has no checksum (%q): is it replaced in go.work?", m.Path, m.Version, m.Sum)
	}
	pkg.Checksums = []spdxChecksum{{"SHA256", hex.EncodeToString(sum)}}
	return pkg, nil
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]`)

func goPackage(path, version, purpose, licence string) spdxPackage {
	return spdxPackage{
		Name: path, VersionInfo: version, Purpose: purpose,
		SPDXID:   "SPDXRef-Go-" + notInID.ReplaceAllString(path, "-"),
		Supplier: noAssertion, DownloadLocation: noAssertion,
		LicenseConcluded: noAssertion, LicenseDeclared: licence, CopyrightText: noAssertion,
		ExternalRefs: []spdxExternalRef{{
			"PACKAGE-MANAGER", "purl",
			"pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B"), // v2.0.0+incompatible
		}},
	}
}

// modules is the folder in which go keeps the modules' sources.
type modules string

func moduleCache(ctx context.Context, root string) (modules, error) {
	dir, err := output(ctx, root, "go", "env", "GOMODCACHE")
	return modules(dir), err
}

// licence is the SPDX name of a module's licence, where its licence files leave
// no doubt: one licence, and hardly any other text.
func (dir modules) licence(m *debug.Module) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(string(dir), path+"@"+version)
	// Read, not skipped where it is missing, or two machines would write two documents.
	files, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("look for the licence of %s (go mod download fetches it): %w", m.Path, err)
	}
	found := ""
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if f.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			return "", err
		}
		scan := licensecheck.Scan(text)
		if scan.Percent < 75 { // as pkg.go.dev does
			return noAssertion, nil
		}
		for _, match := range scan.Match {
			if found != "" && found != match.ID {
				return noAssertion, nil
			}
			found = match.ID
		}
	}
	if found == "" {
		return noAssertion, nil
	}
	return found, nil
}
