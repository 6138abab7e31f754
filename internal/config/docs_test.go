package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const page = "../../docs/configuration.md"

// The page holds what the code says: the complete example is testdata/full.yaml,
// which TestFullFileHasEveryKey holds to the keys, and the keys are those of Config, with
// the fields' comments, the defaults of defaults.go and what the parser itself
// says that it takes.
func TestConfigurationPageIsWhatTheCodeSays(t *testing.T) {
	example, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := newDocs(t)
	w.section(reflect.ValueOf(defaultConfig()), "", envPrefix)
	holdPage(t, map[string]string{
		"example": "\n```yaml\n" + string(example) + "```\n\n",
		"keys":    w.text.String(),
	})
}

// holdPage compares the parts of the page between "<!-- name -->" and
// "<!-- end -->" with what they should be, or writes them.
func holdPage(t *testing.T, parts map[string]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	is := string(text)
	for name, want := range parts {
		begin := "<!-- " + name + " -->\n"
		head, rest, ok := strings.Cut(is, begin)
		_, tail, closed := strings.Cut(rest, "<!-- end -->")
		if !ok || !closed {
			t.Fatalf("%s has no place for the %s, between %q and %q", page, name, begin, "<!-- end -->")
		}
		is = head + begin + want + "<!-- end -->" + tail
	}
	if is == string(text) {
		return
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(page, []byte(is), 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the code says: UPDATE_DOCS=1 go test ./internal/config -run ConfigurationPage writes it; the first line that differs:\n%s",
		page, firstDifference(string(text), is))
}

func firstDifference(a, b string) string {
	is, want := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range want {
		if i >= len(is) || is[i] != want[i] {
			return fmt.Sprintf("line %d: want %s", i+1, want[i])
		}
	}
	return fmt.Sprintf("line %d: want nothing more", len(want))
}

// docs writes the page's keys.
type docs struct {
	t        *testing.T
	comments comments
	bases    [][]byte // configurations without an error, for asking the parser
	text     strings.Builder
}

func newDocs(t *testing.T) *docs {
	t.Helper()
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := []byte("listeners: [{address: \"192.0.2.25:25\", pool: a, allow: [192.0.2.1]}]\npools: [{name: a, discover: \"mx:example.com\"}]\n")
	for _, base := range [][]byte{full, found} {
		if _, err := Parse("base.yaml", base, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &docs{t: t, comments: readComments(t), bases: [][]byte{full, found}}
}

// section writes the keys of a struct whose fields hold the defaults, first
// those with a value, then the sections below it.
func (w *docs) section(v reflect.Value, path, variable string) {
	typ := v.Type()
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Tag.Get(tag) != "" && isLeaf(f.Type) {
			w.key(typ, f, v.Field(i), path, variable)
		}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get(tag)
		if key == "" || isLeaf(f.Type) {
			continue
		}
		at, below, name := path+key, v.Field(i), variable+strings.ToUpper(key)+envLevel
		if f.Type.Kind() == reflect.Slice {
			at, below, name = at+"[]", elementDefaults(f.Type.Elem()), name+"0"+envLevel
		}
		fmt.Fprintf(&w.text, "\n## `%s`\n\n%s\n", at, w.comments.of(w.t, typ, f).all())
		w.section(below, at+".", name)
	}
}

func isLeaf(t reflect.Type) bool {
	return shapeOf(t) == shapeValue || shapeOf(t) == shapeList && shapeOf(t.Elem()) == shapeValue
}

// elementDefaults is an element of a list before any of its keys is read.
func elementDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	_, _ = defaultsHook(reflect.ValueOf(0), v) // it only sets what it knows
	return v
}

// key writes one key that has a value.
func (w *docs) key(typ reflect.Type, f reflect.StructField, value reflect.Value, path, variable string) {
	name := f.Tag.Get(tag)
	variable += strings.ToUpper(name)
	c := w.comments.of(w.t, typ, f)
	values := w.values(f.Type, variable)
	w.holdRange(typ, f, values)
	fmt.Fprintf(&w.text, "\n### `%s%s`\n\n%s\n\n", path, name, withoutRange.ReplaceAllString(c.meaning, ""))
	fmt.Fprintf(&w.text, "- Value: %s.\n", values)
	fmt.Fprintf(&w.text, "- Default: %s\n", w.defaultOf(typ, f, value))
	fmt.Fprintf(&w.text, "- Environment: `%s`\n", variable)
}

var (
	saidRange    = regexp.MustCompile(`\b(\d\w*%?) to (\d\w*%?)`)
	withoutRange = regexp.MustCompile(`, ` + saidRange.String() + `\b%?`)
)

// holdRange compares the range that a comment says with the one that is checked.
func (w *docs) holdRange(typ reflect.Type, f reflect.StructField, values string) {
	said := saidRange.FindString(w.comments.of(w.t, typ, f).meaning)
	if said != "" && !strings.HasSuffix(values, " "+said) {
		w.t.Errorf("the comment of %s.%s says %s, the parser: %s", typ.Name(), f.Name, said, values)
	}
}

// defaultOf is the code's default. What a comment says of it beyond is kept; a
// comment that says another one is an error.
func (w *docs) defaultOf(typ reflect.Type, f reflect.StructField, value reflect.Value) string {
	c, is := w.comments.of(w.t, typ, f), inFile(value)
	switch {
	case c.required != "":
		return "none. " + c.required
	case c.fallback != "":
		return c.fallback + "."
	case c.literal == "" && value.IsZero() && f.Type.Kind() != reflect.Struct:
		w.t.Errorf("the comment of %s.%s must say what is without it: Default V. or Default: words. or Required.", typ.Name(), f.Name)
	case c.literal != "" && !sameDefault(c.literal, is):
		w.t.Errorf("the comment of %s.%s says Default %s, defaults.go has %s", typ.Name(), f.Name, c.literal, is)
	}
	if c.because != "" {
		return "`" + is + "`: " + c.because + "."
	}
	return "`" + is + "`."
}

// inFile is a default as a person would write it in the file.
func inFile(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return short(d)
	}
	return written(v)
}

func sameDefault(said, is string) bool {
	if said == is {
		return true
	}
	a, errA := parseDuration(said)
	b, errB := parseDuration(is)
	return errA == nil && errB == nil && a == b
}

// values are what the parser itself says a key takes, when it is given what it
// does not.
func (w *docs) values(typ reflect.Type, variable string) string {
	want := w.asked(variable)
	for _, text := range want {
		if low, high, ok := strings.Cut(text, " to "); ok && !strings.Contains(low+high, " ") {
			return kindOf(typ) + ", " + text
		}
	}
	if len(want) == 0 {
		return kindOf(typ)
	}
	if typ.Kind() == reflect.Slice {
		return "a list, each " + want[0]
	}
	return want[0]
}

func kindOf(typ reflect.Type) string {
	switch {
	case typ.Kind() == reflect.Int || typ.Kind() == reflect.Uint32:
		return "a whole number"
	case typ == reflect.TypeFor[Share]():
		return "a share"
	case typ.Kind() == reflect.Int64:
		return "a time with its unit"
	default:
		return "text"
	}
}

// asked are the different answers of the parser to values that no key takes.
func (w *docs) asked(variable string) (want []string) {
	for _, base := range w.bases {
		for _, bad := range []string{"!", "-1", "-1s", "90000h", "100%", "0%", "\x01", `["!"]`} {
			_, err := Parse("base.yaml", base, []string{variable + "=" + bad})
			errs, _ := err.(Errors) //nolint:errorlint // Parse returns nothing else for a variable
			for _, p := range errs {
				text := takes(p.Want)
				if p.Variable == variable && text != "" && !slices.Contains(want, text) {
					want = append(want, text)
				}
			}
		}
	}
	return want
}

// takes is the part of an error that says what would be right, "" where it
// speaks of the shape only.
func takes(want string) string {
	text, ok := strings.CutPrefix(want, "must be ")
	switch kind, _, refers := strings.Cut(strings.TrimPrefix(want, "no such "), ":"); {
	case refers && strings.HasPrefix(want, "no such "):
		return "the name of a " + kind
	case strings.HasPrefix(want, "needs "), text == "one value", strings.HasPrefix(text, "a list: "):
		return ""
	case !ok:
		return "text that " + want
	}
	text, _, _ = strings.Cut(text, ": the client waits") // said at the key
	return text
}
