package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"smtplb/balancer"
)

// manyRelays is a server over so many pools of so many backends.
func manyRelays(t testing.TB, pools, backends int) *Server {
	t.Helper()
	var all []Pool
	for p := range pools {
		cfg := balancer.Config{Name: fmt.Sprintf("pool-%d", p)}
		for i := range backends {
			cfg.Backends = append(cfg.Backends, balancer.BackendConfig{Name: fmt.Sprintf("relay-%d", i), Weight: 1, Priority: i % 2})
		}
		all = append(all, Pool{Balancer: newPool(t, cfg)})
	}
	return &Server{Address: netip.MustParseAddrPort("127.0.0.1:0"), Pools: func() []Pool { return all }}
}

// told are the events in a frame.
func told(t testing.TB, text []byte) (names []string, data [][]byte) {
	t.Helper()
	for _, one := range bytes.Split(bytes.TrimSuffix(text, []byte("\n\n")), []byte("\n\n")) {
		name, rest, ok := bytes.Cut(one, []byte("\ndata: "))
		if !ok || bytes.ContainsRune(rest, '\n') || !json.Valid(rest) {
			t.Fatalf("no event: %q", one)
		}
		names = append(names, string(bytes.TrimPrefix(name, []byte("event: "))))
		data = append(data, rest)
	}
	return names, data
}

// asked counts the snapshots that a feed makes.
func asked(f *feed) *atomic.Int64 {
	n, inner := new(atomic.Int64), f.state
	f.state = func() *status { n.Add(1); return inner() }
	return n
}

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestOneSnapshotASecondForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(newRig(t).Server)
		defer f.close()
		snapshots := asked(f)
		f.keepHistory()
		pass(time.Minute)
		if n := snapshots.Load(); n != 0 {
			t.Errorf("%d snapshots while nobody watches", n)
		}
		var all []*watcher
		for range 3 {
			w, err := f.join(func() {})
			if err != nil {
				t.Fatal(err)
			}
			if names, _ := told(t, <-w.frames); !reflect.DeepEqual(names, []string{"history", "state"}) {
				t.Errorf("told first: %v", names)
			}
			all = append(all, w)
		}
		snapshots.Store(0)
		pass(4*time.Second + time.Millisecond)
		if n := snapshots.Load(); n != 4 {
			t.Errorf("%d snapshots in 4 s for three watchers", n)
		}
		for _, w := range all {
			var names []string
			for range len(w.frames) {
				n, _ := told(t, <-w.frames)
				names = append(names, n...)
			}
			if want := []string{"change", "change", "change", "change"}; !reflect.DeepEqual(names, want) {
				t.Errorf("told %v, want %v", names, want)
			}
			f.leave(w)
		}
		pass(2 * watchInterval)
		snapshots.Store(0)
		pass(time.Minute)
		if n := snapshots.Load(); n != 0 || f.ticking {
			t.Errorf("%d snapshots after all have left, ticking %v", n, f.ticking)
		}
	})
}

func TestAStepIsToldAfterTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		f := newFeed(r.Server)
		defer f.close()
		f.keepHistory()
		synctest.Wait()
		r.established(t, time.Millisecond)
		pass(historyStep + time.Millisecond)
		w, err := f.join(func() {})
		if err != nil {
			t.Fatal(err)
		}
		_, data := told(t, <-w.frames)
		var h historyReport
		if err := json.Unmarshal(data[0], &h); err != nil {
			t.Fatal(err)
		}
		if len(h.Times) != 2 || len(h.Pools) != 2 || fmt.Sprint(h.Pools[0].Backends[0].Established) != "[0 1]" {
			t.Errorf("the history: %+v", h)
		}
		pass(historyStep)
		for range len(w.frames) {
			if names, data := told(t, <-w.frames); names[0] == "step" {
				if err := json.Unmarshal(data[0], &h); err != nil || len(h.Times) != 1 {
					t.Errorf("the step: %v %+v", err, h)
				}
				return
			}
		}
		t.Error("no step was told")
	})
}

// A watcher that puts the changes into what it knew knows the state.
func TestChangesMakeTheState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was, now := drawStatus(t, "was"), drawStatus(t, "now")
		if rapid.Bool().Draw(t, "same shape") {
			now = later(t, was)
		}
		if !sameShape(was, now) {
			if reflect.DeepEqual(shape(was), shape(now)) {
				t.Fatalf("%v and %v are said to differ", shape(was), shape(now))
			}
			return
		}
		if !reflect.DeepEqual(shape(was), shape(now)) {
			t.Fatalf("%v and %v are said to be the same", shape(was), shape(now))
		}
		merged := changes(was, now)
		for i := range merged.Pools {
			for j := range merged.Pools[i].Tiers {
				tier := &merged.Pools[i].Tiers[j]
				changed := map[string]backendStatus{}
				for _, b := range tier.Backends {
					changed[b.Name] = b
				}
				before := was.Pools[i].Tiers[j].Backends
				tier.Backends = append([]backendStatus{}, before...)
				for k, b := range before {
					if c, ok := changed[b.Name]; ok {
						if c == b {
							t.Fatalf("%s is told, and is as before", b.Name)
						}
						tier.Backends[k] = c
					}
				}
			}
		}
		if !reflect.DeepEqual(merged, now) {
			t.Fatalf("%+v, want %+v", merged, now)
		}
	})
}

func drawStatus(t *rapid.T, label string) *status {
	few := rapid.IntRange(0, 2)
	st := &status{Uptime: rapid.Float64Range(0, 10).Draw(t, label), Pools: []poolStatus{}}
	for p := range few.Draw(t, "pools") {
		pool := poolStatus{Name: fmt.Sprint("p", p), Tiers: []tierStatus{}}
		for i := range few.Draw(t, "tiers") {
			tier := tierStatus{Tier: i, Healthy: few.Draw(t, "healthy"), Backends: []backendStatus{}}
			for b := range few.Draw(t, "backends") {
				name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name") + fmt.Sprint(b)
				tier.Backends = append(tier.Backends, backendStatus{Name: name, Sessions: few.Draw(t, "sessions")})
			}
			pool.Tiers = append(pool.Tiers, tier)
		}
		st.Pools = append(st.Pools, pool)
	}
	return st
}

// later is a state of the same shape, in which some sessions have come and gone.
func later(t *rapid.T, was *status) *status {
	st := *was
	st.Pools = slices.Clone(was.Pools)
	for i := range st.Pools {
		st.Pools[i].Tiers = slices.Clone(was.Pools[i].Tiers)
		for j := range st.Pools[i].Tiers {
			tier := &st.Pools[i].Tiers[j]
			tier.Backends = slices.Clone(tier.Backends)
			for k := range tier.Backends {
				tier.Backends[k].Sessions = rapid.IntRange(0, 2).Draw(t, "sessions")
			}
		}
	}
	return &st
}

func shape(st *status) (names []string) {
	for _, p := range st.Pools {
		names = append(names, "pool "+p.Name)
		for _, t := range p.Tiers {
			names = append(names, fmt.Sprint("tier ", t.Tier))
			for _, b := range t.Backends {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

func TestAnotherShapeIsToldWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		before, reloaded := r.Pools, &atomic.Bool{}
		r.Pools = func() []Pool {
			if reloaded.Load() {
				return []Pool{{Balancer: r.outbound}}
			}
			return before()
		}
		f := newFeed(r.Server)
		defer f.close()
		w, err := f.join(func() {})
		if err != nil {
			t.Fatal(err)
		}
		<-w.frames
		reloaded.Store(true)
		pass(watchInterval + time.Millisecond)
		names, data := told(t, <-w.frames)
		var st status
		if err := json.Unmarshal(data[0], &st); err != nil || names[0] != "state" || len(st.Pools) != 1 || len(st.Pools[0].Tiers[0].Backends) != 2 {
			t.Errorf("%v %v %s", err, names, data[0])
		}
	})
}

func TestWhoDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(newRig(t).Server)
		defer f.close()
		cut := false
		slow, err := f.join(func() { cut = true })
		if err != nil {
			t.Fatal(err)
		}
		quick, err := f.join(func() { t.Error("the one who reads was cut") })
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan int)
		go func() {
			n := 0
			for range quick.frames {
				n++
			}
			read <- n
		}()
		pass((watcherQueue + 5) * watchInterval)
		if !cut || !f.gone(slow) || f.gone(quick) {
			t.Errorf("cut %v; gone: the slow one %v, the quick one %v", cut, f.gone(slow), f.gone(quick))
		}
		f.leave(slow) // as its handler does
		f.mu.Lock()
		quick.cut = func() {}
		f.mu.Unlock()
		f.close()
		if n := <-read; n < watcherQueue+4 {
			t.Errorf("the quick one was told %d times", n)
		}
	})
}

func TestSoManyMayWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(newRig(t).Server)
		var first *watcher
		for i := range maxWatchers {
			w, err := f.join(func() {})
			if err != nil {
				t.Fatalf("watcher %d: %v", i, err)
			}
			if first == nil {
				first = w
			}
		}
		if _, err := f.join(func() {}); !errors.Is(err, errManyWatch) {
			t.Errorf("one more: %v", err)
		}
		f.leave(first)
		if _, err := f.join(func() {}); err != nil {
			t.Errorf("after one has left: %v", err)
		}
		f.close()
		f.close()
		if _, err := f.join(func() {}); !errors.Is(err, errFeedEnded) {
			t.Errorf("after the end: %v", err)
		}
		f.keepHistory() // does nothing; goleak would see it
	})
}

// What a second costs while somebody watches 400 backends of which each has changed.
func BenchmarkTick(b *testing.B) {
	f := newFeed(manyRelays(b, 20, 20))
	w, err := f.join(func() {})
	if err != nil {
		b.Fatal(err)
	}
	defer f.close()
	<-w.frames
	for b.Loop() {
		f.mu.Lock()
		for _, p := range f.last.Pools {
			for _, t := range p.Tiers {
				for i := range t.Backends {
					t.Backends[i].Sessions++
				}
			}
		}
		f.mu.Unlock()
		f.tick()
		b.ReportMetric(float64(len(<-w.frames)), "bytes/frame")
	}
}
