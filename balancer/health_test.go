package balancer

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// story plays evidence against a pool of relays a and b, one second apart. Its words:
//
//	a:421 a:ok a:refused   a session's attempt at a: it greets so, or fails so
//	a+  a-                 a good probe of a, a bad one (reason "refused")
type story struct {
	t       *testing.T
	pool    *Pool
	now     time.Time
	changes []string
}

func newStory(t *testing.T, cfg Config) *story {
	s := &story{t: t, now: start}
	cfg.Name = "outbound"
	cfg.OnChange = func(c Change) {
		if c.Pool != "outbound" || !c.Time.Equal(s.now) {
			t.Errorf("change %+v at %v", c, s.now)
		}
		s.changes = append(s.changes, c.Backend+" "+c.From.String()+"->"+c.To.String()+": "+c.Reason)
	}
	s.pool = mustNew(t, cfg)
	return s
}

func (s *story) play(words string) {
	s.t.Helper()
	for _, word := range strings.Fields(words) {
		s.now = s.now.Add(time.Second)
		index := int(word[0] - 'a')
		switch word[1:] {
		case "+":
			s.pool.Probe(s.now, index, VerdictGood, "")
		case "-":
			s.pool.Probe(s.now, index, VerdictFailed, "refused")
		case ":ok":
			l := s.attempt(index)
			l.Established(s.now, 0)
			l.Release(s.now)
		case ":421":
			l := s.attempt(index)
			l.Fail(s.now, Greeting4xx)
		case ":refused":
			l := s.attempt(index)
			l.Fail(s.now, Refused)
		default:
			s.t.Fatalf("unknown word %q", word)
		}
	}
}

// attempt gets a lease on this very backend.
func (s *story) attempt(index int) Lease {
	s.t.Helper()
	var others []int
	for i := range s.pool.slots {
		if i != index {
			others = append(others, i)
		}
	}
	lease, err := s.pool.Acquire(s.now, others)
	if err != nil {
		s.t.Fatalf("no attempt at %c possible: %v", 'a'+index, err)
	}
	return lease
}

func TestWhatTakesARelayDownAndUp(t *testing.T) {
	two := []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}
	standby := []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 0}}
	tests := []struct {
		name       string
		backends   []BackendConfig
		rise, fall int
		words      string
		want       []string
	}{
		{"two failures are not enough", two, 0, 0, "a- a- b- b-", nil},
		{"three probes", two, 0, 0, "a- a- a-", []string{"a up->down: 3 failures in a row, last: probe refused"}},
		{"three sessions", two, 0, 0, "a:421 a:refused a:421",
			[]string{"a up->down: 3 failures in a row, last: live greeting_4xx"}},
		{"probes and sessions together", two, 0, 0, "a- a:421 a-",
			[]string{"a up->down: 3 failures in a row, last: probe refused"}},
		{"a good greeting forgives failed sessions", two, 0, 0, "a:421 a:421 a:ok a:421 a:refused", nil},
		{"a good greeting does not forgive failed probes", two, 0, 0, "a- a:ok a- a:ok a-",
			[]string{"a up->down: 3 failures in a row, last: probe refused"}},
		{"a good probe starts the count anew", two, 0, 0, "a:421 a:421 a+ a:421 a:421", nil},
		{"the other's failures do not count", two, 0, 0, "a- b- a- b:421", nil},
		{"down is told once", two, 0, 0, "a- a- a- a- a- a-",
			[]string{"a up->down: 3 failures in a row, last: probe refused"}},
		{"two good probes bring it back", two, 0, 0, "a- a- a- a+ a+", []string{
			"a up->down: 3 failures in a row, last: probe refused", "a down->up: 2 good probes in a row"}},
		{"not in a row", two, 0, 0, "a- a- a- a+ a- a+",
			[]string{"a up->down: 3 failures in a row, last: probe refused"}},
		{"after the return the count is new", two, 0, 0, "a- a- a- a+ a+ a- a-", []string{
			"a up->down: 3 failures in a row, last: probe refused", "a down->up: 2 good probes in a row"}},
		{"sessions never take the last one", two, 0, 0, "a:421 a:421 a:421 b:421 b:421 b:421 b:421 b:421",
			[]string{"a up->down: 3 failures in a row, last: live greeting_4xx"}},
		{"a probe confirms it for the last one too", two, 0, 0, "a- a- a- b:421 b:421 b:421 b-", []string{
			"a up->down: 3 failures in a row, last: probe refused", "b up->down: 4 failures in a row, last: probe refused"}},
		{"the last one until another is back", two, 0, 0, "a- a- a- b:421 b:421 b:421 a+ a+ b:421", []string{
			"a up->down: 3 failures in a row, last: probe refused", "a down->up: 2 good probes in a row",
			"b up->down: 4 failures in a row, last: live greeting_4xx"}},
		{"one of weight 0 is no other", standby, 0, 0, "a:421 a:421 a:421 a:421", nil},
		{"probes take one of weight 0 down", standby, 0, 0, "b- b- b-",
			[]string{"b up->down: 3 failures in a row, last: probe refused"}},
		{"rise and fall of 1", two, 1, 1, "a:421 a+", []string{
			"a up->down: 1 failure, last: live greeting_4xx", "a down->up: 1 good probe"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t, Config{Backends: tt.backends, Rise: tt.rise, Fall: tt.fall})
			s.play(tt.words)
			if !slices.Equal(s.changes, tt.want) {
				t.Errorf("%s\n got %q\nwant %q", tt.words, s.changes, tt.want)
			}
		})
	}
}

func TestSessionThatBeganBeforeDoesNotBringARelayBack(t *testing.T) {
	s := newStory(t, Config{Rise: 2, Fall: 1, Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}})
	early, late := s.attempt(0), s.attempt(0)
	s.play("a- a+")
	early.Established(s.now, 0)
	late.Fail(s.now, Reset) // nor does it keep one down
	if got := s.pool.Snapshot(s.now)[0]; got.State != Down || got.Active != 1 {
		t.Fatalf("after a good greeting from before: %+v, want down with 1 session", got)
	}
	s.play("a+")
	if got := s.pool.Snapshot(s.now)[0]; got.State != Up || got.Active != 1 {
		t.Fatalf("after two good probes: %+v, want up with 1 session", got)
	}
	early.Release(s.now)
	if got := s.pool.Snapshot(s.now)[0].Active; got != 0 {
		t.Errorf("%d sessions at the end", got)
	}
}

func TestProbeOfNobodyIsIgnored(t *testing.T) {
	p := poolOf(t, 1)
	for _, index := range []int{-1, 1, 1 << 40} {
		for range 5 {
			p.Probe(start, index, VerdictFailed, "refused")
		}
	}
	if s := p.Snapshot(start); s[0].State != Up {
		t.Errorf("state %v", s[0].State)
	}
}

func TestProbeThatGivesNoReasonStillReads(t *testing.T) {
	p := poolOf(t, 1)
	for range 3 {
		p.Probe(start, 0, VerdictFailed, "")
	}
	if got, want := p.Snapshot(start)[0].Reason, "3 failures in a row, last: probe failed"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

func TestOnChangeMayCallThePool(t *testing.T) {
	var p *Pool
	var told []string
	p = mustNew(t, Config{
		Name: "outbound", Rise: 1, Fall: 1,
		Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
		OnChange: func(c Change) {
			told = append(told, c.Backend+" "+c.To.String())
			if c.Backend == "a" && c.To == Down {
				p.Probe(c.Time, 1, VerdictFailed, "same site")
				p.Probe(c.Time, 0, VerdictGood, "")
				told = append(told, "a's handler ends")
			}
		},
	})
	p.Probe(start, 0, VerdictFailed, "refused")
	if want := []string{"a down", "a's handler ends", "b down", "a up"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestSnapshotSaysWhatPeopleAsk(t *testing.T) {
	s := newStory(t, Config{Backends: []BackendConfig{
		{Name: "a", Site: "hq", Weight: 2, MaxSessions: 7},
		{Name: "b", Site: "dr", Weight: 1, Priority: 1},
	}})
	s.play("a:ok b:ok b:421 b:ok")
	running := s.attempt(0)
	running.Established(s.now, 0)
	running.Established(s.now, 0) // counted once
	s.play("b- b- b-")
	down := s.now
	s.play("b-")
	want := []BackendStatus{
		{Name: "a", Site: "hq", Weight: 2, MaxSessions: 7, Reason: "up since the start", Active: 1, Picks: 2, Established: 2},
		{Name: "b", Site: "dr", Tier: 1, Weight: 1, State: Down, Reason: "3 failures in a row, last: probe refused",
			Since: down, Picks: 3, Established: 2, Failures: 1},
	}
	if got := s.pool.Snapshot(s.now); !slices.Equal(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

// verdict is that of a check which only passes or fails.
func verdict(passed bool) Verdict {
	if passed {
		return VerdictGood
	}
	return VerdictFailed
}
