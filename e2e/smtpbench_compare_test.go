package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// comparison is what smtpbench compare writes as JSON, as far as it matters here.
type comparison struct {
	Complete bool
	Peers    []struct {
		Name, Version, Missing string
		Config                 []struct{ Name, Text string }
	}
	Measures []struct {
		ID    string
		Cells []struct {
			Peer   string
			Median float64
		}
	}
	Matrices []struct {
		ID   string
		Rows []struct {
			Case  string
			Cells []struct {
				Peer, Text string
				Good       bool
			}
		}
		Bar *struct{ Verdict string }
	}
}

// runCompare has the released program compared, a little of it, and returns
// what was printed and what was written.
func runCompare(t *testing.T, args ...string) (table, page string, c comparison) {
	t.Helper()
	dir := t.TempDir()
	asJSON, asHTML := filepath.Join(dir, "compare.json"), filepath.Join(dir, "compare.html")
	cmd := exec.Command(smtpbench(t), append([]string{
		"compare", "--quick", "--smtplb", released, "--json", asJSON, "--html", asHTML,
	}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out.String(), errs.String())
	}
	text, err := os.ReadFile(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(asHTML)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Complete {
		t.Errorf("not complete:\n%s", errs.String())
	}
	return out.String(), string(html), c
}

// Whoever is on this machine is measured, with the configuration that stands in
// the report; whoever is not is named.
func TestCompareMeasuresOrNamesEveryPeer(t *testing.T) {
	table, page, c := runCompare(t, "--only", "cpu_short,memory,shares")
	var here []string
	for _, p := range c.Peers {
		if p.Missing == "" {
			here = append(here, p.Name)
		} else if !strings.Contains(table, p.Missing) {
			t.Errorf("%s is missing, and nobody is told:\n%s", p.Name, table)
		}
	}
	for _, name := range []string{"smtplb", "iocopy", "direct"} {
		if !slices.Contains(here, name) {
			t.Errorf("%s is missing: %+v", name, c.Peers)
		}
	}
	if len(c.Peers) != 6 || c.Peers[0].Version != testVersion {
		t.Errorf("peers %+v: want 6, smtplb %s first", c.Peers, testVersion)
	}
	if len(c.Measures) != 2 {
		t.Errorf("%d measures, want 2", len(c.Measures))
	}
	for _, m := range c.Measures {
		var measured []string
		for _, cell := range m.Cells {
			measured = append(measured, cell.Peer)
			// An idle session can take so little memory that no page is added.
			if cell.Median < 0 || m.ID == "cpu_short" && cell.Median == 0 {
				t.Errorf("%s of %s: %v", m.ID, cell.Peer, cell.Median)
			}
		}
		// The floor is for the CPU of sessions alone.
		if want := slices.DeleteFunc(slices.Clone(here), func(name string) bool {
			return name == "direct" || name == "floor" && m.ID != "cpu_short"
		}); !slices.Equal(measured, want) {
			t.Errorf("%s of %v, want %v", m.ID, measured, want)
		}
	}
	if len(c.Matrices) != 1 || len(c.Matrices[0].Rows) != 5 || c.Matrices[0].Bar == nil || c.Matrices[0].Bar.Verdict != "met" {
		t.Errorf("shares: %+v", c.Matrices)
	}
	if config := c.Peers[0].Config; len(config) != 1 || !strings.Contains(config[0].Text, "weight: 1") {
		t.Errorf("smtplb's configuration: %+v", config)
	}
	for _, want := range []string{"CPU per short session", "Share of a relay"} {
		if !strings.Contains(table, want) || !strings.Contains(page, want) {
			t.Errorf("no %q in the table or on the page", want)
		}
	}
}

// The promise of the README's first line, under every fault.
func TestCompareFindsNoFailedSession(t *testing.T) {
	_, _, c := runCompare(t, "--only", "faults", "--peers", "smtplb")
	if len(c.Matrices) != 1 || c.Matrices[0].Bar == nil || c.Matrices[0].Bar.Verdict != "met" {
		t.Errorf("faults: %+v", c.Matrices)
	}
	for _, m := range c.Matrices {
		for _, row := range m.Rows {
			if len(row.Cells) != 1 || !row.Cells[0].Good {
				t.Errorf("%s: %+v", row.Case, row.Cells)
			}
		}
	}
}
