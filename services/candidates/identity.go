package candidates

import (
	"slices"
	"strings"
)

// Kinds of identity, from the strongest to the weakest.
const (
	byNationalID = "cin"
	byPassport   = "passport"
	byRef        = "ref"
	byName       = "name"
)

// identities gives the digests by which a person is recognised and which nobody
// else may have: national id and passport when known; failing both, the external
// reference; failing that, the names with date of birth and governorate.
//
// cin and passport are the numbers in clear when they are given now, nil when
// not; what was known before (old) stays. A weaker identity that the person
// already had stays too, so that the list it came from still finds the person
// after a number was added by hand.
func (k *Keyring) identities(c *Candidate, old []string, cin, passport *string) []string {
	var ids []string
	number := func(kind string, given *string) {
		switch {
		case given == nil:
			if before := ofKind(old, kind); before != "" {
				ids = append(ids, before)
			}
		case *given != "":
			ids = append(ids, k.digest(kind, *given))
		}
	}
	number(byNationalID, cin)
	number(byPassport, passport)
	if c.Ref != "" && (len(ids) == 0 || ofKind(old, byRef) != "") {
		ids = append(ids, k.digest(byRef, c.Ref))
	}
	if len(ids) == 0 || ofKind(old, byName) != "" {
		ids = append(ids, k.digest(byName, nameIdentity(c)))
	}
	return ids
}

// nameIdentity is the person as a list without any number knows them: letters of
// the full name (spaces say nothing: Ben Ali is Benali), birth, governorate.
func nameIdentity(c *Candidate) string {
	family, given := c.FamilyName, c.GivenName
	if family == "" {
		family = c.FamilyNameAR
	}
	if given == "" {
		given = c.GivenNameAR
	}
	tight := func(s string) string { return strings.ReplaceAll(normalise(s), " ", "") }
	return strings.Join([]string{tight(family), tight(given), c.BirthDate, c.Governorate}, "|")
}

// ofKind gives the digest of one kind, or "".
func ofKind(ids []string, kind string) string {
	i := slices.IndexFunc(ids, func(id string) bool { return strings.HasPrefix(id, kind+":") })
	if i < 0 {
		return ""
	}
	return ids[i]
}

// contradicts says whether two sets of identities cannot be of one person: they
// hold different numbers of the same kind.
func contradicts(a, b []string) (kind string, yes bool) {
	for _, kind := range []string{byNationalID, byPassport} {
		x, y := ofKind(a, kind), ofKind(b, kind)
		if x != "" && y != "" && x != y {
			return kind, true
		}
	}
	return "", false
}
