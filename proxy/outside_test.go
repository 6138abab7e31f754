package proxy

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A row is its sessions in the order in which they came, whoever leaves it when.
func TestRowKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &loop{outsideMost: rapid.IntRange(1, 5).Draw(t, "most")}
		model := map[outside][]*session{}
		all := make([]*session, 12)
		for i := range all {
			all[i] = l.sessions.get()
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			s := rapid.SampledFrom(all).Draw(t, "session")
			if kind := s.outside; kind != inside {
				l.takeOut(s)
				l.takeOut(s) // which is nothing
				at := slices.Index(model[kind], s)
				model[kind] = slices.Delete(model[kind], at, at+1)
			} else {
				kind := rapid.SampledFrom([]outside{awaited, strangers, leaving}).Draw(t, "kind")
				first := l.put(s, kind)
				model[kind] = append(model[kind], s)
				if over := len(model[kind]) > l.outsideMost; over != (first != nil) || over && first != model[kind][0] {
					t.Fatalf("of %d, %d at most, %v has to go", len(model[kind]), l.outsideMost, first)
				}
			}
			for kind, want := range model {
				var forth, back []*session
				for p := l.outside[kind].first; p != 0; p = l.atPlace(p).after {
					forth = append(forth, l.atPlace(p))
				}
				for p := l.outside[kind].last; p != 0; p = l.atPlace(p).before {
					back = append(back, l.atPlace(p))
				}
				slices.Reverse(back)
				if !slices.Equal(forth, want) || !slices.Equal(back, want) || l.outside[kind].n != len(want) {
					t.Fatalf("row %d has %d forth, %d back and counts %d, want %d", kind, len(forth), len(back), l.outside[kind].n, len(want))
				}
			}
		}
	})
}

// However few descriptors or many loops there are, some have a place to wait in.
func TestEveryLoopHasSomeRoom(t *testing.T) {
	for _, test := range []struct {
		limit   int64
		workers int
		want    int
	}{{2, 1, 4}, {640, 1, 20}, {896, 2, 14}, {917504, 2, 2048}, {917504, 64, 64}} {
		s := &Server{Workers: test.workers}
		s.fdLimit.Store(test.limit)
		if got := s.outsideLimit(); got != test.want {
			t.Errorf("%d descriptors, %d loops: room for %d, want %d", test.limit, test.workers, got, test.want)
		}
	}
}
