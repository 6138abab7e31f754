package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// comments are those of the fields of this package, by type and field.
type comments map[string]map[string]string

// comment is what a field's comment says, taken apart.
type comment struct {
	meaning  string // all but what is below
	required string // "Required." and what follows in its sentence
	literal  string // the V of "Default V."
	because  string // the words of "Default V: words."
	fallback string // the words of "Default: words."
}

// all is the whole comment of a section.
func (c comment) all() string {
	text := c.meaning
	if c.required != "" {
		text += " " + c.required
	}
	if c.fallback != "" {
		text += " Without it: " + c.fallback + "."
	}
	return text
}

func readComments(t *testing.T) comments {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	all := comments{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					all[spec.Name.Name] = fieldComments(s)
				}
			}
			return true
		})
	}
	return all
}

// fieldComments gives a field without a comment that of the fields right above
// it, which speaks of them all.
func fieldComments(s *ast.StructType) map[string]string {
	of, last := map[string]string{}, ""
	for _, f := range s.Fields.List {
		if f.Doc != nil {
			last = strings.Join(strings.Fields(f.Doc.Text()), " ")
		}
		for _, name := range f.Names {
			of[name.Name] = last
		}
	}
	return of
}

var sentence = regexp.MustCompile(`(?:^| )((?:Default|Required)\b.*?)\.(?: |$)`)

// of takes a field's comment apart. Names of fields become the keys' names.
func (c comments) of(t *testing.T, typ reflect.Type, f reflect.StructField) (of comment) {
	t.Helper()
	text := c[typ.Name()][f.Name]
	if text == "" {
		t.Fatalf("%s.%s has no comment", typ.Name(), f.Name)
	}
	text = keyNames(typ, text)
	for {
		at := sentence.FindStringSubmatchIndex(text)
		if at == nil {
			break
		}
		said := text[at[2]:at[3]]
		text = strings.TrimSpace(text[:at[0]] + " " + text[at[1]:])
		words, isDefault := strings.CutPrefix(said, "Default")
		if !isDefault {
			of.required = said + "."
			continue
		}
		if fallback, ok := strings.CutPrefix(words, ": "); ok {
			of.fallback = fallback
			continue
		}
		of.literal, of.because, _ = strings.Cut(strings.TrimSpace(words), ": ")
	}
	of.meaning = text
	return of
}

var capital = regexp.MustCompile(`\b[A-Z]\w+`)

// keyNames writes fields that a comment names as the keys they are.
func keyNames(typ reflect.Type, text string) string {
	return capital.ReplaceAllStringFunc(text, func(word string) string {
		if f, ok := typ.FieldByName(word); ok && f.Tag.Get(tag) != "" {
			return "`" + f.Tag.Get(tag) + "`"
		}
		return word
	})
}
