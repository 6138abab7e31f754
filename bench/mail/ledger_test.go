package mail

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

func known(seq uint64) Arrival { return Arrival{ID: ID{1, seq}, Known: true, Size: 500} }

func TestVerdicts(t *testing.T) {
	damaged := func(seq uint64) Arrival {
		a := known(seq)
		a.Corrupt = true
		return a
	}
	tests := []struct {
		name     string
		accepted []uint64
		unsure   []uint64
		there    []Arrival
		want     result.Verdict
	}{
		{"nothing at all", nil, nil, nil, result.Verdict{}},
		{
			"all is well", []uint64{0, 1, 2}, nil, []Arrival{known(2), known(0), known(1)},
			result.Verdict{Accepted: 3, Delivered: 3},
		},
		{
			"one is lost", []uint64{0, 1}, nil, []Arrival{known(1)},
			result.Verdict{Accepted: 2, Delivered: 1, Lost: 1, LostSeqs: []uint64{0}},
		},
		{
			"one came twice", []uint64{5}, nil, []Arrival{known(5), known(5)},
			result.Verdict{Accepted: 1, Delivered: 1, Duplicated: 1, DupSeqs: []uint64{5}},
		},
		{
			"unsure, and not there", nil, []uint64{5}, nil,
			result.Verdict{Unsure: 1},
		},
		{
			"unsure, and there", nil, []uint64{5}, []Arrival{known(5)},
			result.Verdict{Unsure: 1, Delivered: 1},
		},
		{
			"unsure, then accepted, there once", []uint64{5}, []uint64{5}, []Arrival{known(5)},
			result.Verdict{Accepted: 1, Unsure: 1, Delivered: 1},
		},
		{
			"unsure, then accepted, there twice: RFC 1047", []uint64{5}, []uint64{5}, []Arrival{known(5), known(5)},
			result.Verdict{Accepted: 1, Unsure: 1, Delivered: 1},
		},
		{
			"unsure, then accepted, there three times", []uint64{5}, []uint64{5}, []Arrival{known(5), known(5), known(5)},
			result.Verdict{Accepted: 1, Unsure: 1, Delivered: 1, Duplicated: 1, DupSeqs: []uint64{5}},
		},
		{
			"accepted twice, there once", []uint64{5, 5}, nil, []Arrival{known(5)},
			result.Verdict{Accepted: 2, Delivered: 1, Lost: 1, LostSeqs: []uint64{5}},
		},
		{
			"damaged", []uint64{5, 6}, nil, []Arrival{damaged(5), known(6)},
			result.Verdict{Accepted: 2, Delivered: 2, Corrupted: 1, BadSeqs: []uint64{5}},
		},
		{
			"damaged in its number", []uint64{5}, nil, []Arrival{damaged(1 << 60)},
			result.Verdict{Accepted: 1, Lost: 1, LostSeqs: []uint64{5}, Corrupted: 1, BadSeqs: []uint64{1 << 60}},
		},
		{
			"never sent", []uint64{5}, nil, []Arrival{known(5), known(4), known(6), known(math.MaxUint64)},
			result.Verdict{Accepted: 1, Delivered: 1, Unexpected: 3, OddSeqs: []uint64{4, 6, math.MaxUint64}},
		},
		{
			"nothing was sent, and yet", nil, nil, []Arrival{known(0), known(0), known(1)},
			result.Verdict{Unexpected: 2, OddSeqs: []uint64{0, 1}},
		},
		{
			"others' mail", nil, nil, []Arrival{{Size: 10}, {ID: ID{2, 1}, Known: true}},
			result.Verdict{},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var l Ledger
			var one, two, all Receipts
			for _, seq := range test.accepted {
				l.Accepted(seq)
			}
			for _, seq := range test.unsure {
				l.Unsure(seq)
			}
			for i, a := range test.there {
				all.Add(a)
				[]*Receipts{&one, &two}[i%2].Add(a)
			}
			if got := l.Compare(all.Of(1)); !reflect.DeepEqual(got, test.want) {
				t.Errorf("one sink: %+v\nwant %+v", got, test.want)
			}
			if got := l.Compare(one.Of(1), two.Of(1)); !reflect.DeepEqual(got, test.want) {
				t.Errorf("two sinks: %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestVerdictListsAreShort(t *testing.T) {
	var l Ledger
	for seq := range uint64(1000) {
		l.Accepted(seq)
	}
	v := l.Compare(Holding{Run: 1, Once: []Span{{2000, math.MaxUint64}, {5000, 6000}}})
	if v.Lost != 1000 || len(v.LostSeqs) != listed || len(v.OddSeqs) != listed || v.OddSeqs[0] != 2000 {
		t.Errorf("%+v", v)
	}
	if v.Unexpected <= 1<<60 {
		t.Errorf("%d unexpected, want nearly all there are", v.Unexpected)
	}
	if v.OK() {
		t.Error("called good")
	}
}

// TestVerdictAgainstCounting holds Compare against the definition, written out.
func TestVerdictAgainstCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := rapid.SliceOf(rapid.Uint64Range(0, 40))
		var l Ledger
		accepted, unsure, there := map[uint64]int{}, map[uint64]int{}, map[uint64]int{}
		for _, seq := range seqs.Draw(t, "accepted") {
			l.Accepted(seq)
			accepted[seq]++
		}
		for _, seq := range seqs.Draw(t, "unsure") {
			l.Unsure(seq)
			unsure[seq]++
		}
		var sinks [3]Receipts
		for i, seq := range seqs.Draw(t, "there") {
			sinks[i%3].Add(known(seq))
			there[seq]++
		}
		var want result.Verdict
		for seq := range uint64(41) {
			a, u, n := accepted[seq], unsure[seq], there[seq]
			want.Accepted += int64(a)
			want.Unsure += int64(u)
			switch {
			case a+u == 0 && n > 0:
				want.Unexpected++
				want.OddSeqs = append(want.OddSeqs, seq)
				continue
			case n < a:
				want.Lost++
				want.LostSeqs = append(want.LostSeqs, seq)
			case n > a+u:
				want.Duplicated++
				want.DupSeqs = append(want.DupSeqs, seq)
			}
			if n > 0 {
				want.Delivered++
			}
		}
		got := l.Compare(sinks[0].Of(1), sinks[1].Of(1), sinks[2].Of(1))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	})
}

func TestTallyCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tally tally
		model := map[uint64]int{}
		total := int64(0)
		near := rapid.OneOf(rapid.Uint64Range(0, 200), rapid.Uint64Range(pageSize-3, pageSize+3), rapid.Uint64())
		for _, seq := range rapid.SliceOf(near).Draw(t, "seqs") {
			n := rapid.IntRange(-1, 3).Draw(t, "times")
			tally.add(seq, n)
			if n > 0 {
				model[seq] += n
				total += int64(n)
			}
		}
		if tally.total != total || tally.distinct != int64(len(model)) {
			t.Errorf("total %d of %d, want %d of %d", tally.total, tally.distinct, total, len(model))
		}
		var order []uint64
		tally.each(func(seq uint64) { order = append(order, seq) })
		if len(order) != len(model) || !slices.IsSorted(order) {
			t.Errorf("each gives %d, want the %d that there are", order, len(model))
		}
		ones := 0
		for _, span := range tally.once() {
			for seq := span.First; ; seq++ {
				if ones++; model[seq] != 1 {
					t.Errorf("%d is in a span, came %d times", seq, model[seq])
				}
				if seq == span.Last {
					break
				}
			}
		}
		for seq, n := range model {
			if n == 1 {
				ones--
			}
			if got := tally.count(seq); got != n {
				t.Errorf("%d counts %d, want %d", seq, got, n)
			}
		}
		if ones != 0 {
			t.Errorf("%d too many in spans", ones)
		}
	})
}

func TestHoldingTravelsAsJSON(t *testing.T) {
	var r Receipts
	for _, seq := range []uint64{0, 1, 2, 3, 7, 9, 9, 9, math.MaxUint64} {
		a := known(seq)
		a.Corrupt = seq == 3
		r.Add(a)
	}
	want := Holding{
		Run: 1, Total: 9, Bytes: 4500,
		Once:    []Span{{0, 3}, {7, 7}, {math.MaxUint64, math.MaxUint64}},
		Several: map[uint64]int{9: 3}, Corrupt: []uint64{3},
	}
	if got := r.Of(1); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v\nwant %+v", got, want)
	}
	if got, want := r.Summary(1), (Summary{Run: 1, Total: 9, Bytes: 4500, Distinct: 7, Several: 1, Corrupt: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := r.Summary(2); got != (Summary{Run: 2}) {
		t.Errorf("of an unknown run: %+v", got)
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const form = `{"run":"1","total":9,"bytes":4500,"once":[[0,3],[7,7],[18446744073709551615,18446744073709551615]],` +
		`"several":{"9":3},"corrupt":[3]}`
	if string(text) != form {
		t.Errorf("%s\nwant %s", text, form)
	}
	var back Holding
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%+v (%v)\nwant %+v", back, err, want)
	}
	for _, bad := range []string{`{"once":[[3,1]]}`, `{"once":[[1]]}`, `{"once":[7]}`, `{"once":[[1,2,3]]}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestReceiptsOfManyRuns(t *testing.T) {
	var r Receipts
	var done sync.WaitGroup
	for run := range uint64(8) {
		done.Go(func() {
			for seq := range uint64(500) {
				r.Add(Arrival{ID: ID{run, seq}, Known: true, Size: 1})
				r.Add(Arrival{Size: 1})
			}
		})
	}
	done.Wait()
	if got := r.Runs(); !slices.Equal(got, []uint64{0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("runs %d", got)
	}
	if got := r.Foreign(); got != 8*500 {
		t.Errorf("%d foreign, want %d", got, 8*500)
	}
	for run := range uint64(8) {
		if got := r.Of(run); got.Total != 500 || !slices.Equal(got.Once, []Span{{0, 499}}) {
			t.Errorf("run %d: %+v", run, got)
		}
	}
	r.Reset()
	if got := r.Of(3); got.Total != 0 || r.Foreign() != 0 || len(r.Runs()) != 0 {
		t.Errorf("after Reset: %+v", got)
	}
}
