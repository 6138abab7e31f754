package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"smtplb/bench/sim"
)

// runSim runs the command by itself.
func runSim(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var text, notices strings.Builder
	cmd := newSimCommand(streams{in: strings.NewReader(""), out: &text, err: &notices})
	cmd.SetArgs(append([]string{"--balancers", "4", "--relays", "40", "--sessions", "1000"}, args...))
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.ExecuteContext(t.Context())
	return text.String(), err
}

func TestSimReportsForPeopleAndPrograms(t *testing.T) {
	out, err := runSim(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 balancers", "site-1 with its 20 relays (refused) from 10:00:00 for 2h0m0s", "TIME TO SHIFT", "s of CPU"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}

	out, err = runSim(t, "--json", "--seed", "7", "--fail-at", "11:30", "--fail-for", "45m", "--fail-as", "greeting_4xx", "--sites", "4", "--keep-warm", "2.5%")
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Fleet   struct{ Balancers, Relays, Sites, Seed int }
		Failure struct {
			Site, As string
			At, For  float64
		}
		Sessions struct{ Total, Failed int }
		Warm     struct{ Configured, Share float64 } `json:"warm_share"`
		Cost     struct{ CPU, Wall *float64 }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if f := report.Fleet; f.Balancers != 4 || f.Relays != 40 || f.Sites != 4 || f.Seed != 7 {
		t.Errorf("fleet %+v is not what the flags say", f)
	}
	if f := report.Failure; f.Site != "site-1" || f.As != "greeting_4xx" || f.At != 11.5*3600 || f.For != 45*60 {
		t.Errorf("failure %+v is not what the flags say", f)
	}
	if w := report.Warm; w.Configured != 0.025 || w.Share < 0.02 || w.Share > 0.03 {
		t.Errorf("warm share %+v is not what the flags say", w)
	}
	if report.Sessions.Total == 0 || report.Cost.CPU == nil || report.Cost.Wall == nil {
		t.Errorf("%+v: want sessions, and what they cost", report)
	}
}

func TestSimSaysWhatIsWrongWithItsFlags(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--balancers", "1"}, "balancers 1: want 2 to 8000"},
		{[]string{"--fail-at", "25:00"}, "such as 10:00 or 10h"},
		{[]string{"--fail-at", "-1h"}, "fail-at -1h0m0s: want 0s to 24h0m0s"},
		{[]string{"--fail-at", "noon"}, "such as 10:00 or 10h"},
		{[]string{"--fail-for", "15h"}, "an end within the day"},
		{[]string{"--fail-as", "ill"}, `"ill" is no way to fail: want one of [refused connect_timeout`},
		{[]string{"--keep-warm", "101%"}, "keep-warm 1.01: want 0 to 1"},
		{[]string{"--keep-warm", "NaN%"}, "keep-warm NaN: want 0 to 1"},
		{[]string{"--keep-warm", "0.1"}, "want a percentage, such as 10%"},
		{[]string{"--keep-warm", "some%"}, "want a percentage, such as 10%"},
		{[]string{"again"}, "unknown command"},
	}
	for _, test := range tests {
		if out, err := runSim(t, test.args...); err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("%q: got %v and %q, want %q", test.args, err, out, test.want)
		}
	}
}

// Where a client read a 421 the report is printed, and the exit status says that not all went well.
func TestSimFindsLostSessions(t *testing.T) {
	for failed, want := range map[int64]error{0: nil, 1: errFindings} {
		for _, asJSON := range []bool{false, true} {
			var out strings.Builder
			report := &sim.Report{Sessions: sim.Sessions{Total: 12, Failed: failed}}
			if err := writeSim(streams{out: &out}, report, simCost{}, asJSON); !errors.Is(err, want) {
				t.Errorf("%d sessions failed: got %v, want %v", failed, err, want)
			}
			if text := out.String(); !strings.Contains(text, "12") {
				t.Errorf("%d sessions failed: no report, but %q", failed, text)
			}
		}
	}
}

func TestPartIsWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]string{"10%": "10%", "0%": "0%", "0": "0%", "2.5%": "2.5%", "100%": "100%", "33.3%": "33.3%"} {
		var p part
		if err := p.Set(text); err != nil || p.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, p.String(), err, want)
		}
	}
}

func TestTimeOfDayIsWrittenAsItIsRead(t *testing.T) {
	for text, want := range map[string]string{"10:00": "10:00", "00:00": "00:00", "23:59": "23:59", "10h": "10:00", "90m": "01:30"} {
		var at timeOfDay
		if err := at.Set(text); err != nil || at.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, at.String(), err, want)
		}
	}
}
