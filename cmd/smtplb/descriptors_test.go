package main

import (
	"strings"
	"testing"

	"smtplb/internal/config"
)

func TestTooFewDescriptorsAreToldOf(t *testing.T) {
	listeners := func(most ...int) *config.Config {
		cfg := &config.Config{}
		for _, n := range most {
			cfg.Listeners = append(cfg.Listeners, config.Listener{MaxSessions: n})
		}
		return cfg
	}
	for _, test := range []struct {
		name  string
		cfg   *config.Config
		most  int64
		limit uint64
		want  []string
	}{
		{"enough", listeners(10000), 458752, 524288, nil},
		{"just enough", listeners(448), 896, 1024, nil},
		{"no limit of sessions", listeners(0), 896, 1024, nil},
		{"too few", listeners(10000), 896, 1024, []string{
			"max_sessions of all listeners is 10000, which takes 20000 descriptors", "may open 1024", "leaves 896 for 448 sessions", "LimitNOFILE=22864"}},
		{"two listeners", listeners(300, 300), 896, 1024, []string{"is 600, which takes 1200", "LimitNOFILE=1376"}},
	} {
		got := descriptorsShort(test.cfg, test.most, test.limit)
		if test.want == nil && got != "" {
			t.Errorf("%s: warning %q", test.name, got)
		}
		for _, part := range test.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: warning %q does not say %q", test.name, got, part)
			}
		}
	}
}

// A check of each relay may be under way.
func TestChecksHaveDescriptors(t *testing.T) {
	cfg := &config.Config{Pools: []config.Pool{{Backends: make([]config.Backend, 40)}, {Backends: make([]config.Backend, 2)}}}
	if got := spareDescriptors(cfg); got < 42 {
		t.Errorf("%d descriptors are kept beside sessions, want one for each of 42 relays", got)
	}
}
