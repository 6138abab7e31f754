package admin

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

const (
	longestName = 100 // bounds the work on a name that is not for us
	mostNear    = 3
)

// Near returns the known names that a wrong one may have been meant for, the
// nearest first, at most three: those that hold it or that it holds, and those
// of which at most one letter in three is another.
func Near(name string, known []string) []string {
	if name == "" || len(name) > longestName {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	lower := strings.ToLower(name)
	for _, k := range known {
		if len(k) > longestName {
			continue
		}
		l := strings.ToLower(k)
		d := distance(lower, l)
		if strings.Contains(l, lower) || strings.Contains(lower, l) || d <= max(1, max(len(l), len(lower))/3) {
			found = append(found, candidate{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range found[:min(len(found), mostNear)] {
		names = append(names, c.name)
	}
	return names
}

// distance is the Levenshtein distance in bytes: the fewest that are put in,
// taken out or changed to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// quote writes a name from outside so that it stays short and on its line.
func quote(name string) string {
	if len(name) > longestName {
		return strconv.Quote(name[:longestName]) + "..."
	}
	return strconv.Quote(name)
}
