package config

import (
	"strconv"
	"strings"
)

// suggest says what a wrong word should have been: the known word nearest to
// it, else all of them.
func suggest(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return "did you mean `" + near + "`?"
	}
	return oneOf(known)
}

// oneOf names the words that would be right.
func oneOf(known []string) string {
	if len(known) == 1 {
		return "must be " + known[0]
	}
	return "must be one of " + list(known)
}

// list joins words, the first twenty of them.
func list(words []string) string {
	const most = 20
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

// nearest returns the known word that word is a slip of: at most one letter in
// three is wrong, or one begins the other and is half as long at least. "" where
// there is none.
func nearest(word string, known []string) string {
	const longest = 100 // bounds the work on a file that is not for us
	if len(word) > longest {
		return ""
	}
	word = strings.ToLower(word)
	best, bestDistance := "", 0
	for _, k := range known {
		lower := strings.ToLower(k)
		d := distance(word, lower)
		if 2*min(len(word), len(k)) >= max(len(word), len(k)) && (strings.HasPrefix(lower, word) || strings.HasPrefix(word, lower)) {
			d = min(d, 1)
		}
		if d <= max(1, max(len(word), len(k))/3) && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	return best
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

// quote writes text from outside so that it stays short and on its line.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
