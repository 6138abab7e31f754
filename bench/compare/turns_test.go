package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

// abreast are variants without a process, and who had a turn, in a lab.
func abreast(ctx context.Context, t *testing.T, bursts int, fail func(key string, round, burst int) error) (had, notes []string) {
	t.Helper()
	l := lab{progress: progress{to: io.Discard}, out: &result.Comparison{}}
	m := turnwise{name: "test", rounds: 2, bursts: bursts, warm: func(v variant, _ *instance) error {
		had = append(had, "warm "+v.key)
		return nil
	}}
	for _, key := range []string{"a", "b", "c"} {
		m.all = append(m.all, variant{key: key, peer: newDirect(t.Context(), &Options{})})
	}
	m.burst = func(v variant, _ *instance, round, burst int) error {
		had = append(had, fmt.Sprintf("%s%d", v.key, burst))
		return fail(v.key, round, burst)
	}
	l.inTurns(ctx, m)
	return had, l.out.Notes
}

func TestTurnsOfARound(t *testing.T) {
	had, notes := abreast(t.Context(), t, 2, func(string, int, int) error { return nil })
	want := "warm a,warm b,warm c,a0,b0,c0,c1,b1,a1,warm a,warm b,warm c,b0,c0,a0,a1,c1,b1"
	if got := strings.Join(had, ","); got != want || len(notes) > 0 {
		t.Errorf("%s\nwant %s; notes %q", got, want, notes)
	}
}

// Who fails in a burst has no turn any more in that round.
func TestTurnsGoOnWithoutWhoFails(t *testing.T) {
	had, notes := abreast(t.Context(), t, 3, func(key string, round, burst int) error {
		if key == "b" && round == 0 && burst == 1 {
			return errors.New("it fell over")
		}
		return nil
	})
	if n := len(slices.DeleteFunc(had, func(turn string) bool { return turn[0] != 'b' })); n != 2+3 {
		t.Errorf("%d turns of b, want 2 and, in the next round, 3", n)
	}
	if len(notes) != 1 || notes[0] != "test, round 1: b: it fell over" {
		t.Errorf("notes %q", notes)
	}
}

func TestTurnsEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	had, notes := abreast(ctx, t, 3, func(key string, _, _ int) error {
		if key == "b" {
			cancel()
			return ctx.Err()
		}
		return nil
	})
	if got := strings.Join(had, ","); got != "warm a,warm b,warm c,a0,b0" || len(notes) > 0 {
		t.Errorf("%s; notes %q", got, notes)
	}
}

// All of a round's sessions are in its bursts, which are alike.
func TestBurstsMakeUpARound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, parts := rapid.Int64Range(0, 10000).Draw(t, "sessions"), rapid.IntRange(1, 50).Draw(t, "bursts")
		sum := int64(0)
		for n := range parts {
			p := part(whole, parts, n)
			if least := whole / int64(parts); p != least && p != least+1 {
				t.Errorf("burst %d has %d", n, p)
			}
			sum += p
		}
		if sum != whole {
			t.Errorf("%d in all, want %d", sum, whole)
		}
	})
}
