package balancer

import (
	"errors"
	"fmt"
	"time"
)

// ErrRamp says that the tier in use was idle before the failover, and takes its sessions up slowly (Config.Ramp); this one is not
// among those that it takes yet.
var ErrRamp = errors.New("the standby takes its sessions up slowly")

// TierChange is a failover, or its way back: new sessions go to another tier.
type TierChange struct {
	Time     time.Time
	Pool     string
	From, To int    // priorities
	Reason   string // for people
}

// gained notes that a tier has one usable backend more. That it lost one is seen by its count alone.
func (t *tier) gained(now time.Time) {
	if t.healthy == t.minHealthy {
		t.usableSince = now
	}
}

// usable reports whether the tier has enough healthy backends to be used.
func (t *tier) usable() bool { return t.healthy >= t.minHealthy }

// ready reports whether it has been usable for so long that sessions may come back to it.
func (t *tier) ready(now time.Time, delay time.Duration) bool {
	return t.usable() && !now.Before(t.usableSince.Add(delay))
}

// review looks which tier is to be used, now that something has changed.
//
// The one in use is kept as long as it is usable, until one that is to be used before it has been usable for the whole
// failback delay. A tier that comes and goes therefore never drags the sessions along. Where the one in use is not usable the
// first that is takes over, those that are ready before others; where none is usable, it is kept while anybody of it is up, and
// then the first with anybody up takes over.
func (p *Pool) review(now time.Time) {
	to, reason := p.active, ""
	inUse := p.tiers[p.active]
	if inUse.usable() {
		for i := range p.active {
			t := p.tiers[i]
			if t.ready(now, p.failbackDelay) {
				to, reason = i, "usable again for "+p.failbackDelay.String()
				break
			}
			if t.usable() {
				p.wakeAt(t.usableSince.Add(p.failbackDelay))
			}
		}
	} else {
		to = p.takeOver(now)
		for _, t := range p.tiers[:to] { // usable, but not for long enough yet
			if t.usable() {
				p.wakeAt(t.usableSince.Add(p.failbackDelay))
			}
		}
		reason = fmt.Sprintf("%d healthy backends, %d needed", inUse.healthy, inUse.minHealthy)
	}
	if to != p.active {
		p.changedTier(TierChange{Time: now, Pool: p.name, From: inUse.priority, To: p.tiers[to].priority, Reason: reason})
		p.active = to
		p.beginRamp(now, p.tiers[to])
	}
	p.warm.tier = p.nextUsable(p.active)
}

// takeOver returns the tier for the one in use that is not usable; the same one if there is none better.
func (p *Pool) takeOver(now time.Time) int {
	for i := range p.tiers {
		if p.tiers[i].ready(now, p.failbackDelay) {
			return i
		}
	}
	for i := range p.tiers {
		if p.tiers[i].usable() {
			return i
		}
	}
	if p.tiers[p.active].healthy > 0 {
		return p.active
	}
	for i := range p.tiers {
		if p.tiers[i].healthy > 0 {
			return i
		}
	}
	return p.active
}

// nextUsable returns the next tier below i that is usable, -1 if there is none.
func (p *Pool) nextUsable(i int) int {
	for i++; i < len(p.tiers); i++ {
		if p.tiers[i].usable() {
			return i
		}
	}
	return -1
}

// ramp is how far a tier that was idle has come after a failover to it.
type ramp struct {
	from time.Time // zero: it takes everything
	owed float64   // sessions that it may take, of those that it was asked for
}

// beginRamp limits a tier that takes over, if it was idle. One that was in its ramp already goes on in it, and one that is in its
// ramp at another balancer joins that.
func (p *Pool) beginRamp(now time.Time, t *tier) {
	if p.ramp.Over <= 0 || p.active == 0 || p.rampPart(now, t) < 1 {
		return
	}
	t.ramp = ramp{}
	if from := t.elsewhere.ramp; !from.IsZero() && now.Sub(from) < p.ramp.Over {
		t.ramp = ramp{from: from}
		return
	}
	if last := t.lastSession(); last.IsZero() || now.Sub(last) >= p.ramp.Over {
		t.ramp = ramp{from: now}
	}
}

// rampPart is the part of the sessions that the tier may take now, up to 1.
func (p *Pool) rampPart(now time.Time, t *tier) float64 {
	if t.ramp.from.IsZero() {
		return 1
	}
	gone := float64(now.Sub(t.ramp.from)) / float64(p.ramp.Over)
	return min(p.ramp.Start+(1-p.ramp.Start)*gone, 1)
}

// admits tells whether the tier in use takes one session more, and counts it. As with the warm share there is no chance in it:
// of 100 sessions a part of 10 % takes every tenth.
func (p *Pool) admits(now time.Time) bool {
	t := p.tiers[p.active]
	if t.ramp.from.IsZero() {
		return true
	}
	part := p.rampPart(now, t)
	if part >= 1 {
		t.ramp = ramp{}
		return true
	}
	t.ramp.owed += part
	if t.ramp.owed < 1-tiny {
		return false
	}
	t.ramp.owed--
	return true
}

// tiny is for sums of shares: ten times a tenth is a whole one.
const tiny = 1e-9
