package config

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// The walk over the parsed file, led by the types of Config: it remembers the
// line of every key, refuses what has the wrong shape, and keeps the rest, so
// that one wrong key does not hide the next. Values of unknown keys are not
// looked into, which bounds the depth.

// section reads a mapping of known keys. It is never nil, so that a list keeps
// an element for each that was written.
func (r *report) section(n *yaml.Node, t reflect.Type, at string) map[string]any {
	values := make(map[string]any)
	lines := make(map[string]int)
	var meant []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !r.plain(key, at) {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			r.failNode(key, child(at, "?"), "keys must be plain words")
			continue
		}
		path := child(at, key.Value)
		if line, twice := lines[key.Value]; twice {
			// A mistake of its own: what is wrong with the first value is said too.
			before := r.broken[path]
			r.broken[path] = false
			r.failNode(key, path, fmt.Sprintf("written twice: first on line %d", line))
			r.broken[path] = before
			continue
		}
		lines[key.Value] = key.Line
		field, known := fieldOf(t, key.Value)
		if !known {
			meant = append(meant, r.failUnknown(key, t, at))
			continue
		}
		r.origins[path] = origin{line: key.Line, value: given(value)}
		if v, ok := r.node(value, field, path); ok {
			values[key.Value] = v
		}
	}
	for _, key := range meant {
		if lines[key] == 0 {
			r.broken[child(at, key)] = true // so it is not called missing as well
		}
	}
	return values
}

// failUnknown refuses a key. It returns the key it was meant to be, or "".
func (r *report) failUnknown(key *yaml.Node, t reflect.Type, at string) string {
	keys := keysOf(t)
	want := "unknown key: " + suggest(key.Value, keys)
	if key.Tag == "!!merge" {
		want = "merge keys are not known here: write the keys out"
	}
	r.failNode(key, child(at, key.Value), want)
	return nearest(key.Value, keys)
}

// failNode records an error at a node that is not the value of a known key.
func (r *report) failNode(n *yaml.Node, path, want string) {
	before, had := r.origins[path]
	r.origins[path] = origin{line: n.Line}
	r.fail(path, want)
	if had {
		r.origins[path] = before
	}
}

// node reads one value of any shape. It is false where nothing is to be kept:
// the value is wrong, which has been said, or there is none.
func (r *report) node(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if !r.plain(n, path) {
		return nil, false
	}
	want := shapeOf(t)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		// "deny:" with every line below it commented out is an empty list; a
		// value nobody wrote is a mistake.
		if want == shapeValue {
			r.fail(path, "has no value: write one, or leave the key out")
		}
		return nil, false
	}
	switch {
	case want == shapeSection && n.Kind == yaml.MappingNode:
		return r.section(n, t, path), true
	case want == shapeSection:
		r.fail(path, "must be a mapping with the keys "+list(keysOf(t)))
	case want == shapeList && n.Kind == yaml.SequenceNode && len(n.Content) > longest(t):
		r.fail(path, fmt.Sprintf("must have at most %d elements, has %d", longest(t), len(n.Content)))
	case want == shapeList && n.Kind == yaml.SequenceNode:
		return r.sequence(n, t.Elem(), path), true
	case want == shapeList:
		r.fail(path, "must be a list: [a, b], or one a line, each after a dash")
	case n.Kind == yaml.ScalarNode:
		return scalar(n), true
	default:
		r.fail(path, "must be one value")
	}
	return nil, false
}

// longest bounds a list, far above any site's, so that a file of a million
// empty elements is refused at once and not after a minute.
func longest(list reflect.Type) int {
	if shapeOf(list.Elem()) == shapeSection {
		return 1000
	}
	return 10_000
}

// sequence reads a list. A wrong element leaves an empty place, so that the
// indices of the others stay those of the file.
func (r *report) sequence(n *yaml.Node, elem reflect.Type, path string) []any {
	values := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.origins[at] = origin{line: item.Line, value: given(item)}
		v, ok := r.node(item, elem, at)
		if !ok {
			r.fail(at, "is empty: write it, or remove the dash")
			v = nil
		}
		values = append(values, v)
	}
	return values
}

// plain refuses what YAML has beyond mappings, lists and scalars. Aliases can
// make a small file huge (each doubles what the last one holds), and no key
// here is long enough to need them.
func (r *report) plain(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		if !r.aliased {
			r.failNode(n, path, wantNoAlias)
		}
		r.aliased, r.broken[path] = true, true
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.failNode(n, path, wantNoTag)
		return false
	}
	return true
}

// scalar is the value of a scalar as YAML types it. What has no plain type of
// its own stays text: dates, numbers too large, and numbers with a leading
// zero, which some YAML versions read as octal.
func scalar(n *yaml.Node) any {
	var v any
	switch n.Tag {
	case "!!int":
		var i int
		if n.Value[0] == '0' && len(n.Value) > 1 && digits(n.Value) || n.Decode(&i) != nil {
			return n.Value
		}
		v = i
	case "!!float", "!!bool":
		if n.Decode(&v) != nil {
			return n.Value
		}
	default:
		v = n.Value
	}
	return v
}

// given is a value as an error shows it.
func given(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) == 0:
		return "{}"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "[]"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		return ""
	case n.Tag == "!!str" || len(n.Value) > 64:
		return quote(n.Value)
	default:
		return n.Value
	}
}
