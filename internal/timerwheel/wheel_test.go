package timerwheel

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const step = int64(50 * time.Millisecond)

// fired advances w to now and returns what fired.
func fired(w *Wheel, now int64) []int32 {
	var ids []int32
	w.Advance(now, func(id int32) { ids = append(ids, id) })
	return ids
}

func TestDeadlineFiresOnceNeverEarly(t *testing.T) {
	for _, after := range []int64{0, 1, step - 1, step, step + 1, 10 * step, 1023 * step, 1024 * step, 1025 * step, 5000 * step} {
		w := New(time.Duration(step), 0)
		w.Set(7, after)
		firedAt := int64(-1)
		for now := int64(0); now <= after+2*step; now += step / 2 {
			if ids := fired(w, now); len(ids) > 0 {
				if firedAt >= 0 || len(ids) != 1 || ids[0] != 7 {
					t.Fatalf("deadline %d: fired %v at %d, before at %d", after, ids, now, firedAt)
				}
				firedAt = now
			}
		}
		if firedAt < after || firedAt > after+step+step/2 {
			t.Errorf("deadline %d fired at %d", after, firedAt)
		}
		if w.Len() != 0 {
			t.Errorf("deadline %d: %d left", after, w.Len())
		}
	}
}

func TestLongSleepFiresAllThatIsDue(t *testing.T) {
	w := New(time.Duration(step), 0)
	for id := range int32(3000) {
		w.Set(id, int64(id)*step)
	}
	if got := len(fired(w, 2999*step)); got != 3000 {
		t.Fatalf("%d fired, want 3000", got)
	}
}

func TestFireMaySetItselfAndClearOthers(t *testing.T) {
	w := New(time.Duration(step), 0)
	for id := range int32(4) {
		w.Set(id, step)
	}
	var got []int32
	w.Advance(step, func(id int32) {
		got = append(got, id)
		for other := range int32(4) {
			w.Clear(other)
		}
		w.Set(id, 0)
	})
	if len(got) != 1 || w.Len() != 1 {
		t.Fatalf("fired %v, %d left; want one of each", got, w.Len())
	}
	if again := fired(w, 2*step); len(again) != 1 || again[0] != got[0] {
		t.Fatalf("fired %v, want %v", again, got)
	}
}

// The wheel against a plain map of deadlines.
func TestWheelAgreesWithMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := New(time.Duration(step), 0)
		model := map[int32]int64{}
		now := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				id := rapid.Int32Range(0, 40).Draw(t, "id")
				at := now + rapid.Int64Range(-step, 3000*step).Draw(t, "in")
				w.Set(id, max(at, 0))
				model[id] = max(at, 0)
			},
			"clear": func(t *rapid.T) {
				id := rapid.Int32Range(0, 50).Draw(t, "id")
				w.Clear(id)
				delete(model, id)
			},
			"advance": func(t *rapid.T) {
				now += rapid.Int64Range(0, 1500*step).Draw(t, "by")
				w.Advance(now, func(id int32) {
					at, ok := model[id]
					if !ok || at > now {
						t.Fatalf("id %d fired at %d, deadline %d (set: %v)", id, now, at, ok)
					}
					delete(model, id)
				})
				for id, at := range model {
					if at <= now-2*step {
						t.Fatalf("id %d did not fire: deadline %d, now %d", id, at, now)
					}
				}
			},
			"": func(t *rapid.T) {
				if w.Len() != len(model) {
					t.Fatalf("%d armed, want %d", w.Len(), len(model))
				}
				first := int64(math.MaxInt64)
				for _, at := range model {
					first = min(first, at)
				}
				next, ok := w.Next()
				if ok != (len(model) > 0) {
					t.Fatalf("Next says %v with %d deadlines", ok, len(model))
				}
				if ok && next > max(first+step, now+step) {
					t.Fatalf("Next %d is after the first deadline %d", next, first)
				}
			},
		})
	})
}

func TestSteadyUseAllocatesNothing(t *testing.T) {
	w := New(time.Duration(step), 0)
	w.Set(999, 1)
	now := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		for id := range int32(1000) {
			w.Set(id, now+int64(id)*step/10)
			w.Clear(id / 2)
		}
		now += 10 * step
		w.Advance(now, func(int32) {})
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
