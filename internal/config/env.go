package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix = "SMTPLB_"
	envLevel  = "__"
)

// loadEnvironment puts the variables with our prefix over what the file says.
func (r *report) loadEnvironment(k *koanf.Koanf, environ []string) error {
	// Without a delimiter the provider leaves names flat: its nesting knows no
	// lists, and would lose one of two variables where one holds the other.
	provider := env.Provider("", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
	})
	return k.Load(provider, nil, koanf.WithMergeFunc(func(variables, values map[string]any) error {
		for _, name := range slices.SortedFunc(maps.Keys(variables), compareVariables) {
			text, _ := variables[name].(string)
			r.override(values, name, text)
		}
		return nil
	}))
}

// compareVariables sorts by level, indices as numbers, so that a list grows
// from its end.
func compareVariables(a, b string) int {
	return slices.CompareFunc(strings.Split(a, envLevel), strings.Split(b, envLevel), func(a, b string) int {
		m, errA := strconv.Atoi(a)
		n, errB := strconv.Atoi(b)
		if errA == nil && errB == nil {
			return cmp.Compare(m, n)
		}
		return strings.Compare(a, b)
	})
}

// override applies one variable to the values of the file.
func (r *report) override(values map[string]any, name, text string) {
	levels := strings.Split(strings.TrimPrefix(name, envPrefix), envLevel)
	t, path := reflect.TypeFor[Config](), ""
	for i, level := range levels {
		next, ok := below(t, level)
		if !ok {
			r.failVariable(origin{variable: name, value: quote(text)}, "", "no such key: "+suggestVariable(name, levels[:i], t))
			return
		}
		if shapeOf(t) == shapeList {
			path += "[" + level + "]"
		} else {
			path = child(path, strings.ToLower(level))
		}
		t = next
	}
	o := origin{variable: name, value: quote(text)}
	value, problem := variableValue(t, text)
	if problem != "" {
		r.failVariable(o, path, problem)
		r.broken[path] = true
		return
	}
	r.put(values, "", levels, value, o)
}

// below is the type one level down, where there is one of that name.
func below(t reflect.Type, level string) (reflect.Type, bool) {
	switch shapeOf(t) {
	case shapeSection:
		if level != strings.ToUpper(level) {
			return nil, false
		}
		return fieldOf(t, strings.ToLower(level))
	case shapeList:
		_, ok := parseIndex(level)
		return t.Elem(), ok
	default:
		return nil, false
	}
}

func parseIndex(level string) (int, bool) {
	n, err := strconv.Atoi(level)
	return n, err == nil && n >= 0 && strconv.Itoa(n) == level
}

// variableValue types the text of a variable by the key it is for. What is text
// in the file is taken as it stands, with the quotes of YAML or without: in an
// environment "[::]:25" is not a list.
func variableValue(t reflect.Type, text string) (value any, problem string) {
	switch {
	case shapeOf(t) == shapeSection:
		return nil, "must name one key of this section, after two underscores: " + strings.ToUpper(list(keysOf(t)))
	case shapeOf(t) == shapeList && shapeOf(t.Elem()) != shapeValue:
		return nil, "must name one element by its index, and its key: " + strings.ToUpper(list(keysOf(t.Elem())))
	case shapeOf(t) == shapeValue && t.Kind() != reflect.Bool && t.Kind() != reflect.Int && t.Kind() != reflect.Uint32:
		if text == "" || text[0] != '"' && text[0] != '\'' {
			return text, ""
		}
	}
	if n := variableNode(text); n != nil {
		inner := newReport("")
		if v, ok := inner.node(n, t, "value"); ok && len(inner.errors) == 0 {
			return v, ""
		}
	}
	if shapeOf(t) == shapeList {
		return nil, "must be a list: [a, b]"
	}
	return nil, "must be one value"
}

// variableNode reads text as YAML; it is nil where that is not one value.
func variableNode(text string) *yaml.Node {
	var document yaml.Node
	err := decodeNode(yaml.NewDecoder(strings.NewReader(text)), &document)
	if err != nil || len(document.Content) != 1 {
		return nil
	}
	return document.Content[0]
}

// put sets the value at the path that levels spell below holder, which is at
// path itself, and returns what then stands in its place. It remembers the
// variable as the place the value, and what had to be made for it, was written.
func (r *report) put(holder any, path string, levels []string, value any, o origin) any {
	if len(levels) == 0 {
		// The elements of a list that stood here are gone.
		maps.DeleteFunc(r.origins, func(key string, _ origin) bool { return strings.HasPrefix(key, path+"[") })
		r.origins[path] = o
		return value
	}
	if holder == nil {
		r.origins[path] = origin{variable: o.variable}
	}
	index, ok := parseIndex(levels[0])
	if !ok {
		key := strings.ToLower(levels[0])
		section, _ := holder.(map[string]any)
		if section == nil {
			section = make(map[string]any)
		}
		section[key] = r.put(section[key], child(path, key), levels[1:], value, o)
		return section
	}
	elements, _ := holder.([]any)
	if index > len(elements) {
		r.failVariable(o, path, fmt.Sprintf("must have an index of 0 to %d: the list has %d", len(elements), len(elements)))
		return holder
	}
	if index == len(elements) {
		elements = append(elements, nil)
	}
	elements[index] = r.put(elements[index], fmt.Sprintf("%s[%d]", path, index), levels[1:], value, o)
	return elements
}

// failVariable records an error at a variable, and at the key it was for, if
// there is one.
func (r *report) failVariable(o origin, path, want string) {
	r.errors = append(r.errors, Problem{File: r.file, Variable: o.variable, Key: path, Value: o.value, Want: want})
}

// suggestVariable finds the variable that was meant, with the indices written.
func suggestVariable(name string, known []string, t reflect.Type) string {
	var indices []string
	for _, part := range strings.FieldsFunc(name, func(c rune) bool { return c == '_' }) {
		if digits(part) {
			indices = append(indices, part)
		}
	}
	var all []string
	for _, leaf := range leavesOf(reflect.TypeFor[Config](), envLevel) {
		parts := strings.Split(strings.ToUpper(leaf), envLevel)
		n := 0
		for i, part := range parts {
			if part == "0" && n < len(indices) {
				parts[i] = indices[n]
				n++
			}
		}
		all = append(all, strings.Join(parts, envLevel))
	}
	if near := nearest(strings.TrimPrefix(name, envPrefix), all); near != "" {
		return "did you mean " + envPrefix + near + "?"
	}
	at := envPrefix + strings.Join(append(slices.Clone(known), ""), envLevel)
	switch shapeOf(t) {
	case shapeSection:
		return at + " must go on with one of " + strings.ToUpper(list(keysOf(t)))
	case shapeList:
		return at + " must go on with an index from 0"
	default:
		return strings.TrimSuffix(at, envLevel) + " is one value, nothing is below it"
	}
}
