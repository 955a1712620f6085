//go:build !race

package indicators

const racing = false
