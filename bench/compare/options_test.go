package compare

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtplb/bench/compare/proc"
)

func TestOptionsAreChecked(t *testing.T) {
	all, err := proc.Available()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Peers: []string{"smtplb", "envoy"}, Only: []string{"speed"}, Rounds: -1, LoadCPUs: proc.CPUs{1023}}
	err = o.check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`no "envoy"`, `no "speed"`, "rounds: -1", "load CPUs 1023", all.String()} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
	o = Options{Peers: []string{"nginx", "smtplb"}, Only: []string{"cpu_gb"}}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	if o.Rounds != DefaultRounds || len(o.BalancerCPUs) == 0 || len(o.LoadCPUs) == 0 || o.Progress == nil {
		t.Errorf("defaults: %+v", o)
	}
	if got := o.peers(); !slices.Equal(got, []string{smtplb, nginx}) {
		t.Errorf("peers %v: want the order of the columns", got)
	}
	if !o.wants("cpu_gb") || o.wants("cpu_short") {
		t.Error("wanted is what only names")
	}
}

func TestDefaultCPUs(t *testing.T) {
	tests := []struct {
		given          Options
		available      string
		balancer, load string
	}{
		{Options{}, "0", "0", "0"},
		{Options{}, "0-1", "0", "1"},
		{Options{}, "2,5,6", "2", "5-6"},
		{Options{}, "0-7", "0-3", "4-7"},
		{Options{BalancerCPUs: proc.CPUs{1}}, "0-3", "1", "0,2-3"},
		{Options{LoadCPUs: proc.CPUs{0}}, "0-1", "1", "0"},
		{Options{BalancerCPUs: proc.CPUs{0, 1}}, "0-1", "0-1", "1"},
	}
	for _, test := range tests {
		available, err := proc.ParseCPUs(test.available)
		if err != nil {
			t.Fatal(err)
		}
		o := test.given
		o.fill(available)
		if o.BalancerCPUs.String() != test.balancer || o.LoadCPUs.String() != test.load {
			t.Errorf("of %s with %+v: balancer %s and load %s, want %s and %s",
				test.available, test.given, o.BalancerCPUs, o.LoadCPUs, test.balancer, test.load)
		}
	}
}

func TestCoreCases(t *testing.T) {
	tests := []struct {
		available, balancer, load string
		want                      string // id:cpus/load, ! where shared
	}{
		{"0", "0", "0", "1:0/0!"},
		{"0-1", "0", "1", "1:0+1/0-1! 2:0-1/0-1!"},
		{"0-3", "0-1", "2-3", "1:0+1/0-1! 2:0-1/0-1!"},
		{"0-7", "0-3", "4-7", "1:0/4-7 2:0-1/4-7 all:0-3/0-3!"},
		{"0-11", "0-3", "4-11", "1:0/4-11 2:0-1/4-11 all:0-3/4-11"},
		{"0-7", "6-7", "0-5", "1:6/0-5 2:6-7/0-5"},
	}
	for _, test := range tests {
		var sets [3]proc.CPUs
		for i, text := range []string{test.available, test.balancer, test.load} {
			var err error
			if sets[i], err = proc.ParseCPUs(text); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, c := range coreCases(sets[0], sets[1], sets[2]) {
			var each []string
			for _, cpus := range c.each {
				each = append(each, cpus.String())
				if len(cpus) != c.cores {
					t.Errorf("%s: %d CPUs for %d cores", c.id, len(cpus), c.cores)
				}
			}
			text := fmt.Sprintf("%s:%s/%s", c.id, strings.Join(each, "+"), c.load)
			if c.shared {
				text += "!"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("of %s, balancer %s, load %s: %s, want %s", test.available, test.balancer, test.load, text, test.want)
		}
	}
}

func TestRoundsRotate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "variants")
		order := turns(n, n)
		for place := range n {
			seen := map[int]bool{}
			for round := range n {
				seen[order[round][place]] = true
			}
			if len(seen) != n {
				t.Errorf("in place %d only %v of %d", place, seen, n)
			}
		}
	})
}

func TestProgressLearnsHowFastItIs(t *testing.T) {
	var out bytes.Buffer
	p := progress{to: &out}
	start := time.Unix(1000, 0)
	p.begin(start, 100)
	p.next(start, 20, "first")
	p.next(start.Add(40*time.Second), 20, "second") // twice as long as planned
	want := "compare: about 1m40s\ncompare: first (1m40s left)\ncompare: second (2m40s left)\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
