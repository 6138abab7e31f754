package proxy

import (
	"time"

	"smtplb/internal/socket"
)

// expire acts on a session whose deadline has come.
func (l *loop) expire(s *session) {
	switch s.state {
	case stateHeader:
		l.deny(s, errNoHeader.Error())
	case stateConnect, stateGreet:
		l.look(s)
	case stateRelaying:
		l.review(s)
	case stateLinger, stateLeave:
		l.free(s)
	}
}

// review looks whether a running session should go on, and sets the time of the
// next look. Activity only writes a timestamp; this finds it.
func (l *loop) review(s *session) {
	if !s.keepalive {
		s.keepalive = true
		setKeepalive(s.backend)
	}
	quiet := time.Duration(l.ns - s.lastMove)
	if l.drainFrom != 0 && l.reviewDrain(s, quiet) {
		return
	}
	if s.down.eof && !s.up.eof && quiet >= closedTimeout {
		l.finish(s, BackendClosed, orderly)
		return
	}
	limit := s.timeouts().Idle
	// A client that has closed its half and waited longer than any client does
	// is gone: a relay that hangs must not keep the session for ever.
	gaveUp := s.up.eof && quiet >= max(limit, waitAtMost)
	if gaveUp || quiet >= limit && !s.waitsForRelay() {
		l.finish(s, Idle, orderly)
		return
	}
	l.setTimer(s, l.nextReview(s, limit-quiet))
}

// nextReview is when to look again: at the idle limit, or soon where something
// may change that causes no event in time.
func (l *loop) nextReview(s *session, left time.Duration) time.Duration {
	if l.drainFrom != 0 {
		return min(l.quiet(), time.Second)
	}
	if s.down.eof {
		left = min(left, closedTimeout)
	}
	if left <= 0 {
		return keepaliveAfter // past the limit, and waiting for the relay
	}
	return left
}

// reviewDrain lets a session go after Shutdown, if its time has come. In the
// client's turn nothing is lost: all that it sent is answered. While it waits
// for a reply it may wait on, past the deadline too, until it has given up
// itself.
func (l *loop) reviewDrain(s *session, quiet time.Duration) bool {
	late := time.Duration(l.ns-l.drainFrom) >= s.timeouts().Drain
	switch {
	case s.clientsTurn() && (late || quiet >= l.quiet()):
		l.finish(s, Drained, orderly)
	case late && !s.waitsForRelay():
		l.finish(s, Shut, orderly) // it has its answers but does not read them
	case late && quiet >= waitAtMost:
		l.finish(s, Shut, orderly)
	default:
		return false
	}
	return true
}

func (l *loop) quiet() time.Duration { return durationOr(l.server.Quiet, defaultQuiet) }

// drain begins the loop's part of Shutdown.
func (l *loop) drain() {
	if l.drainFrom != 0 || l.stopping {
		return
	}
	l.drainFrom = max(l.ns, 1)
	for _, ln := range l.listeners {
		if ln != nil && !ln.given.Load() {
			l.acceptAll(ln) // each reads that we shut down
		}
	}
	l.stopAccepting()
	l.sessions.each(func(s *session) {
		if s.state == stateRelaying {
			l.review(s)
		}
	})
}

// acceptAll empties a listener's queue, as far as there are descriptors.
func (l *loop) acceptAll(ln *listener) {
	for l.server.fds.Load() < l.server.fdLimit.Load() && l.acceptOne(ln) {
	}
}

// stop ends the loop's sessions for Close.
func (l *loop) stop() {
	l.stopping = true
	l.stopAccepting()
	l.sessions.each(func(s *session) {
		switch {
		case s.settingUp():
			if s.listener.Protocol == SMTP {
				_, _ = socket.Write(s.client, replyLine(421, "4.3.2", s.listener.hostname(), "shutting down", s.id))
			}
			l.finish(s, Shut, atOnce)
		case s.state == stateRelaying:
			l.finish(s, Shut, atOnce)
		default:
			l.free(s)
		}
	})
}

// stopAccepting leaves the listening sockets alone from now on; once every loop
// has, they are closed.
func (l *loop) stopAccepting() {
	l.unwatchListeners()
	l.resumeAt = 0
	if !l.released {
		l.released = true
		l.server.accepting.Done()
	}
}
