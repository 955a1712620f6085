//go:build race

package importer

// racing says that the race detector is on, which makes everything many times
// slower.
const racing = true
