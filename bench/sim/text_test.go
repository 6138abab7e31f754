package sim

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestTextSaysWhatTheReportSays(t *testing.T) {
	c := small()
	c.RelayFaults, c.KeepWarm = 0, 0
	r := mustRun(t, c)
	r.Sessions.Total = 1234567
	var out strings.Builder
	if err := r.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`fleet +12 balancers with \d+ Exchange servers, 96 relays, 2 sites; seed 1`,
		`failures +site-1 with its 48 relays \(refused\) from 10:00:00 for 2h0m0s; by themselves, at other times, 0 relays`,
		`sessions +1,234,567, of which \d+ waited`,
		`\d+ times a second relay was asked beside a late one; 0 of those`,
		`first minute, own site failed +\d+ +0\.\d\d s `,
		`failed +0 sessions found no relay`,
		`own site, healthy hours +12 +0\.\d+ % `,
		`standby, site away +6 +0\.\d+ % `,
		`configured 0\.000 %, got 0\.000 %`,
		`last session asked the failed site after +6 +\d`,
		`new sessions went to the standby after +\d`,
		`there and back, at most +2`,
		`new sessions went home after +12\d\.\d s`,
		`every relay was back after +6 +\d\.\d s`,
		`No share of the sessions is kept on the standby: the configured one is 0 %`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if line != strings.TrimRight(line, " \n")+"\n" {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

func TestTextWithoutAFailureHasNoMoves(t *testing.T) {
	c := small()
	c.FailFor = 0
	var out strings.Builder
	if err := mustRun(t, c).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "no site fails") || strings.Contains(text, "TIME TO") {
		t.Errorf("got\n%s\nwant no times of a failure", text)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("the disk is full")

func TestTextReportsAFailedWrite(t *testing.T) {
	if err := mustRun(t, small()).WriteText(full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func TestCountsHaveTheirThousandsApart(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 54321: "54,321", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	for s, want := range map[float64]string{0: "00:00:00", 36000: "10:00:00", 86399.9: "23:59:59"} {
		if got := clock(s); got != want {
			t.Errorf("%v s: %s, want %s", s, got, want)
		}
	}
}
