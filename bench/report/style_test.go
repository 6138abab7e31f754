package report

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// variables are the colours of a scheme by name.
type variables map[string]string

// schemes reads the three blocks of style.css that set colours: light, dark and
// print, each with light's for what it does not set.
func schemes(t *testing.T) map[string]variables {
	t.Helper()
	text, err := pages.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of variables, want light, dark and print", len(blocks))
	}
	all := map[string]variables{}
	for i, name := range []string{"light", "dark", "print"} {
		all[name] = variables{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]+)`).FindAllStringSubmatch(blocks[i][1], -1) {
			all[name][m[1]] = m[2]
		}
	}
	return all
}

// luminance is the relative luminance of WCAG 2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	digits := strings.TrimPrefix(colour, "#")
	if len(digits) == 3 {
		digits = regexp.MustCompile(`.`).ReplaceAllString(digits, "$0$0")
	}
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != 6 {
		t.Fatalf("no colour: %q", colour)
	}
	linear := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

// Text has the contrast of WCAG 2 AA, 4.5, and what is drawn 3, in each scheme.
func TestContrast(t *testing.T) {
	tests := []struct {
		front, behind string
		least         float64
	}{
		{"ink", "paper", 4.5}, {"soft", "paper", 4.5}, {"accent", "paper", 4.5}, {"good", "paper", 4.5}, {"bad", "paper", 4.5},
		{"ink", "wash", 4.5}, {"soft", "wash", 4.5}, {"ink", "good-wash", 4.5}, {"ink", "bad-wash", 4.5}, {"good", "good-wash", 4.5}, {"bad", "bad-wash", 4.5},
		{"connect", "paper", 4.5}, {"greeting", "paper", 4.5}, {"command", "paper", 4.5}, {"message", "paper", 4.5}, {"session", "paper", 4.5},
		{"bar", "paper", 3}, {"bar-edge", "paper", 3}, {"accent", "accent-wash", 3}, {"bad", "accent-wash", 3},
	}
	for name, scheme := range schemes(t) {
		for _, test := range tests {
			front, behind := luminance(t, scheme[test.front]), luminance(t, scheme[test.behind])
			contrast := (math.Max(front, behind) + 0.05) / (math.Min(front, behind) + 0.05)
			if contrast < test.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %v", name, test.front, test.behind, contrast, test.least)
			}
		}
	}
}

// A variable that only one scheme sets would show the other's colour in it.
func TestSchemesSetTheSame(t *testing.T) {
	all := schemes(t)
	for name, scheme := range all {
		for variable := range all["light"] {
			if scheme[variable] == "" {
				t.Errorf("%s does not set --%s", name, variable)
			}
		}
		if len(scheme) != len(all["light"]) {
			t.Errorf("%s sets %d variables, light %d", name, len(scheme), len(all["light"]))
		}
	}
	for variable, colour := range all["print"] {
		if variable != "paper" && colour != all["light"][variable] {
			t.Errorf("--%s is %s in print, %s in light", variable, colour, all["light"][variable])
		}
	}
}
