package admin

import (
	"bytes"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// api is what this test reads of openapi.yaml.
type api struct {
	OpenAPI string `yaml:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `yaml:"operationId"`
		Summary     string
		Security    []map[string][]string
		Parameters  []struct{ Name, In string }
		Responses   map[string]any
	}
	Components struct {
		Schemas map[string]schema
	}
}

type schema struct {
	Ref         string `yaml:"$ref"`
	Type        string
	Format      string
	Description string
	Required    []string
	Properties  map[string]schema
	Items       *schema
	Enum        []string
}

func described(t *testing.T) (doc api) {
	t.Helper()
	if err := yaml.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi: %q", doc.OpenAPI)
	}
	return doc
}

func TestEveryRouteIsDescribedAndTheOtherWayRound(t *testing.T) {
	doc := described(t)
	have := map[string]route{}
	for _, r := range (&Server{}).routes(http.NotFoundHandler()) {
		have[r.method+" "+r.path] = r
	}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			r, ok := have[name]
			if !ok {
				t.Errorf("%s is described, but not there", name)
				continue
			}
			delete(have, name)
			if op.Summary == "" || op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s: a summary and an operationId of its own are needed", name)
			}
			ids[op.OperationID] = true
			open := len(op.Security) == 1 && len(op.Security[0]) == 0
			if open != (r.who == anybody) {
				t.Errorf("%s: described as open to anybody: %v, and it is %v", name, open, r.who == anybody)
			}
			if _, ok := op.Responses["401"]; ok == open {
				t.Errorf("%s: open to anybody: %v, and 401 is described: %v", name, open, ok)
			}
			var inPath, described []string
			for _, found := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				inPath = append(inPath, found[1])
			}
			for _, p := range op.Parameters {
				if p.In == "path" {
					described = append(described, p.Name)
				}
			}
			if !slices.Equal(inPath, described) {
				t.Errorf("%s: parameters %q, described %q", name, inPath, described)
			}
		}
	}
	for name := range have {
		t.Errorf("%s is there, but not described", name)
	}
}

func TestTheDescriptionRefersToWhatIsThere(t *testing.T) {
	var whole map[string]any
	if err := yaml.Unmarshal(description, &whole); err != nil {
		t.Fatal(err)
	}
	refs := regexp.MustCompile(`\$ref: "#/([^"]+)"`).FindAllStringSubmatch(string(description), -1)
	if len(refs) == 0 {
		t.Fatal("no reference found: nothing was checked")
	}
	for _, ref := range refs {
		var at any = whole
		for _, part := range strings.Split(ref[1], "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s is not there", ref[1])
		}
	}
}

func TestEveryFieldOfAnAnswerIsDescribed(t *testing.T) {
	doc := described(t)
	seen := map[string]bool{}
	compare(t, doc, "Status", reflect.TypeFor[status](), seen)
	compare(t, doc, "SessionList", reflect.TypeFor[sessionList](), seen)
	compare(t, doc, "EventList", reflect.TypeFor[eventList](), seen)
	compare(t, doc, "Reloaded", reflect.TypeFor[Reloaded](), seen)
	compare(t, doc, "Done", reflect.TypeFor[done](), seen)
	compare(t, doc, "History", reflect.TypeFor[historyReport](), seen)
	compare(t, doc, "Problem", reflect.TypeFor[problem](), seen)
	for name := range doc.Components.Schemas {
		if !seen[name] {
			t.Errorf("schema %s describes nothing", name)
		}
	}
}

// compare holds a schema to the struct that it describes, and those below it.
func compare(t *testing.T, doc api, name string, of reflect.Type, seen map[string]bool) {
	t.Helper()
	if seen[name] {
		return
	}
	seen[name] = true
	described := doc.Components.Schemas[name]
	left := maps.Clone(described.Properties)
	for i := range of.NumField() {
		field := of.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "" {
			if field.IsExported() {
				t.Errorf("%v.%s has no name in JSON", of, field.Name)
			}
			continue
		}
		property, ok := left[key]
		if !ok {
			t.Errorf("%s.%s is in the answer, but not described", name, key)
			continue
		}
		delete(left, key)
		if property.Description == "" {
			t.Errorf("%s.%s has no description", name, key)
		}
		if always := options == ""; always != slices.Contains(described.Required, key) {
			t.Errorf("%s.%s is always there: %v; required says otherwise", name, key, always)
		}
		typ, ref := field.Type, property.Ref
		if typ.Kind() == reflect.Pointer { // not always there
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Slice {
			if property.Items == nil || property.Type != "array" {
				t.Errorf("%s.%s is an array, described as %q", name, key, property.Type)
				continue
			}
			typ, ref, property = typ.Elem(), property.Items.Ref, *property.Items
		}
		if ref != "" {
			compare(t, doc, ref[strings.LastIndex(ref, "/")+1:], typ, seen)
			continue
		}
		if want := jsonType(typ); property.Type != want {
			t.Errorf("%s.%s is described as %s, and is %s", name, key, property.Type, want)
		}
	}
	for key := range left {
		t.Errorf("%s.%s is described, but not in the answer", name, key)
	}
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Map:
		return "object"
	default:
		return "string" // times and addresses are written as text
	}
}

func TestTheDescriptionKnowsTheWords(t *testing.T) {
	doc := described(t)
	r := newRig(t)
	var states []string
	for _, line := range strings.Split(r.scrape(t), "\n") {
		if found := regexp.MustCompile(`^smtplb_backend_state\{backend="relay-a".*state="(\w+)"`).FindStringSubmatch(line); found != nil {
			states = append(states, found[1])
		}
	}
	enum := slices.Clone(doc.Components.Schemas["Backend"].Properties["state"].Enum)
	slices.Sort(enum)
	slices.Sort(states)
	if len(states) == 0 || !slices.Equal(enum, states) {
		t.Errorf("states %q are described, there are %q", enum, states)
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	answer := newRig(t).ask(t, "GET", "/api/v1/openapi.yaml")
	check(t, answer, http.StatusOK)
	if answer.Header().Get("Content-Type") != "application/yaml" || !bytes.Equal(answer.Body.Bytes(), description) {
		t.Errorf("%q, %d bytes", answer.Header().Get("Content-Type"), answer.Body.Len())
	}
}
