package balancer

import (
	"strings"
	"testing"
)

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	_, err := New(Config{Name: "outbound", Rise: -1, Fall: -2, Backends: []BackendConfig{
		{Name: "a", Weight: 1001},
		{Name: "a", Weight: -1, MaxSessions: -5},
		{Weight: 1, Priority: -1},
		{},
	}})
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		`balancer: pool "outbound": rise -1: want 1 or more, or 0 for the default of 2`,
		`balancer: pool "outbound": fall -2: want 1 or more, or 0 for the default of 3`,
		`balancer: pool "outbound": backends[0] "a": weight 1001: want 0 to 1000`,
		`balancer: pool "outbound": backends[1]: name "a" is taken by backends[0]: names must differ`,
		`balancer: pool "outbound": backends[1] "a": weight -1: want 0 to 1000`,
		`balancer: pool "outbound": backends[1] "a": max_sessions -5: want 1 or more, or 0 for no limit`,
		`balancer: pool "outbound": backends[2] "": no name: give one, unique in the pool`,
		`balancer: pool "outbound": backends[2] "": priority -1: want 0 or more`,
		`balancer: pool "outbound": backends[3] "": no name: give one, unique in the pool`,
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestPoolWithoutANameIsRefused(t *testing.T) {
	_, err := New(Config{})
	want := `balancer: pool "": no name: give one, logs and metrics need it`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestLimitsThemselvesAreAllowed(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Backends: []BackendConfig{
		{Name: "a", Weight: MaxWeight}, {Name: "b", Weight: 0},
	}})
	if p.Name() != "outbound" {
		t.Errorf("name %q", p.Name())
	}
}

func TestWordsAreTheOperators(t *testing.T) {
	want := []string{"ok", "refused", "connect_timeout", "unreachable", "reset", "closed", "greeting_timeout",
		"greeting_4xx", "greeting_5xx", "not_smtp", "unknown"}
	for i, word := range want {
		if got := Outcome(i).String(); got != word {
			t.Errorf("outcome %d: %q, want %q", i, got, word)
		}
	}
	for i, word := range []string{"up", "busy", "draining", "ejected", "down", "disabled", "unknown"} {
		if got := State(i).String(); got != word {
			t.Errorf("state %d: %q, want %q", i, got, word)
		}
	}
}
