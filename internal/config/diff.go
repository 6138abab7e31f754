package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Change is a key that two configurations give different values.
type Change struct {
	// Key is its path, with names in place of indexes, such as
	// pools.outbound.backends.relay-a.weight.
	Key string

	// Was and Is are the values, as the file writes them. Both are empty where
	// What says more.
	Was, Is string

	// What is "added", "removed", "renamed, it was NAME" or "changed" of an element
	// that has a name or is a section, and which ones came and went of a list of
	// values, "added 192.0.2.1/32, removed 10.0.0.0/8".
	What string
}

// String is the change on one line: "log.level: info -> debug".
func (c Change) String() string {
	if c.What != "" {
		return c.Key + ": " + c.What
	}
	return c.Key + ": " + c.Was + " -> " + c.Is
}

// Diff returns what is different in the second configuration, in the order of
// the keys. Listeners, pools and backends are the same by their name, or else
// by their address, whatever their order; that of routes matters.
func Diff(was, is *Config) []Change {
	return diffSection(nil, reflect.ValueOf(was).Elem(), reflect.ValueOf(is).Elem(), "")
}

func diffSection(found []Change, was, is reflect.Value, at string) []Change {
	t := was.Type()
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get(tag); key != "" && (key != "name" || at == "") {
			found = diffValue(found, was.Field(i), is.Field(i), child(at, key))
		}
	}
	return found
}

func diffValue(found []Change, was, is reflect.Value, at string) []Change {
	t := was.Type()
	switch {
	case shapeOf(t) == shapeSection:
		return diffSection(found, was, is, at)
	case reflect.DeepEqual(was.Interface(), is.Interface()):
		return found
	case shapeOf(t) == shapeList && shapeOf(t.Elem()) == shapeSection:
		if _, named := fieldOf(t.Elem(), "name"); named {
			return diffList(found, was, is, at)
		}
		return append(found, Change{Key: at, What: "changed"})
	case shapeOf(t) == shapeList:
		return append(found, Change{Key: at, What: listChange(was, is)})
	default:
		return append(found, Change{Key: at, Was: written(was), Is: written(is)})
	}
}

// diffList compares two lists of elements that have names.
func diffList(found []Change, was, is reflect.Value, at string) []Change {
	partner, gone := pair(was, is)
	for i := range is.Len() {
		now := is.Index(i)
		key := child(at, nameOf(now))
		if partner[i] < 0 {
			found = append(found, Change{Key: key, What: "added"})
			continue
		}
		before := was.Index(partner[i])
		if nameOf(before) != nameOf(now) {
			found = append(found, Change{Key: key, What: "renamed, it was " + nameOf(before)})
		}
		found = diffSection(found, before, now, key)
	}
	for _, i := range gone {
		found = append(found, Change{Key: child(at, nameOf(was.Index(i))), What: "removed"})
	}
	return found
}

// pair finds for each element of is the one that it was, -1 for a new one, and
// those that are gone. By name first, then by address.
func pair(was, is reflect.Value) (partner, gone []int) {
	partner = make([]int, is.Len())
	taken := make([]bool, was.Len())
	for i := range partner {
		partner[i] = -1
	}
	match := func(identity func(reflect.Value) string) {
		known := make(map[string]int, was.Len())
		for i := range was.Len() {
			if !taken[i] {
				known[identity(was.Index(i))] = i
			}
		}
		for i := range partner {
			if partner[i] >= 0 {
				continue
			}
			id := identity(is.Index(i))
			if at, ok := known[id]; ok && id != "" && !taken[at] {
				partner[i], taken[at] = at, true
			}
		}
	}
	match(nameOf)
	match(addressOf)
	for i, t := range taken {
		if !t {
			gone = append(gone, i)
		}
	}
	return partner, gone
}

// mostValues of a list are named: it may have thousands, and this is for a line of
// the log.
const mostValues = 10

// listChange says which values of a list came and went.
func listChange(was, is reflect.Value) string {
	added, removed := without(is, was), without(was, is)
	var parts []string
	if len(added) > 0 {
		parts = append(parts, "added "+some(added))
	}
	if len(removed) > 0 {
		parts = append(parts, "removed "+some(removed))
	}
	if len(parts) == 0 {
		return "in another order"
	}
	return strings.Join(parts, ", ")
}

// without are the values of a list that are not in another.
func without(list, other reflect.Value) (rest []string) {
	known := make(map[string]bool, other.Len())
	for i := range other.Len() {
		known[written(other.Index(i))] = true
	}
	for i := range list.Len() {
		if text := written(list.Index(i)); !known[text] {
			rest = append(rest, text)
		}
	}
	return rest
}

func some(all []string) string {
	if len(all) <= mostValues {
		return strings.Join(all, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:mostValues], " "), len(all)-mostValues)
}

func nameOf(v reflect.Value) string { return v.FieldByName("Name").String() }

// addressOf is empty for what has none.
func addressOf(v reflect.Value) string {
	if field := v.FieldByName("Address"); field.IsValid() {
		return fmt.Sprint(field.Interface())
	}
	return ""
}

// written is a value as the file writes it, "" in quotes.
func written(v reflect.Value) string {
	text := fmt.Sprint(v.Interface())
	if a, ok := v.Interface().(interface{ IsValid() bool }); ok && !a.IsValid() {
		text = ""
	}
	if text == "" {
		return `""`
	}
	return text
}
