package admin

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/proxy"
)

// The dashboard for Grafana. A metric or a label that is named otherwise here
// would leave a panel empty, which looks as if all were quiet.
const dashboardFile = "../../deploy/grafana/smtplb.json"

// query is one PromQL expression of the dashboard, its variables replaced.
type query struct {
	where, expr string
	legend      string
	mayBeEmpty  bool // of an event that need not have happened
}

type dashboardQuery struct{ Expr, LegendFormat string }

func dashboardQueries(t *testing.T) (queries []query, variables []string) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID    string
		SchemaVersion int
		Annotations   struct {
			List []struct{ Name, Expr string }
		}
		Panels []struct {
			ID                       int
			Type, Title, Description string
			Datasource               struct{ UID string }
			Targets                  []dashboardQuery
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 41 || d.UID != "smtplb" {
		t.Errorf("schema %d, uid %q", d.SchemaVersion, d.UID)
	}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			selector, label, _ := cutLast(strings.TrimSuffix(inner, ")"), ", ")
			queries = append(queries, newQuery("variable "+v.Name, "count by ("+label+") ("+selector+")", ""))
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			q := newQuery("annotation "+a.Name, a.Expr, "")
			q.mayBeEmpty = true
			queries = append(queries, q)
		}
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %s: the id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %s: no query, or not of the chosen data source", p.Title)
		}
		for _, q := range p.Targets {
			queries = append(queries, newQuery("panel "+p.Title, q.Expr, q.LegendFormat))
		}
	}
	if len(queries) < 30 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	return queries, variables
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// newQuery puts in for Grafana's variables what it would.
func newQuery(where, expr, legend string) query {
	return query{where: where, legend: legend, expr: strings.NewReplacer(
		"$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m", "$job", ".+", "$instance", ".+", "$pool", ".+",
	).Replace(expr)}
}

// watched is a scrape of a server to which all that is measured has happened.
func watched(t *testing.T) string {
	t.Helper()
	r := newRig(t)
	r.Stats = func() proxy.Stats {
		st := counts()
		st.Late = (&proxy.Server{}).Stats().Late // with the bounds that there are
		return st
	}
	for range 200 {
		r.established(t, 20*time.Millisecond)
	}
	r.Observe(record("outbound", "relay-a", balancer.Refused, balancer.OK))
	return r.scrape(t)
}

func TestDashboardHasItsVariables(t *testing.T) {
	_, variables := dashboardQueries(t)
	if want := []string{"datasource", "job", "instance", "pool"}; !slices.Equal(variables, want) {
		t.Errorf("variables %v, want %v", variables, want)
	}
}

func TestDashboardNamesMetricsAndLabelsThatThereAre(t *testing.T) {
	series := scraped(watched(t))
	queries, _ := dashboardQueries(t)
	selector := regexp.MustCompile(`\b((?:smtplb|process|go)_\w+)(\{[^}]*\})?`)
	matcher := regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouping := regexp.MustCompile(`\b(?:by|on|group_left|without) \(([^)]*)\)`)
	inLegend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, q := range queries {
		if strings.Contains(q.expr, "$") {
			t.Errorf("%s: what Grafana puts in is not known here: %s", q.where, q.expr)
		}
		labels := map[string]bool{"job": true, "instance": true}
		for _, found := range selector.FindAllStringSubmatch(q.expr, -1) {
			name := found[1]
			if len(series[name]) == 0 {
				t.Errorf("%s: there is no metric %s", q.where, name)
			}
			for _, s := range series[name] {
				for label := range s.labels {
					labels[label] = true
				}
			}
			for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
				if m[1] != "job" && m[1] != "instance" && !has(series[name], m[1], m[2], m[3]) {
					t.Errorf("%s: %s is never %s", q.where, name, m[0])
				}
			}
		}
		for _, found := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.SplitSeq(found[1], ", ") {
				if !labels[label] {
					t.Errorf("%s: there is no label %s", q.where, label)
				}
			}
		}
		for _, found := range inLegend.FindAllStringSubmatch(q.legend, -1) {
			if !labels[found[1]] || !strings.Contains(q.expr, found[1]) && strings.Contains(q.expr, " by (") {
				t.Errorf("%s: the legend names %s, which there is not", q.where, found[1])
			}
		}
	}
}

// has tells whether a series has the label and, where one value is named, that.
func has(series []sample, label, operator, value string) bool {
	return slices.ContainsFunc(series, func(s sample) bool {
		is, ok := s.labels[label]
		return ok && (operator != "=" || is == value)
	})
}

// sample is one line of a scrape.
type sample struct {
	kind    string // counter, gauge or histogram
	labels  map[string]string
	value   float64
	written string // the labels, as they are written
}

// scraped are the samples of a scrape by the name of their series.
func scraped(text string) map[string][]sample {
	all, kind := map[string][]sample{}, ""
	pair := regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			_, kind, _ = strings.Cut(rest, " ")
		}
		series, number, ok := cutLast(line, " ")
		value, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || strings.HasPrefix(line, "#") {
			continue
		}
		name, written, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		s := sample{kind: kind, labels: map[string]string{}, value: value, written: written}
		for _, p := range pair.FindAllStringSubmatch(written, -1) {
			s.labels[p[1]] = p[2]
		}
		all[name] = append(all[name], s)
	}
	return all
}

// Prometheus' own tool parses every query, and plays them on an hour of what is
// scraped, counters rising: each panel must show something. A join on labels
// that do not fit, for one, is no mistake to a parser, and shows nothing.
func TestPromtoolFindsSomethingForEachPanel(t *testing.T) {
	tool := promtool(t)
	queries, _ := dashboardQueries(t)
	dir := t.TempDir()
	var rules, tests strings.Builder
	fmt.Fprint(&rules, "groups:\n- name: dashboard\n  rules:\n")
	fmt.Fprint(&tests, "rule_files: []\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n")
	for name, samples := range scraped(watched(t)) {
		for _, s := range samples {
			values := strconv.FormatFloat(s.value, 'f', -1, 64) + "x90"
			if s.kind != "gauge" {
				values = "0+60x90"
			}
			labels := strings.TrimSuffix(`job="smtplb",instance="lb1",`+s.written, ",")
			fmt.Fprintf(&tests, "  - {series: %q, values: %q}\n", name+"{"+labels+"}", values)
		}
	}
	fmt.Fprint(&tests, "  promql_expr_test:\n")
	for i, q := range queries {
		fmt.Fprintf(&rules, "  - {record: 'query:%d', expr: %q}\n", i, q.expr)
		if !q.mayBeEmpty {
			fmt.Fprintf(&tests, "  - {expr: %q, eval_time: 80m, exp_samples: []}\n", q.expr)
		}
	}
	for name, text := range map[string]string{"rules.yml": rules.String(), "tests.yml": tests.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("check", "rules", "rules.yml"); err != nil {
		t.Fatalf("promtool check rules: %v\n%s", err, out)
	}
	// Nothing is expected of each, so that it complains of each that finds something.
	out, _ := run("test", "rules", "tests.yml")
	for _, q := range queries {
		_, answer, _ := strings.Cut(out, fmt.Sprintf("expr: %q, time: 1h20m,", q.expr))
		answer, _, _ = strings.Cut(answer, "expr: ")
		switch {
		case q.mayBeEmpty:
		case !strings.Contains(answer, "got: {"):
			t.Errorf("%s shows nothing: %s", q.where, q.expr)
		case strings.Contains(answer, "NaN"):
			t.Errorf("%s shows NaN: %s", q.where, q.expr)
		}
	}
	if t.Failed() {
		t.Logf("promtool said:\n%s", out)
	}
}
