package balancer

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// story plays evidence against a pool of relays a and b, a millisecond apart. Its words:
//
//	a:421 a:ok a:refused   a session's attempt at a: it greets so, or fails so
//	a+  a-  a4             a good check of a, a bad one (reason "refused"), one that read 421
//	a/drain a/enable       what a person does
//	30s                    so much time goes by, and no second more
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
		if d, err := time.ParseDuration(word); err == nil {
			s.now = s.now.Add(d)
			s.pool.Snapshot(s.now)
			continue
		}
		s.now = s.now.Add(time.Millisecond)
		index := int(word[0] - 'a')
		switch word[1:] {
		case "+":
			s.pool.Probe(s.now, index, VerdictGood, "")
		case "-":
			s.pool.Probe(s.now, index, VerdictFailed, "refused")
		case "4":
			s.pool.Probe(s.now, index, VerdictBusy, "greeting: 421")
		case "/drain":
			s.pool.Drain(s.now, index)
		case "/disable":
			s.pool.Disable(s.now, index)
		case "/enable":
			s.pool.Enable(s.now, index)
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

func TestWhatMovesARelayFromStateToState(t *testing.T) {
	two := []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}
	standby := []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 0}}
	const (
		aDown    = "a up->down: 3 failed checks in a row, last: refused"
		bDown    = "b up->down: 3 failed checks in a row, last: refused"
		aUp      = "a down->up: 2 good checks in a row"
		aEjected = "a up->ejected: 3 failed sessions in a row, last: greeting_4xx"
		aOver    = "a ejected->up: its time as ejected is over"
		aBusy    = "a up->busy: 1 check, last: greeting: 421"
		aAlone   = "a ejected->up: no other backend is up"
	)
	tests := []struct {
		name     string
		backends []BackendConfig
		words    string
		want     []string
	}{
		{"two failures are not enough", two, "a- a- b- b-", nil},
		{"three checks", two, "a- a- a-", []string{aDown}},
		{"three sessions", two, "a:421 a:refused a:421", []string{aEjected}},
		{"checks and sessions are counted apart", two, "a- a:421 a- a:421", nil},
		{"a good greeting forgives failed sessions", two, "a:421 a:421 a:ok a:421 a:refused", nil},
		{"a good greeting does not forgive failed checks", two, "a- a:ok a- a:ok a-", []string{aDown}},
		{"a good check forgives failed checks", two, "a- a- a+ a- a-", nil},
		{"a good check does not forgive failed sessions", two, "a:421 a+ a:421 a+ a:421", []string{aEjected}},
		{"the other's failures do not count", two, "a- b- a- b:421", nil},
		{"down is told once", two, "a- a- a- a- a- a-", []string{aDown}},
		{"two good checks bring it back", two, "a- a- a- a+ a+", []string{aDown, aUp}},
		{"not in a row", two, "a- a- a- a+ a- a+", []string{aDown}},
		{"after the return the count is new", two, "a- a- a- a+ a+ a- a-", []string{aDown, aUp}},
		{"an ejection ends", two, "a:421 a:421 a:421 29s 1s", []string{aEjected, aOver}},
		{"the second lasts longer", two, "a:421 a:421 a:421 30s a:421 a:421 a:421 58s", []string{aEjected, aOver, aEjected}},
		{"and ends", two, "a:421 a:421 a:421 30s a:421 a:421 a:421 60s", []string{aEjected, aOver, aEjected, aOver}},
		{"after five good minutes it is the first again", two, "a:421 a:421 a:421 30s 5m a:421 a:421 a:421 30s",
			[]string{aEjected, aOver, aEjected, aOver}},
		{"good checks do not end an ejection", two, "a:421 a:421 a:421 a+ a+ a+", []string{aEjected}},
		{"one whose check failed meanwhile is not trusted at its end", two, "a:421 a:421 a:421 a- 30s a+ a+",
			[]string{aEjected, "a ejected->down: its time as ejected is over", aUp}},
		{"checks take an ejected one down", two, "a:421 a:421 a:421 a- a- a- 60s",
			[]string{aEjected, "a ejected->down: 3 failed checks in a row, last: refused"}},
		{"sessions never take the last one", two, "a:421 a:421 a:421 b:421 b:421 b:421 b:421 b:421", []string{aEjected}},
		{"an ejected one comes back when it is the last", two, "a:421 a:421 a:421 b- b- b-",
			[]string{aEjected, bDown, aAlone}},
		{"a check takes the last one down too", two, "a- a- a- b:421 b:421 b:421 b- b- b-", []string{aDown, bDown}},
		{"the last one until another is back", two, "a- a- a- b:421 b:421 b:421 a+ a+ b:421",
			[]string{aDown, aUp, "b up->ejected: 4 failed sessions in a row, last: greeting_4xx"}},
		{"one of weight 0 is no other", standby, "a:421 a:421 a:421 a:421", nil},
		{"checks take one of weight 0 down", standby, "b- b- b-", []string{bDown}},
		{"421 to a check is busy", two, "a4", []string{aBusy}},
		{"until a good check", two, "a4 a+", []string{aBusy, "a busy->up: 1 good check"}},
		{"or its time is over", two, "a4 15s", []string{aBusy, "a busy->up: its time as busy is over"}},
		{"which each 421 begins anew", two, "a4 10s a4 10s", []string{aBusy}},
		{"busy is not failed", two, "a- a- a4 a- a- a-", []string{aBusy, "a busy->down: 3 failed checks in a row, last: refused"}},
		{"the last one is not left alone for a 421", two, "a- a- a- b4 b4", []string{aDown}},
		{"a busy one comes back when it is the last", two, "a4 b- b- b-", []string{aBusy, bDown, "a busy->up: no other backend is up"}},
		{"a person drains it, and brings it back", two, "a/drain a- a+ a/enable",
			[]string{"a up->draining: drained", "a draining->up: enabled"}},
		{"checked all the same", two, "a/drain a- a- a- a/enable a+ a+",
			[]string{"a up->draining: drained", "a draining->down: enabled", aUp}},
		{"a person disables it", two, "a/drain a/disable a/drain a/disable a/enable", []string{
			"a up->draining: drained", "a draining->disabled: disabled", "a disabled->draining: drained",
			"a draining->disabled: disabled", "a disabled->up: enabled"}},
		{"a person may take the last one", two, "a/drain b/disable", []string{"a up->draining: drained", "b up->disabled: disabled"}},
		{"which brings an ejected one back", two, "a:421 a:421 a:421 b/drain", []string{aEjected, "b up->draining: drained", aAlone}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t, Config{Backends: tt.backends})
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
	if got, want := p.Snapshot(start)[0].Reason, "3 failed checks in a row, last: no reason given"; got != want {
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
		{Name: "a", Site: "hq", Weight: 2, MaxSessions: 7, Quota: 7, Part: 1, Reason: "up since the start", Active: 1, Picks: 2, Established: 2},
		{ID: 1, Name: "b", Site: "dr", Tier: 1, Weight: 1, Part: 1, State: Down, Reason: "3 failed checks in a row, last: refused",
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
