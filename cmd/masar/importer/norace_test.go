//go:build !race

package importer

const racing = false
