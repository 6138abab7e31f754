package admin

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// counted is a pool of one tier with these totals, established and failures alike.
func counted(name string, warm uint64, totals map[string]uint64) poolStatus {
	t := tierStatus{}
	for _, backend := range slices.Sorted(func(yield func(string) bool) {
		for name := range totals {
			if !yield(name) {
				return
			}
		}
	}) {
		t.Backends = append(t.Backends, backendStatus{Name: backend, Established: totals[backend], Failures: 2 * totals[backend]})
	}
	return poolStatus{Name: name, WarmSessions: warm, Tiers: []tierStatus{t}}
}

// What a backend counted is in the history once, wherever it came from: the
// series is as long as the backend is known, and ends with the last step.
func TestHistoryCountsEachSessionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		type model struct {
			total uint64
			steps []uint32
		}
		known := map[string]*model{}
		var now poolStatus
		steps := rapid.IntRange(1, 2*historySteps+7).Draw(t, "steps")
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3)
		for step := range steps {
			totals := map[string]uint64{}
			for _, name := range names.Draw(t, "there") {
				if _, ok := totals[name]; ok {
					continue
				}
				m := known[name]
				if m == nil {
					// One that is new may bring totals along.
					m = &model{total: rapid.Uint64Range(0, 1000).Draw(t, "brought")}
					known[name] = m
					m.steps = append(m.steps, 0)
				} else {
					by := rapid.Uint64Range(0, 50).Draw(t, "by")
					if m.total > 0 && rapid.Float64Range(0, 1).Draw(t, "anew") < 0.05 {
						// The counter began anew; what has passed the old total cannot be told.
						by = min(by, max(m.total, 1)-1)
						m.total = 0
					}
					m.total += by
					m.steps = append(m.steps, uint32(by))
				}
				totals[name] = m.total
			}
			for name := range known {
				if _, ok := totals[name]; !ok {
					delete(known, name)
				}
			}
			now = counted("p", 0, totals)
			h.add(start.Add(time.Duration(step)*historyStep), []poolStatus{now})
		}
		r := h.report(historySteps, []poolStatus{now}, nil)
		if len(r.Times) != min(steps, historySteps) || r.Times[len(r.Times)-1] != start.Add(time.Duration(steps-1)*historyStep).UnixMilli() {
			t.Fatalf("%d times after %d steps, the last %d", len(r.Times), steps, r.Times[len(r.Times)-1])
		}
		if len(r.Pools) != 1 || len(r.Pools[0].Backends) != len(known) {
			t.Fatalf("%+v, want %d backends", r, len(known))
		}
		for _, b := range r.Pools[0].Backends {
			want := known[b.Name].steps
			want = want[max(0, len(want)-historySteps):]
			if !slices.Equal(b.Established, want) {
				t.Fatalf("%s established %v, want %v", b.Name, b.Established, want)
			}
			if last := len(b.Failures) - 1; len(b.Failures) != len(want) || b.Failures[last] < want[last] {
				t.Fatalf("%s failures %v", b.Name, b.Failures)
			}
		}
	})
}

func TestHistoryForgetsWhatIsGone(t *testing.T) {
	var h history
	both := []poolStatus{counted("p", 3, map[string]uint64{"a": 1, "b": 1}), counted("q", 0, map[string]uint64{"a": 5})}
	h.add(start, both)
	one := []poolStatus{counted("p", 5, map[string]uint64{"a": 2})}
	h.add(start.Add(historyStep), one)
	if len(h.pools) != 1 || len(h.pools["p"].backends) != 1 {
		t.Errorf("it remembers %d pools, and %d backends of p", len(h.pools), len(h.pools["p"].backends))
	}
	r := h.report(1, both, map[backendKey]float64{{"p", "a"}: 12.5})
	if len(r.Times) != 1 || len(r.Pools) != 1 || !slices.Equal(r.Pools[0].Warm, []uint32{2}) || len(r.Pools[0].Backends) != 1 {
		t.Fatalf("%+v", r)
	}
	if b := r.Pools[0].Backends[0]; b.Name != "a" || !slices.Equal(b.Established, []uint32{1}) || b.Median != 12.5 {
		t.Errorf("%+v", b)
	}
}

func TestAnEmptyHistoryIsNoNull(t *testing.T) {
	var h history
	r := h.report(historySteps, nil, nil)
	if r.Times == nil || r.Pools == nil {
		t.Errorf("%+v: null in JSON", r)
	}
}

// What it costs to keep the history of 20 pools of 20 backends, while nobody
// watches, each five seconds.
func BenchmarkHistoryStep(b *testing.B) {
	r := manyRelays(b, 20, 20)
	f := newFeed(r)
	for b.Loop() {
		f.step()
	}
}
