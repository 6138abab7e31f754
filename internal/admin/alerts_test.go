package admin

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// The rules that Prometheus is given are part of what this package promises: a
// metric that is named otherwise here would silence them without a word.
const alertsDir = "../../deploy/prometheus"

type alertRule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alertRules(t *testing.T) (rules []alertRule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(alertsDir, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("no rules: nothing was checked")
	}
	return rules
}

func TestAlertsNameMetricsAndWordsThatThereAre(t *testing.T) {
	r := newRig(t)
	r.Cluster = threeBalancers
	values := r.scrape(t)
	metric := regexp.MustCompile(`\b(?:smtplb|process|go)_\w+`)
	matcher := regexp.MustCompile(`\b(state|end|outcome|direction)=~?"([^"]*)"`)
	for _, r := range alertRules(t) {
		for _, name := range metric.FindAllString(r.Expr, -1) {
			if !strings.Contains(values, "\n"+name+" ") && !strings.Contains(values, "\n"+name+"{") {
				t.Errorf("%s: there is no metric %s", r.Alert, name)
			}
		}
		for _, found := range matcher.FindAllStringSubmatch(r.Expr, -1) {
			for _, word := range strings.Split(found[2], "|") {
				if !strings.Contains(values, found[1]+`="`+word+`"`) {
					t.Errorf("%s: %s is never %q", r.Alert, found[1], word)
				}
			}
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range alertRules(t) {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Smtplb") {
			t.Errorf("alert %q: want a name of its own that begins with Smtplb", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: no summary or description", r.Alert)
		}
		if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
			t.Errorf("%s: for: %v", r.Alert, err)
		}
	}
}

// Prometheus' own tool reads the rules, and plays the stories of
// alerts_test.yml, in which each alert fires, and does not fire before it should.
func TestPromtoolAcceptsTheAlertsAndTheyFire(t *testing.T) {
	tool := promtool(t)
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = alertsDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func TestEveryAlertHasAStory(t *testing.T) {
	stories, err := os.ReadFile(filepath.Join(alertsDir, "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range alertRules(t) {
		fires := regexp.MustCompile(`alertname: ` + r.Alert + `\n\s+exp_alerts:`)
		quiet := regexp.MustCompile(`alertname: ` + r.Alert + `\}`)
		if !fires.Match(stories) || !quiet.Match(stories) {
			t.Errorf("%s: alerts_test.yml must show it fire, and not fire", r.Alert)
		}
	}
}

// promtool is where Debian's package prometheus has it, or where
// e2e/install-deps.sh puts it, in the user's cache.
func promtool(t *testing.T) string {
	t.Helper()
	candidates := []string{"promtool"}
	if cache, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(cache, "smtplb", "promtool"))
	}
	for _, c := range candidates {
		if path, err := exec.LookPath(c); err == nil {
			return path
		}
	}
	const missing = "promtool is missing: what Prometheus makes of deploy/prometheus was not tried; run e2e/install-deps.sh"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
