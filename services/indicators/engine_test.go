package indicators

// percentile90 of sorted values, by the nearest rank: the smallest value that is
// not below nine tenths of all.
func percentile90(sorted []int64) float64 {
	rank := (9*len(sorted) + 9) / 10
	return float64(sorted[rank-1])
}
