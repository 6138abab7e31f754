package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shown is an announcer that notes what it does with its addresses, and when.
type shown struct {
	announcer

	begun        time.Time
	shows, hides []time.Duration
	said         []string
	refuse       error
}

func newShown() *shown {
	s := &shown{begun: time.Now()}
	s.announcer = announcer{
		vips: []netip.Addr{netip.MustParseAddr("192.0.2.25")},
		show: func([]netip.Addr) error { s.shows = append(s.shows, time.Since(s.begun)); return s.refuse },
		hide: func([]netip.Addr) error { s.hides = append(s.hides, time.Since(s.begun)); return s.refuse },
		say:  func(format string, args ...any) { s.said = append(s.said, fmt.Sprintf(format, args...)) },
	}
	return s
}

// announces has it run for a time, with an smtplb of which ready tells, by the time
// since the start, how long it takes to say whether it is ready, and what it says.
func (s *shown) announces(t *testing.T, d time.Duration, ready func(at time.Duration) (took time.Duration, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	again, err := s.run(ctx, func(ctx context.Context) error {
		took, err := ready(time.Since(s.begun))
		wait, stop := context.WithTimeout(ctx, took)
		defer stop()
		<-wait.Done()
		return err
	}, nil)
	if again || err != nil {
		t.Errorf("again %t, %v", again, err)
	}
}

const soon = time.Millisecond

func TestAddressesAreShownAgainWellBeforeTheyWouldGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShown()
		s.announces(t, time.Minute, func(time.Duration) (time.Duration, error) { return 30 * time.Millisecond, nil })
		if len(s.hides) > 0 || s.shows[0] > haPace || !s.up {
			t.Errorf("shown first after %s, hidden after %v", s.shows[0], s.hides)
		}
		for i := 1; i < len(s.shows); i++ {
			if s.shows[i]-s.shows[i-1] > haLease/4 {
				t.Fatalf("not shown from %s to %s", s.shows[i-1], s.shows[i])
			}
		}
		if !slices.Equal(s.said, []string{"announced: [192.0.2.25]"}) {
			t.Errorf("%q", s.said)
		}
	})
}

func TestNothingIsAnnouncedThatIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShown()
		s.announces(t, time.Minute, func(at time.Duration) (time.Duration, error) {
			if at < 10*time.Second || at >= 20*time.Second {
				return soon, errors.New("nobody answers")
			}
			return soon, nil
		})
		if s.shows[0] < 10*time.Second || s.shows[0] > 10*time.Second+2*haPace || s.shows[len(s.shows)-1] > 20*time.Second+soon {
			t.Errorf("shown from %s to %s", s.shows[0], s.shows[len(s.shows)-1])
		}
		if len(s.hides) != 1 || s.hides[0] > 20*time.Second+2*haPace || s.up {
			t.Errorf("hidden after %v", s.hides)
		}
		want := []string{"not announced: nobody answers", "announced: [192.0.2.25]", "withdrawn: nobody answers"}
		if !slices.Equal(s.said, want) {
			t.Errorf("%q, want %q", s.said, want)
		}
	})
}

// One that comes and goes would have routers cut sessions each time.
func TestWhoFailedMustBeWellForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShown()
		s.announces(t, time.Minute, func(at time.Duration) (time.Duration, error) {
			if at > 10*time.Second && at < 20*time.Second && at/(500*time.Millisecond)%2 == 0 {
				return soon, errors.New("not now")
			}
			return soon, nil
		})
		if len(s.hides) != 1 {
			t.Errorf("hidden %d times", len(s.hides))
		}
		back := slices.IndexFunc(s.shows, func(at time.Duration) bool { return at > 11*time.Second })
		if s.shows[back] < 20*time.Second || s.shows[back] > 20*time.Second+2*haSettle {
			t.Errorf("shown again after %s", s.shows[back])
		}
	})
}

// The kernel takes the addresses away while smtplb does not answer, as nobody shows
// them again.
func TestAnSmtplbThatHangsIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShown()
		s.announces(t, time.Minute, func(at time.Duration) (time.Duration, error) {
			if at < 10*time.Second {
				return soon, nil
			}
			return haPatience, context.DeadlineExceeded
		})
		last := s.shows[len(s.shows)-1]
		if last > 10*time.Second+soon || len(s.hides) != 1 || s.hides[0] > last+haRenew+2*haPace+haPatience {
			t.Errorf("shown last after %s, hidden after %v", last, s.hides)
		}
	})
}

func TestAnnouncerEndsWhereItCanDoNothing(t *testing.T) {
	well := func(context.Context) error { return nil }
	synctest.Test(t, func(t *testing.T) {
		s := newShown()
		s.refuse = os.ErrPermission
		if again, err := s.run(t.Context(), well, nil); again || !errors.Is(err, os.ErrPermission) {
			t.Errorf("again %t, %v", again, err)
		}
		s = newShown()
		hangups := make(chan os.Signal, 1)
		hangups <- os.Interrupt
		if again, err := s.run(t.Context(), well, hangups); !again || err != nil || !s.up {
			t.Errorf("at a hangup: again %t, %v", again, err)
		}
		if err := s.see(time.Now(), nil); err != nil || len(s.shows) != 2 {
			t.Errorf("what is new is not shown at once: %v, %v", s.shows, err)
		}
		if s.refuse = os.ErrPermission; s.withdraw("stopped") == nil {
			t.Error("what could not be hidden is no error")
		}
	})
}

func TestHABirdIsMadeOfTheListeners(t *testing.T) {
	file := haFile(t, "192.0.2.25:25", "192.0.2.25:587", "[2001:db8::25]:25")
	both := []string{"--self", "10.0.0.11", "--self", "fd00::11"}
	for _, test := range []struct {
		args   []string
		status int
		want   []string // on standard output, or on the other one
	}{
		{append([]string{"--router", "10.0.0.1,fd00::1"}, both...), exitOK, []string{"192.0.2.25/32 ]", "2001:db8::25/128 ]", "router id 10.0.0.11", "neighbor fd00::1 as 65000", "bfd on"}},
		{append([]string{"--router", "10.0.0.1,fd00::1", "--as", "65001", "--no-bfd"}, both...), exitOK, []string{"local 10.0.0.11 as 65001", "hold time 3"}},
		{append([]string{"router", "--balancers", "10.0.0.0/24,fd00::/64"}, both...), exitOK, []string{"neighbor range fd00::/64 as 65025", "kernel table 1025"}},
		{[]string{"handover", "--interface", "eth0"}, exitOK, []string{"192.0.2.25", "ip6 daddr { 2001:db8::25 }", `device "eth0"`}},
		{nil, exitUsage, []string{"--self: required"}},
		{both, exitUsage, []string{"--router: required", "such as 10.0.0.1"}},
		{[]string{"router", "--self", "10.0.0.1"}, exitUsage, []string{"--balancers: required", "such as 10.0.0.0/24"}},
		{[]string{"handover"}, exitUsage, []string{"--interface: required"}},
		{[]string{"--self", "x", "--router", "10.0.0.1"}, exitUsage, []string{`--self "x": must be an IP address`}},
		{[]string{"--self", "10.0.0.11", "--router", "r1"}, exitUsage, []string{`--router "r1": must be an IP address`}},
		{[]string{"router", "--self", "10.0.0.1", "--balancers", "10.0.0.5"}, exitUsage, []string{`--balancers "10.0.0.5": must be a network`}},
		{[]string{"--self", "10.0.0.11", "--router", "10.0.0.1"}, exitError, []string{"VIP 2001:db8::25: no router of its family"}},
		{[]string{"announce", "extra"}, exitUsage, []string{"unknown command"}},
	} {
		status, out, errs := commandIn(t, nil, append(append([]string{"ha", "bird"}, test.args...), "--config", file)...)
		text := out
		if test.status != exitOK {
			text = errs
		}
		if status != test.status || (status == exitOK) != (out != "") {
			t.Errorf("%q: status %d, %q, %q, want %d", test.args, status, out, errs, test.status)
		}
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q: no %q in %q", test.args, want, text)
			}
		}
	}
	for _, args := range [][]string{{"announce"}, {"handover", "--interface", "eth0"}, {"--self", "10.0.0.11", "--router", "10.0.0.1"}} {
		status, _, errs := commandIn(t, nil, append(append([]string{"ha", "bird"}, args...), "--config", haFile(t, "0.0.0.0:25"))...)
		if status != exitError || !strings.Contains(errs, "must be the one address that moves") {
			t.Errorf("%q with a wildcard: status %d, %q", args, status, errs)
		}
	}
}
