package matching

// Stamp is the fingerprint of the state of a person's document: of the last
// event of the candidate and of each pathway that it took. A document is worked
// out from those events alone, each aggregate in its own part, so that two
// documents of one person with one stamp are the same. The stamps of different
// people are not to be compared.
//
// It is a sum with one summand for each aggregate, so that the events which lead
// to a stamp can be looked for among all those that are known: see vector.
func (s *Seeker) Stamp() uint64 {
	sum := stampOf("", s.Seq)
	for i := range s.Pathways {
		sum += stampOf(s.Pathways[i].ID, s.Pathways[i].Seq)
	}
	return sum
}

// stampOf is what one aggregate adds to a stamp: the candidate ("") or a pathway
// at its last event.
func stampOf(pathway string, seq int64) uint64 {
	if seq == 0 { // nothing of it is known
		return 0
	}
	return mix(fnv(14695981039346656037, pathway) ^ mix(uint64(seq)))
}

// mix is the finalizer of SplitMix64: each bit of the input changes half of the
// output.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
