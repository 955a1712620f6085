// Package reference holds what every service must read in the same way:
// pathway schemes, governorates, occupations, language and diploma levels,
// licences. All of it is data, versioned and embedded, each list with its
// source; the Go code only reads, checks and looks up.
//
// The contract: values are immutable once loaded and safe for concurrent use;
// codes are stable, labels are not; nothing legal is decided in code.
package reference
