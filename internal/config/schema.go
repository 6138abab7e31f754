package config

import (
	"reflect"
	"strings"
)

// tag is the struct tag that names a field's key.
const tag = "koanf"

// shape is what a Go type looks like in the file.
type shape int

const (
	shapeValue   shape = iota // one scalar
	shapeSection              // a mapping of known keys
	shapeList                 // a sequence
)

// shapeOf derives the shape from the type: a section is a struct whose fields
// name keys, all other structs (addresses, networks) are written as one scalar.
func shapeOf(t reflect.Type) shape {
	switch {
	case t.Kind() == reflect.Slice:
		return shapeList
	case t.Kind() == reflect.Struct && len(keysOf(t)) > 0:
		return shapeSection
	default:
		return shapeValue
	}
}

// keysOf lists the keys of a section in the order of its fields.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get(tag); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// fieldOf returns the type behind a key of a section.
func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); key != "" && f.Tag.Get(tag) == key {
			return f.Type, true
		}
	}
	return nil, false
}

// leavesOf lists every key of a section and below as levels joined by sep,
// with "0" for each index.
func leavesOf(t reflect.Type, sep string) []string {
	switch shapeOf(t) {
	case shapeSection:
		var all []string
		for _, key := range keysOf(t) {
			field, _ := fieldOf(t, key)
			for _, rest := range leavesOf(field, sep) {
				all = append(all, strings.TrimSuffix(key+sep+rest, sep))
			}
		}
		return all
	case shapeList:
		if shapeOf(t.Elem()) == shapeValue {
			return []string{""}
		}
		all := leavesOf(t.Elem(), sep)
		for i, rest := range all {
			all[i] = "0" + sep + rest
		}
		return all
	default:
		return []string{""}
	}
}

// child is the path of a key within a section.
func child(at, key string) string {
	if !isName(key) || len(key) > 64 || strings.ContainsAny(key, ".[]") {
		key = quote(key)
	}
	if at == "" {
		return key
	}
	return at + "." + key
}
