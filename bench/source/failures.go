package source

import (
	"slices"
	"strings"
	"sync"

	"smtplb/bench/result"
)

const (
	maxGroups = 200 // ways to fail that a report tells apart
	maxText   = 400
	digits    = "0123456789"
)

// failures counts faults. Those of one class, stage and target whose texts
// differ in numbers and IDs only are one, and the first stands for all.
type failures struct {
	mu     sync.Mutex
	groups map[group]*result.Failure
}

type group struct{ class, stage, target, form string }

// add counts a fault; target is empty where there is only one.
func (f *failures) add(fault *fault, target string) {
	g := group{fault.class, fault.stage, target, form(fault.text)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups == nil {
		f.groups = make(map[group]*result.Failure)
	}
	known := f.groups[g]
	if known == nil && len(f.groups) >= maxGroups {
		g.form = ""
		known = f.groups[g]
	}
	if known == nil {
		known = &result.Failure{Class: fault.class, Stage: fault.stage, Target: target, Reply: fault.text}
		f.groups[g] = known
	}
	known.Count++
}

// list is what there is, most frequent first.
func (f *failures) list() []result.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]result.Failure, 0, len(f.groups))
	for _, failure := range f.groups {
		list = append(list, *failure)
	}
	slices.SortFunc(list, func(a, b result.Failure) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(a.Stage+a.Class+a.Target+a.Reply, b.Stage+b.Class+b.Target+b.Reply)
	})
	return list
}

// form is a text with every word that has a digit replaced, but for the codes
// that a reply begins with.
func form(text string) string {
	var out strings.Builder
	fields := strings.FieldsFunc(text, func(r rune) bool { return !isWord(r) })
	rest := text
	for i, word := range fields {
		at := strings.Index(rest, word)
		out.WriteString(rest[:at])
		rest = rest[at+len(word):]
		if strings.ContainsAny(word, digits) && !isCode(i, word) {
			word = "#"
		}
		out.WriteString(word)
	}
	out.WriteString(rest)
	return out.String()
}

// isWord keeps addresses, times, queue IDs and status codes in one piece.
func isWord(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == ':' || r == '_' || r == '-' || r > '~'
}

// isCode tells a reply code, and the enhanced status code after it (RFC 3463).
func isCode(place int, word string) bool {
	switch place {
	case 0:
		return len(word) == 3
	case 1:
		return len(word) <= 9 && strings.Trim(word, digits+".") == "" && strings.Count(word, ".") == 2
	default:
		return false
	}
}

// printable is a reply for a report: lines without their ends, at most maxText
// bytes, nothing that a terminal would obey.
func printable(reply []byte) string {
	text := strings.ReplaceAll(strings.TrimRight(string(reply), "\r\n"), "\r\n", "\n")
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}
