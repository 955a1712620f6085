package access

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

const (
	remember    = time.Minute // how long a verified token need not be verified again
	maxRemember = 10_000      // tokens
)

// memory knows tokens that were verified a short while ago: a client sends the
// same token with every request, and verifying a signature costs more than many a
// request does. A key that its issuer withdraws is so accepted for a minute more.
// Tokens are known by their digest only, and refused ones not at all.
type memory struct {
	mu    sync.RWMutex
	known map[[sha256.Size]byte]remembered
}

type remembered struct {
	principal Principal
	until     time.Time
}

func (m *memory) find(token string, now time.Time) (Principal, bool) {
	digest := sha256.Sum256([]byte(token))
	m.mu.RLock()
	r, ok := m.known[digest]
	m.mu.RUnlock()
	if !ok || !now.Before(r.until) {
		return Principal{}, false
	}
	return r.principal.clone(), true
}

func (m *memory) keep(token string, p Principal, now, expiry time.Time) {
	until := now.Add(remember)
	if expiry.Before(until) {
		until = expiry
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxRemember {
		m.known = map[[sha256.Size]byte]remembered{} // all are verified once more
	}
	m.known[sha256.Sum256([]byte(token))] = remembered{p.clone(), until}
}

func (p Principal) clone() Principal {
	p.Governorates, p.Schemes = slices.Clone(p.Governorates), slices.Clone(p.Schemes)
	return p
}
