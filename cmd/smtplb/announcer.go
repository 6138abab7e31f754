package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// The addresses are up for haLease at a time, and so gone after that where nobody
// shows them again: as long as keepalived's check waits for a process that is there
// but does not answer. haSettle is how long one that had failed must be well before
// it is announced again, as routers cut sessions each time it is not.
const (
	haLease  = 2 * time.Second
	haRenew  = 300 * time.Millisecond
	haSettle = time.Second
)

// announcer shows addresses while an smtplb is ready.
type announcer struct {
	vips []netip.Addr
	show func([]netip.Addr) error // for haLease
	hide func([]netip.Addr) error
	say  func(format string, args ...any)

	up, before bool      // they are, and they have been
	renewed    time.Time // when they were shown last
	failed     time.Time // when it was not ready last
	reason     string    // why it is not, as was said last
}

// run shows and hides until ctx ends, or until somebody asks for another
// beginning. The error is that they cannot be shown or hidden.
func (a *announcer) run(ctx context.Context, ask func(context.Context) error, hangups <-chan os.Signal) (again bool, err error) {
	pace := time.NewTicker(haPace)
	defer pace.Stop()
	for {
		why := ask(ctx)
		if ctx.Err() != nil {
			return false, nil
		}
		if err := a.see(time.Now(), why); err != nil {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-hangups:
			a.renewed = time.Time{} // what is new is shown at once
			return true, nil
		case <-pace.C:
		}
	}
}

// see acts on what was found: why it is not ready, or nil.
func (a *announcer) see(now time.Time, why error) error {
	if why != nil {
		a.failed = now
		if a.up {
			return a.withdraw(why.Error())
		}
		if text := why.Error(); text != a.reason {
			a.reason = text
			a.say("not announced: %s", harmless(text))
		}
		return nil
	}
	if !a.up && a.before && now.Sub(a.failed) < haSettle {
		return nil
	}
	if a.up && now.Sub(a.renewed) < haRenew {
		return nil
	}
	if err := a.show(a.vips); err != nil {
		return fmt.Errorf("show %v: %w", a.vips, err)
	}
	if a.renewed = now; !a.up {
		a.up, a.before, a.reason = true, true, ""
		a.say("announced: %v", a.vips)
	}
	return nil
}

func (a *announcer) withdraw(reason string) error {
	if err := a.hide(a.vips); err != nil {
		return fmt.Errorf("hide %v: %w", a.vips, err)
	}
	a.up, a.reason = false, reason
	a.say("withdrawn: %s", harmless(reason))
	return nil
}
