package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSimECMPReportsForPeopleAndPrograms(t *testing.T) {
	run := func(args ...string) (string, error) {
		t.Helper()
		var text, notices strings.Builder
		cmd := newSimCommand(streams{in: strings.NewReader(""), out: &text, err: &notices})
		cmd.SetArgs(append([]string{"ecmp"}, args...))
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		err := cmd.ExecuteContext(t.Context())
		return text.String(), err
	}
	small := []string{"--balancers", "1,3", "--sessions", "60", "--for", "2m", "--relays", "4", "--weights", "2", "--seed", "7"}
	out, err := run(small...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 relays of weights 1 to 2", "2m0s of mail; seed 7", "60 sessions at once", "1 (global)", "asked a failed relay"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, err = run(append(small, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Seed  uint64
		Cases []struct {
			Balancers, Sessions int
			Begun               int64
			Worst               struct{ P50, P99, Worst float64 }
		}
		Cost struct{ CPU, Wall *float64 }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if report.Seed != 7 || len(report.Cases) != 2 || report.Cases[0].Begun == 0 || report.Cases[1].Worst.P50 < 1 || report.Cost.CPU == nil || report.Cost.Wall == nil {
		t.Errorf("%+v", report)
	}
	if out, err := run("--relays", "1"); err == nil || out != "" || !strings.Contains(err.Error(), "relays 1: want 2 to 1000") {
		t.Errorf("%q, %v", out, err)
	}
}
