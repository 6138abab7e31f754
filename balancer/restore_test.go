package balancer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twin drives two pools with the same events. Backends are named by their names:
// their IDs may differ.
type twin struct {
	pools [2]*Pool
	now   time.Time
	lease [][2]Lease
	names []string
}

func (w *twin) id(n int, name string) int {
	for _, b := range w.pools[n].Backends() {
		if b.Name() == name {
			return b.ID()
		}
	}
	return -1
}

// each has every pool that there is do something, and returns what the first said.
func (w *twin) each(t *rapid.T, what string, do func(n int, p *Pool) string) {
	said := ""
	for n, p := range w.pools {
		if p == nil {
			continue
		}
		got := do(n, p)
		if n == 1 && got != said {
			t.Fatalf("%s: %s, restored: %s", what, said, got)
		}
		said = got
	}
}

// step is one event, drawn once for both.
func (w *twin) step(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 60000)).Draw(t, "ms")) * time.Millisecond)
	name := "nobody"
	if len(w.names) > 0 {
		name = rapid.SampledFrom(w.names).Draw(t, "name")
	}
	kind := rapid.IntRange(0, 19).Draw(t, "event")
	switch {
	case kind < 8:
		w.acquire(t, rapid.SliceOfNDistinct(rapid.SampledFrom(append(w.names, "nobody")), 0, 2, rapid.ID).Draw(t, "tried"))
	case kind < 15 && len(w.lease) > 0:
		w.end(t, rapid.IntRange(0, len(w.lease)-1).Draw(t, "lease"), rapid.IntRange(0, 3).Draw(t, "how"))
	case kind < 18:
		v := rapid.SampledFrom([]Verdict{VerdictGood, VerdictGood, VerdictFailed, VerdictBusy}).Draw(t, "verdict")
		w.each(t, "probe", func(n int, p *Pool) string { p.Probe(w.now, w.id(n, name), v, "why"); return "" })
	default:
		order := rapid.IntRange(0, 3).Draw(t, "order")
		w.each(t, "order", func(n int, p *Pool) string {
			switch order {
			case 0:
				return fmt.Sprint(p.Drain(w.now, w.id(n, name)))
			case 1:
				return fmt.Sprint(p.Disable(w.now, w.id(n, name)))
			default:
				return fmt.Sprint(p.Enable(w.now, w.id(n, name)))
			}
		})
	}
	w.each(t, "status", func(_ int, p *Pool) string { return state(w.now, p) })
}

func (w *twin) acquire(t *rapid.T, tried []string) {
	var pair [2]Lease
	w.each(t, "choice", func(n int, p *Pool) string {
		var ids []int
		for _, name := range tried {
			ids = append(ids, w.id(n, name))
		}
		lease, err := p.Acquire(w.now, ids)
		pair[n] = lease
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(lease.Backend().Name(), lease.Warm(), lease.Patience())
	})
	if pair[0].Held() {
		w.lease = append(w.lease, pair)
	}
}

func (w *twin) end(t *rapid.T, at, how int) {
	greeting := time.Duration(rapid.IntRange(1, 3000).Draw(t, "greeting")) * time.Millisecond
	w.each(t, "end", func(n int, _ *Pool) string {
		l := &w.lease[at][n]
		switch how {
		case 0:
			l.Fail(w.now, Greeting4xx)
		case 1:
			l.Late()
			fallthrough
		default:
			l.Established(w.now, greeting)
			l.Release(w.now)
		}
		return ""
	})
	w.lease = append(w.lease[:at], w.lease[at+1:]...)
}

// state is what people see of a pool, without its totals.
func state(now time.Time, p *Pool) string {
	all := p.Snapshot(now)
	for i := range all {
		b := &all[i]
		b.ID, b.Picks, b.Established, b.Failures = 0, 0, 0, 0
		b.Since, b.Until = b.Since.UTC(), b.Until.UTC()
	}
	tiers := p.Tiers(now)
	for i := range tiers {
		tiers[i].Since, tiers[i].LastSession = tiers[i].Since.UTC(), tiers[i].LastSession.UTC()
	}
	return fmt.Sprintf("%+v %+v", all, tiers)
}

func drawnConfig(t *rapid.T) Config {
	cfg := Config{
		Name: "out", Failures: rapid.IntRange(1, 3).Draw(t, "failures"), Fall: rapid.IntRange(1, 3).Draw(t, "fall"),
		MinHealthy: rapid.IntRange(0, 2).Draw(t, "min healthy"), FailbackDelay: time.Duration(rapid.IntRange(0, 60).Draw(t, "delay")) * time.Second,
		SlowStart: time.Duration(rapid.IntRange(0, 60).Draw(t, "slow")) * time.Second, Eject: 3 * time.Second, MaxEject: time.Minute,
		Warm: Warm{Share: rapid.SampledFrom([]float64{0, 0.05, 0.3}).Draw(t, "share"), MinPerHour: rapid.SampledFrom([]int{0, 0, 100}).Draw(t, "per hour")},
	}
	if rapid.Bool().Draw(t, "ramp") {
		cfg.Ramp = Ramp{Over: time.Minute, Start: 0.1}
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "backends") {
		cfg.Backends = append(cfg.Backends, BackendConfig{
			Name: fmt.Sprint("relay-", i), Key: fmt.Sprint("key-", i), Weight: rapid.IntRange(0, 4).Draw(t, "weight"),
			Priority: rapid.IntRange(0, 2).Draw(t, "priority"), MaxSessions: rapid.IntRange(0, 3).Draw(t, "max"),
		})
	}
	return cfg
}

// begin makes a pool and leads it to somewhere, with all sessions ended.
func begin(t *rapid.T) (*twin, Config) {
	cfg := drawnConfig(t)
	w := &twin{now: time.Unix(1e9, 0).UTC()}
	for _, b := range cfg.Backends {
		w.names = append(w.names, b.Name)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.pools[0] = p
	for range rapid.IntRange(0, 60).Draw(t, "before") {
		w.step(t)
	}
	for len(w.lease) > 0 {
		w.end(t, 0, 3)
	}
	return w, cfg
}

// passOn is a Saved on its way to another process.
func passOn(t interface{ Fatal(...any) }, saved *Saved) *Saved {
	text, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	var got Saved
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

// A restored pool goes on as the one that was saved does: the same choices, the
// same states, at the same times.
func TestRestoredPoolGoesOnAsTheOldOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, cfg := begin(t)
		saved := passOn(t, w.pools[0].Save(w.now))
		next, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Restore(w.now, cfg, saved); err != nil {
			t.Fatal(err)
		}
		w.pools[1] = next
		again := passOn(t, next.Save(w.now))
		for i := range saved.Members {
			if saved.Members[i].Weight == 0 { // it waits for no turn
				saved.Members[i].Pass = again.Members[i].Pass
			}
		}
		if !reflect.DeepEqual(again, saved) {
			t.Fatalf("saved again: %+v, want %+v", again, saved)
		}
		for range rapid.IntRange(1, 60).Draw(t, "after") {
			w.step(t)
		}
	})
}

// With another configuration it is as if that had been given to Reconfigure.
func TestRestoreWithAnotherConfigurationIsReconfigure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, cfg := begin(t)
		saved := passOn(t, w.pools[0].Save(w.now))
		other := drawnConfig(t)
		other.SlowStart = cfg.SlowStart // else a step that is under way ends at another time
		for i := range other.Backends {
			if i < len(cfg.Backends) && rapid.IntRange(0, 3).Draw(t, "renamed") == 0 {
				other.Backends[i].Name = fmt.Sprint("renamed-", i)
			}
		}
		w.names = nil
		for _, b := range other.Backends {
			w.names = append(w.names, b.Name)
		}
		if err := w.pools[0].Reconfigure(w.now, other); err != nil {
			t.Fatal(err)
		}
		next, err := New(other)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Restore(w.now, other, saved); err != nil {
			t.Fatal(err)
		}
		w.pools[1] = next
		for i, b := range next.Backends() {
			if b.ID() != i || b.Name() != other.Backends[i].Name {
				t.Fatalf("backend %d is %s with ID %d", i, b.Name(), b.ID())
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "after") {
			w.step(t)
		}
	})
}

// What is older than a minute tells nothing of the relays, only of the people.
func TestRestoreOfOldStateKeepsWhatPeopleOrdered(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	cfg := Config{Name: "out", Fall: 1, Warm: Warm{Share: 0.5}, Backends: []BackendConfig{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1}, {Name: "d", Weight: 1, Priority: 1},
	}}
	old, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	old.Drain(now, 0)
	old.Disable(now, 1)
	old.Probe(now, 2, VerdictFailed, "closed")
	lease, err := old.Acquire(now, nil)
	if err != nil {
		t.Fatal(err)
	}
	lease.Established(now, 0)
	for _, test := range []struct {
		after time.Duration
		want  []State
		in    int // the tier in use
	}{
		{time.Second, []State{Draining, Disabled, Down, Up}, 1},
		{time.Hour, []State{Draining, Disabled, Up, Up}, 0},
	} {
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		later := now.Add(test.after)
		if err := p.Restore(later, cfg, passOn(t, old.Save(now))); err != nil {
			t.Fatal(err)
		}
		for i, b := range p.Snapshot(later) {
			if b.State != test.want[i] {
				t.Errorf("after %v %s is %s, want %s", test.after, b.Name, b.State, test.want[i])
			}
		}
		tiers := p.Tiers(later)
		if !tiers[test.in].Active || !tiers[1].LastSession.Equal(now) {
			t.Errorf("after %v: %+v", test.after, tiers)
		}
		if p.warm.owed != old.warm.owed || p.warm.owed == 0 {
			t.Errorf("after %v %v is owed to the standby, want %v", test.after, p.warm.owed, old.warm.owed)
		}
	}
}

// Garbage is named and dropped, and what is right beside it is taken over.
func TestRestoreDropsWhatCannotBeTrue(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	cfg := Config{Name: "out", Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}}
	for _, test := range []struct {
		name   string
		change func(*Saved)
		want   string // part of the error; "" for none
		kept   bool   // that b is drained
	}{
		{"nothing", func(*Saved) {}, "", true},
		{"another version", func(s *Saved) { s.Version = 2 }, "version 2: want 1", false},
		{"another pool", func(s *Saved) { s.Pool = "in" }, `of pool "in"`, false},
		{"too many", func(s *Saved) { s.Members = make([]SavedBackend, savedMost) }, "want 65536 at most", false},
		{"an unknown state", func(s *Saved) { s.Members[0].State = "asleep" }, `"a": state "asleep"`, true},
		{"no stride", func(s *Saved) { s.Members[0].Stride = 0 }, `"a": its turn`, true},
		{"a turn that never comes", func(s *Saved) { s.Members[0].Pass = 1e9 }, `"a": its turn`, true},
		{"a virtual time out of reach", func(s *Saved) { s.Tiers[0].VirtualTime = math.MaxFloat64 }, "virtual time", true},
		{"no tier", func(s *Saved) { s.Members[0].Priority = 7 }, `"a": its tier 7`, true},
		{"a habit of no bucket", func(s *Saved) { s.Members[0].Habit = map[int]uint32{-1: 3} }, "bucket -1", true},
		{"the future", func(s *Saved) {
			s.Tiers[0].UsableSince, s.Tiers[0].LastSession = now.AddDate(9, 0, 0), now.AddDate(9, 0, 0)
			s.Members[1].Since, s.Members[0].LastEjected = now.AddDate(9, 0, 0), now.AddDate(9, 0, 0)
			s.Warm.Next, s.Wake = now.AddDate(9, 0, 0), now.AddDate(9, 0, 0)
		}, "", true},
		{"an ejection for ever", func(s *Saved) { s.Members[0].State, s.Members[0].Until = "ejected", time.Time{} }, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			old.Drain(now, 1)
			saved := passOn(t, old.Save(now))
			test.change(saved)
			p, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = p.Restore(now, cfg, saved)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if b := p.Snapshot(now)[1]; (b.State == Draining) != test.kept || b.Since.After(now) {
				t.Errorf("b is %s since %v", b.State, b.Since)
			}
			// An ejection is over in time, and somebody is chosen.
			lease, err := p.Acquire(now.Add(time.Hour), nil)
			if err != nil {
				t.Fatal(err)
			}
			lease.Release(now)
			if b := p.Snapshot(now.Add(time.Hour))[0]; b.State != Up {
				t.Errorf("a is %s after an hour", b.State)
			}
		})
	}
}

func TestRestoreRefusesAPoolThatHasBegun(t *testing.T) {
	now := time.Unix(1e9, 0)
	cfg := Config{Name: "out", Backends: []BackendConfig{{Name: "a", Weight: 1}}}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	saved := p.Save(now)
	if _, err := p.Acquire(now, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Restore(now, cfg, saved); err == nil || !strings.Contains(err.Error(), "begun already") {
		t.Errorf("error %v", err)
	}
	if n := p.Snapshot(now)[0].Active; n != 1 {
		t.Errorf("%d sessions, want the 1 from before", n)
	}
	other := cfg
	other.Name = "in"
	if err := p.Restore(now, other, saved); err == nil {
		t.Error("another pool's configuration: no error")
	}
	if err := p.Restore(now, Config{}, saved); err == nil {
		t.Error("a configuration with mistakes: no error")
	}
	fresh, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Restore(now, cfg, nil); err == nil {
		t.Error("nothing: no error")
	}
}

// Whatever another process sends, the pool works: somebody is chosen as long as
// anybody is up, and shares hold.
func FuzzRestore(f *testing.F) {
	cfg := Config{Name: "out", Ramp: Ramp{Over: time.Minute, Start: 0.1}, Warm: Warm{Share: 0.1, MinPerHour: 1}, SlowStart: time.Minute, Backends: []BackendConfig{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 3}, {Name: "c", Weight: 1, Priority: 1},
	}}
	now := time.Unix(1e9, 0).UTC()
	p, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	p.Drain(now, 0)
	p.Enable(now, 0)
	text, err := json.Marshal(p.Save(now))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"pool":"out","time":"2001-09-09T01:46:40Z","active_tier":1,"tiers":[{"priority":1,"healthy":9}],"backends":[{"name":"c","priority":1,"state":"ejected","weight":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var saved Saved
		if json.Unmarshal(text, &saved) != nil {
			return
		}
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Restore(now, cfg, &saved)
		at, began := now, 0
		for range 200 {
			at = at.Add(10 * time.Second)
			lease, err := p.Acquire(at, nil)
			if err == nil {
				began++
				lease.Established(at, time.Millisecond)
				lease.Release(at)
			}
			for id := range 3 {
				p.Probe(at, id, VerdictGood, "")
			}
		}
		out := 0
		for _, b := range p.Snapshot(at) {
			switch b.State {
			case Up:
			case Draining, Disabled:
				out++
			default:
				t.Errorf("%s is %s after 200 good checks", b.Name, b.State)
			}
		}
		if out < 3 && began < 100 {
			t.Errorf("%d of 200 sessions found a relay: %s", began, text)
		}
		if _, err := p.Acquire(at, nil); out == 3 && !errors.Is(err, ErrDown) {
			t.Errorf("all are taken out: %v", err)
		}
	})
}
