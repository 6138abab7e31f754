package sim

import (
	"math"
	"strings"
	"testing"
	"time"

	"smtplb/balancer"
)

func TestConfigNamesEveryMistake(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []string // none: it is right
	}{
		{"the default", func(*Config) {}, nil},
		{"no failure", func(c *Config) { c.FailFor = 0 }, nil},
		{"a failure until midnight", func(c *Config) { c.FailAt, c.FailFor = 23*time.Hour, time.Hour }, nil},
		{"three sites", func(c *Config) { c.Sites = 3 }, nil},
		{"the largest", func(c *Config) { c.Balancers, c.Relays, c.Sessions = MaxBalancers, MaxRelays, MaxSessions }, nil},
		{"one site", func(c *Config) { c.Sites = 1 }, []string{"sites 1: want 2 to"}},
		{"a site without a balancer", func(c *Config) { c.Sites, c.Balancers = 3, 2 }, []string{"balancers 2: want 3 to 8000"}},
		{"a site without a relay", func(c *Config) { c.Relays = 1 }, []string{"relays 1: want 2 to 100000"}},
		{"no mail", func(c *Config) { c.Sessions = 0 }, []string{"sessions 0"}},
		{"no weight", func(c *Config) { c.Weights = 0 }, []string{"weights 0: want 1 to 1000"}},
		{"relays in no pool", func(c *Config) { c.Sharing = 0 }, []string{"sharing 0"}},
		{"a failure yesterday", func(c *Config) { c.FailAt = -time.Second }, []string{"fail-at -1s"}},
		{"a failure until tomorrow", func(c *Config) { c.FailFor = 14*time.Hour + 1 }, []string{"fail-for 14h0m0.000000001s"}},
		{"a negative failure", func(c *Config) { c.FailFor = -1 }, []string{"fail-for -1ns"}},
		{"to fail well", func(c *Config) { c.FailAs = balancer.OK }, []string{"fail-as ok: want a way to fail, such as refused"}},
		{"to fail somehow", func(c *Config) { c.FailAs = balancer.NotSMTP + 1 }, []string{"fail-as unknown"}},
		{"not a probability", func(c *Config) { c.RelayFaults = math.NaN() }, []string{"relay-faults NaN: want 0 to 1"}},
		{"nothing kept warm", func(c *Config) { c.KeepWarm = 0 }, nil},
		{"no part", func(c *Config) { c.KeepWarm = math.NaN() }, []string{"keep-warm NaN: want 0 to 1"}},
		{"more than all", func(c *Config) { c.KeepWarm = 1.01 }, []string{"keep-warm 1.01: want 0 to 1"}},
		{"all at once", func(c *Config) { *c = Config{FailAt: 25 * time.Hour, KeepWarm: -1, RelayFaults: 2} },
			[]string{"sites 0", "balancers 0", "relays 0", "sessions 0", "weights 0", "sharing 0", "fail-at 25h", "fail-as ok", "keep-warm -1", "relay-faults 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			test.change(&c)
			err := c.Check()
			if len(test.want) == 0 {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error, want %q", test.want)
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(test.want) {
				t.Errorf("%d errors, want %d:\n%v", lines, len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestOutcomeNamed(t *testing.T) {
	for o := balancer.Refused; o <= balancer.NotSMTP; o++ {
		if got, err := OutcomeNamed(o.String()); got != o || err != nil {
			t.Errorf("%s: got %s, %v", o, got, err)
		}
	}
	for _, word := range []string{"", "ok", "unknown", "Refused"} {
		if _, err := OutcomeNamed(word); err == nil || !strings.Contains(err.Error(), "greeting_4xx") {
			t.Errorf("%q: got %v, want an error that names the words", word, err)
		}
	}
}

func TestPhasesOfTheDay(t *testing.T) {
	c := Default() // 10:00 to 12:00
	for at, want := range map[time.Duration]phase{
		0:                            healthy,
		10*time.Hour - 1:             healthy,
		10 * time.Hour:               failing,
		12*time.Hour - 1:             failing,
		12 * time.Hour:               recovering,
		12*time.Hour + settling - 1:  recovering,
		12*time.Hour + settling:      healthy,
		wholeDay - 1:                 healthy,
		12*time.Hour + 6*time.Minute: healthy,
	} {
		if got := c.phaseAt(at); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
	c.FailFor = 0
	if got := c.phaseAt(10 * time.Hour); got != healthy {
		t.Errorf("no failure, 10:00: %s, want healthy hours", got)
	}
}
