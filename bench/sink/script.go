package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// maxScript bounds what is read: nobody writes so many faults.
const maxScript = 1 << 20

// script is one file while it is read.
type script struct {
	*Setup
	file string
}

// Script adds what a script holds, in YAML. file is its name in messages.
//
//	relays:
//	  - {name: a, address: "127.0.0.1:2601"}
//	  - {name: b, address: "127.0.0.1:2602"}
//	faults:
//	  - {relay: b, greeting: 421, at: 10s, for: 20s}
//	  - {content: "451 4.3.0 try later", probability: 5%}
//	seed: 7
func (s *Setup) Script(file string, text []byte) {
	in := script{s, file}
	if len(text) > maxScript {
		in.fail(0, "", "", fmt.Sprintf("must be at most %d octets, has %d", maxScript, len(text)))
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF): // nothing but comments
		return
	case err != nil:
		in.failSyntax(err)
		return
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		in.fail(0, "", "", "must be one YAML document, there is a second")
	}
	in.top(root.Content[0])
}

func (s *script) fail(line int, key, value, want string) {
	s.problems = append(s.problems, Problem{Place: s.file, Line: line, Key: key, Value: value, Want: want})
}

// failSyntax says what the YAML reader says, its line where it belongs.
func (s *script) failSyntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, message, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, message
		}
	}
	// Its scanner counts lines from 1, its parser from 0; only the words tell
	// which of them it was.
	switch strings.TrimPrefix(text, "did not find expected ") {
	case "node content", "key", "'-' indicator", "',' or ']'", "',' or '}'", "<document start>":
		line++
	}
	if strings.Contains(text, "cannot start any token") {
		text += ": indent with spaces, and put quotes around what begins with @, ` or %"
	}
	s.fail(max(line, 1), "", "", "not YAML: "+strings.ToValidUTF8(strings.Map(printable, text), "?"))
}

// printable keeps what the YAML reader quotes on its line.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// top reads the whole file.
func (s *script) top(n *yaml.Node) {
	for key, value := range s.mapping(n, "") {
		switch key.Value {
		case "relays":
			for i, item := range s.list(value, "relays") {
				s.relay(item, fmt.Sprintf("relays[%d]", i))
			}
		case "faults":
			for i, item := range s.list(value, "faults") {
				at := fmt.Sprintf("faults[%d]", i)
				if settings, ok := s.settings(item, at); ok {
					s.addFault(settings, s.file, at, item.Line)
				}
			}
		case "seed":
			seed, err := strconv.ParseUint(value.Value, 10, 64)
			if err != nil || value.Kind != yaml.ScalarNode {
				s.fail(value.Line, "seed", given(value), "must be a number, 0 or more")
			}
			s.seed = seed
		default:
			s.fail(key.Line, key.Value, "", "unknown key: must be one of relays, faults, seed")
		}
	}
}

// relay reads "a=127.0.0.1:2601", or a mapping.
func (s *script) relay(n *yaml.Node, at string) {
	if !s.plain(n, at) {
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		s.addRelay(n.Value, s.file, at, n.Line)
		return
	}
	settings, ok := s.settings(n, at)
	if !ok {
		return
	}
	r := placed[Relay]{place: s.file, key: at, line: n.Line, places: make(map[string]setting)}
	for _, set := range settings {
		r.places[set.key] = set
		switch set.key {
		case "name":
			r.value.Name = set.value
		case "address":
			r.value.Address = set.value
		case "implicit_tls":
			if set.value != "true" && set.value != "false" {
				s.failSetting(s.file, at, n.Line, set, "must be true or false")
			}
			r.value.ImplicitTLS = set.value == "true"
		default:
			s.failSetting(s.file, at, n.Line, set, "unknown key: must be one of name, address, implicit_tls")
		}
	}
	for _, key := range []string{"name", "address"} {
		if _, written := r.places[key]; !written {
			r.places[key] = setting{key: key, line: n.Line}
		}
	}
	s.relays = append(s.relays, r)
}

// settings reads a mapping of single values.
func (s *script) settings(n *yaml.Node, at string) (settings []setting, ok bool) {
	before := len(s.problems)
	for key, value := range s.mapping(n, at) {
		path := under(at, key.Value)
		switch {
		case value.Kind != yaml.ScalarNode:
			s.fail(value.Line, path, given(value), "must be one value")
		case value.Tag == "!!null" || value.Value == "":
			s.fail(value.Line, path, "", "has no value: write one, or leave the key out")
		default:
			settings = append(settings, setting{key.Value, value.Value, value.Line})
		}
	}
	return settings, len(s.problems) == before
}

// mapping yields the keys and values of a mapping, and fails for anything else.
func (s *script) mapping(n *yaml.Node, at string) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if !s.plain(n, at) {
			return
		}
		if n.Kind != yaml.MappingNode {
			s.fail(n.Line, at, given(n), "must be a mapping, KEY: VALUE")
			return
		}
		lines := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			path := under(at, key.Value)
			if line, twice := lines[key.Value]; twice {
				s.fail(key.Line, path, "", fmt.Sprintf("written twice: first on line %d", line))
				continue
			}
			lines[key.Value] = key.Line
			if key.Kind != yaml.ScalarNode || !s.plain(key, path) {
				s.fail(key.Line, at, "", "keys must be plain words")
				continue
			}
			if s.plain(value, path) && !yield(key, value) {
				return
			}
		}
	}
}

func (s *script) list(n *yaml.Node, at string) []*yaml.Node {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null": // every line below it is commented out
		return nil
	case n.Kind != yaml.SequenceNode:
		s.fail(n.Line, at, given(n), "must be a list, one a line, each after a dash")
		return nil
	}
	return n.Content
}

// plain refuses what YAML has beyond mappings, lists and scalars.
func (s *script) plain(n *yaml.Node, at string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		s.fail(n.Line, at, "", "anchors, aliases and tags are not known here: write it out")
		return false
	}
	return true
}

// given is a value as an error shows it.
func given(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return ""
	default:
		return quote(n.Value)
	}
}
