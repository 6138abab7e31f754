package supply

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// bom is what the test needs of CycloneDX.
type bom struct {
	BOMFormat string
	Metadata  struct{ Component component }
	// Components are the modules, and Go's standard library as the module "std".
	Components []component
}

type component struct{ Name, Version string }

func TestTheListNamesWhatIsInTheProgram(t *testing.T) {
	dir := t.TempDir()
	command(t, nil, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/", "./cmd/smtplb", "./cmd/smtpbench")
	command(t, nil, "internal/tools/sbom.sh", dir, "v1.2.3")
	for _, program := range []string{"smtplb", "smtpbench"} {
		t.Run(program, func(t *testing.T) {
			info, err := buildinfo.ReadFile(filepath.Join(dir, program))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, program+".cdx.json")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range differences(info, text) {
				t.Error(problem)
			}
			// The same program has the same list.
			command(t, nil, "internal/tools/sbom.sh", dir, "v1.2.3")
			if again, err := os.ReadFile(file); err != nil || string(again) != string(text) {
				t.Errorf("written again it is another: %v", err)
			}
		})
	}
}

// What is compared above is compared.
func TestADifferenceIsSeen(t *testing.T) {
	info := &buildinfo.BuildInfo{GoVersion: "go1.26.8"}
	info.Main.Path = "smtplb"
	info.Deps = []*debug.Module{{Path: "example.com/a", Version: "v1.0.0"}, {Path: "example.com/b", Version: "v1.0.0"}}
	const good = `{"bomFormat": "CycloneDX", "metadata": {"component": {"name": "smtplb", "version": "v1.2.3"}}, "components": [
		{"name": "std", "version": "go1.26.8"}, {"name": "example.com/a", "version": "v1.0.0"}, {"name": "example.com/b", "version": "v1.0.0"}]}`
	tests := []struct {
		name, old, with string
		want            string
	}{
		{"all as it is", "", "", ""},
		{"a module is missing", `, {"name": "example.com/b", "version": "v1.0.0"}`, "", "example.com/b v1.0.0"},
		{"one too many", `"components": [`, `"components": [{"name": "example.com/c", "version": "v2.0.0"},`, "example.com/c v2.0.0"},
		{"twice", `"components": [`, `"components": [{"name": "std", "version": "go1.26.8"},`, "std go1.26.8"},
		{"another version", `b", "version": "v1.0.0"`, `b", "version": "v1.0.1"`, "example.com/b v1.0.1"},
		{"another Go", `go1.26.8`, `go1.26.7`, "std go1.26.7"},
		{"another program", `"name": "smtplb"`, `"name": "other"`, "other"},
		{"no list", good, "{}", "CycloneDX"},
		{"no JSON", good, "", "unexpected end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(differences(info, []byte(strings.Replace(good, test.old, test.with, 1))), "\n")
			if !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want a problem with %q", got, test.want)
			}
		})
	}
}

// differences are a line for each that a program and its list have.
func differences(info *buildinfo.BuildInfo, text []byte) []string {
	var b bom
	if err := json.Unmarshal(text, &b); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if b.BOMFormat != "CycloneDX" {
		problems = append(problems, fmt.Sprintf("the format is %q, not CycloneDX", b.BOMFormat))
	}
	if b.Metadata.Component != (component{info.Main.Path, "v1.2.3"}) {
		problems = append(problems, fmt.Sprintf("it is the list of %v", b.Metadata.Component))
	}
	count := map[component]int{{"std", info.GoVersion}: 1} // more in the program than in the list
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		count[component{m.Path, m.Version}]++
	}
	for _, c := range b.Components {
		count[c]--
	}
	for _, c := range slices.SortedFunc(maps.Keys(count), func(a, b component) int { return strings.Compare(a.Name, b.Name) }) {
		switch n := count[c]; {
		case n > 0:
			problems = append(problems, fmt.Sprintf("%s %s: in the program, not in the list", c.Name, c.Version))
		case n < 0:
			problems = append(problems, fmt.Sprintf("%s %s: in the list, not in the program, or twice", c.Name, c.Version))
		}
	}
	return problems
}

// command runs one in the root of the tree, and returns what it says.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
