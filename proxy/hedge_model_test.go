package proxy

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever three relays do, and whenever: the client reads one whole greeting
// or our 421, each relay is asked at most once, the accounts are right at every
// step and nothing is left.
func TestHedgeOfAnyCourseEndsWell(t *testing.T) {
	relays := []*slow{startSlow(t), startSlow(t), startSlow(t)}
	h := hedging(t, relays[0].Addr(), relays[1].Addr(), relays[2].Addr()).byHand()
	ended := 0
	rapid.Check(t, func(rt *rapid.T) {
		conn := h.r.raw()
		s := h.reach(stateGreet)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			if !s.asking() {
				break
			}
			switch step := rapid.IntRange(0, 4).Draw(rt, "step"); step {
			case 0:
				h.pass(rapid.SampledFrom([]time.Duration{granularity, tolerance / 2, tolerance, 4 * tolerance}).Draw(rt, "time"))
			default:
				text := rapid.SampledFrom([]string{"220-a\r\n", "2", plainGreeting, plainGreeting, "421 4.3.2 no\r\n", "no\r\n", hangUp}).Draw(rt, "words")
				h.tell(s, rapid.IntRange(0, 2).Draw(rt, "relay"), relays, text)
			}
			h.few()
			h.accounts()
		}
		h.end(rt, conn, s)
		h.until(h.gone, "nothing is left")
		h.accounts()
		h.until(func() bool { return relays[0].Active()+relays[1].Active()+relays[2].Active() == 0 }, "the relays are left")
		for _, r := range relays {
			for len(r.ended) > 0 { // all of its connections are over by now
				if err := <-r.ended; err != nil {
					rt.Logf("a relay saw %v", err)
				}
			}
		}
		ended++
		h.wantOneAnswer(rt, conn, h.r.ended(ended))
	})
}

// tell has a relay speak, if the session asks it.
func (h *hand) tell(s *session, index int, relays []*slow, text string) {
	h.t.Helper()
	h.until(func() bool {
		select {
		case relays[index].say <- text:
			return true
		default:
			return h.heard(s, string(rune('a'+index))) < 0
		}
	}, "the relay speaks")
}

// few turns the loop for what has happened meanwhile, most of which has arrived.
func (h *hand) few() {
	for range 3 {
		events, err := h.poller.Wait(time.Millisecond)
		if err != nil {
			h.t.Fatal(err)
		}
		h.turn(events)
	}
}

// end has the client leave, at once or once it was answered.
func (h *hand) end(rt *rapid.T, conn interface {
	CloseWrite() error
	SetLinger(int) error
	Close() error
}, s *session) {
	if s.asking() && rapid.Bool().Draw(rt, "the client leaves") {
		_ = conn.SetLinger(0)
		_ = conn.Close()
		return
	}
	for range 10 {
		h.pass(6 * tolerance)
		h.few()
	}
	_ = conn.CloseWrite()
}

func (h *hand) wantOneAnswer(rt *rapid.T, conn io.Reader, rec Record) {
	var asked []string
	for _, a := range rec.Attempts {
		asked = append(asked, a.Backend)
	}
	slices.Sort(asked)
	if len(slices.Compact(asked)) != len(rec.Attempts) {
		rt.Errorf("a relay was asked twice: %s", outcomes(rec))
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		return // it has left
	}
	text, more := string(got), true
	for more {
		text, more = strings.CutPrefix(text, "220-a\r\n")
	}
	served := strings.HasPrefix(text, plainGreeting) && rec.Backend != ""
	refused := strings.HasPrefix(string(got), "421 4.3.2 lb.test no relay available") && rec.Backend == ""
	if !served && !refused {
		rt.Errorf("the client reads %q of the session %+v", got, rec)
	}
}
