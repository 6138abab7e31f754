package proxy

import (
	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
	"smtplb/internal/socket"
)

// direction is one way of a session's bytes, from a source socket to a sink.
//
// It copies through the loop's buffer. What the sink does not take at once is
// kept in rest, and nothing more is read until rest has gone: that is the
// back-pressure, and one buffer a direction the most that a slow reader costs.
// After two full buffers in a row it splices instead, socket to pipe to socket.
//
// Invariants between two calls of pump: rest and pipe are not both there; with
// either of them the sink is blocked; a direction that is shut holds neither.
type direction struct {
	bytes   int64
	rest    []byte // taken from the source, of which the sink has taken
	gone    int    // so many
	pipe    *pipe  // the same, in the kernel; held only while bytes are in it
	full    uint8  // full buffers read in a row
	splices bool   // the bytes go through a pipe

	source
	blocked bool // the sink took less than it was given
	eof     bool // the source has ended
	shut    bool // the sink was told so, or is broken: nothing goes this way any more
}

// source is what events have told of a socket that is read from.
type source struct {
	ready  bool // it may have bytes, or its end
	ending bool // it has an end or an error behind its bytes
	fin    bool // and it is an end
}

// holds tells whether bytes are under way inside.
func (d *direction) holds() bool { return d.rest != nil || d.pipe != nil }

// share is the number of bytes that a direction may move in one turn: a 50 MB
// message does not hold up a thousand greetings.
const share = 4 * bufferSize

// progress is how a direction stands after it has moved what it could.
type progress uint8

const (
	waiting     progress = iota // for its source, or its sink, or it is shut
	unfinished                  // its share was used up
	sourceBroke                 // the source's connection broke; all that it had sent has been taken
	sinkBroke                   // the sink's connection broke
)

// relay moves what there is to move, both ways, and ends the session when both
// are done.
func (l *loop) relay(s *session) {
	up := l.pump(s, &s.up, s.client, s.backend)
	switch up {
	case sourceBroke:
		l.clientGone(s)
		return
	case sinkBroke:
		l.relayGone(s)
	}
	down := l.pump(s, &s.down, s.backend, s.client)
	switch {
	case down == sourceBroke:
		l.backendBroke(s)
	case down == sinkBroke && s.up.eof:
		l.finish(s, ClientClosed, orderly) // it did not wait for the last words
	case down == sinkBroke:
		l.finish(s, ClientReset, reset)
	case s.up.shut && s.down.shut && s.relayBroke:
		l.backendBroke(s)
	case s.up.shut && s.down.shut:
		l.finish(s, s.closedBy(), orderly)
	case s.parted():
		l.finish(s, s.closedBy(), atOnce)
	case up == unfinished || down == unfinished:
		l.again(s)
	}
}

// parted tells that the relay has answered QUIT and closed, and that the client
// has all of it and said nothing more: both connections can be closed, though
// the client has not closed its own yet. It sends no more, so that nothing can
// be answered by a reset.
func (s *session) parted() bool {
	return s.bye && s.down.shut && !s.up.ready && !s.up.holds()
}

// closedBy tells who closed first.
func (s *session) closedBy() End {
	if s.backendFirst {
		return BackendClosed
	}
	return ClientClosed
}

// clientGone ends a session whose client broke its connection. It does not wait
// for an answer any more: bytes of its that have not reached the relay must not,
// as it will send them again. After the relay's own end there is nobody to
// reset: some clients close that way, to keep no port in TIME-WAIT. After the
// client's own it is how its kernel answers the words that it did not wait for.
func (l *loop) clientGone(s *session) {
	if s.down.eof || s.up.eof {
		l.finish(s, s.closedBy(), atOnce)
		return
	}
	l.finish(s, ClientReset, reset)
}

// relayGone ends the way up when the relay's connection is broken. What the
// relay said before, such as the 421 with which it closed, is still read and
// passed on, then its end or the error.
func (l *loop) relayGone(s *session) {
	// The error is told once: if a write was told, reading finds only an end.
	s.relayBroke = s.relayBroke || !s.down.eof && !s.up.shut
	l.dropHeld(&s.up)
	s.up.shut = true
	s.down.ready, s.down.ending = true, true
}

// backendBroke passes the relay's reset on to the client, but for a client that
// has not yet received all of the relay's words, or only just: a reset would
// take them away, and a 250 that is lost is a mail sent twice.
func (l *loop) backendBroke(s *session) {
	how := reset
	justSpoke := !s.lastUp && s.lastMove == l.ns
	if justSpoke || unsent(s.client) > 0 {
		how = orderly
	}
	l.finish(s, BackendReset, how)
}

// pump moves up to a share of bytes from src to dst and passes the end on.
func (l *loop) pump(s *session, d *direction, src, dst int) progress {
	for moved := 0; ; {
		if d.shut || d.blocked {
			return waiting
		}
		if p, ok := l.flush(s, d, dst); !ok {
			return p
		}
		if d.eof {
			l.passEnd(s, d, dst)
			return waiting
		}
		if !d.ready {
			return waiting
		}
		if moved >= share {
			return unfinished
		}
		n, p := l.take(s, d, src, dst)
		if p != waiting {
			return p
		}
		moved += n
	}
}

// take reads once and gives the sink what it takes. It returns waiting or the
// side that broke.
func (l *loop) take(s *session, d *direction, src, dst int) (n int, p progress) {
	if d.splices {
		return l.takeSplice(s, d, src, dst)
	}
	n, err := socket.Read(src, l.buffer)
	switch {
	case err == unix.EAGAIN:
		d.ready = false
		return 0, waiting
	case err != nil:
		return 0, sourceBroke
	case n == 0:
		d.eof = true
		return 0, waiting
	}
	if d == &s.up && s.lastUp && !s.noDelay {
		// What went before is not answered, and perhaps not acknowledged. Up to
		// here Nagle's algorithm holds nothing back: in lock-step a reply
		// acknowledges. Many sessions end before they need the call.
		s.noDelay = true
		_ = setNoDelay(dst)
	}
	l.moved(s, d, n)
	if n == len(l.buffer) {
		d.full++
		d.splices = d.full >= 2
	} else {
		d.full = 0
		// epoll(7): a short read from a stream has emptied it, so that what
		// comes next is a new edge; unless its end was already announced, which
		// need not be read then.
		d.ready = d.ending
		d.eof = d.fin
	}
	if !l.deliver(s, d, dst, l.buffer[:n]) {
		return n, sinkBroke
	}
	s.bye = d == &s.down && isBye(l.buffer[:n])
	return n, waiting
}

// isBye tells that b is the reply to QUIT, after which nothing is said on
// either side (RFC 5321, section 4.1.1.10).
func isBye(b []byte) bool { return len(b) > 3 && string(b[:3]) == "221" }

func (l *loop) moved(s *session, d *direction, n int) {
	d.bytes += int64(n)
	s.lastMove = l.ns
	s.lastUp = d == &s.up
	s.bye = false
}

// deliver gives b to the sink and keeps a copy of what it does not take. It
// tells whether the sink is whole.
func (l *loop) deliver(s *session, d *direction, dst int, b []byte) bool {
	n, err := socket.Write(dst, b)
	if err != nil && err != unix.EAGAIN {
		return false
	}
	if n = max(n, 0); n < len(b) {
		d.rest = append(l.spareBuffer(), b[n:]...)
		d.gone = 0
		l.block(s, d)
	}
	return true
}

// flush gives the sink what was kept. ok tells that all of it went; else p is
// waiting or sinkBroke.
func (l *loop) flush(s *session, d *direction, dst int) (p progress, ok bool) {
	if d.pipe != nil {
		return l.flushPipe(s, d, dst)
	}
	for d.rest != nil {
		n, err := socket.Write(dst, d.rest[d.gone:])
		switch {
		case err == unix.EAGAIN:
			l.block(s, d)
			return waiting, false
		case err != nil:
			return sinkBroke, false
		}
		if d.gone += n; d.gone == len(d.rest) {
			l.keepBuffer(d.rest)
			d.rest = nil
		}
	}
	return waiting, true
}

// block waits for room in the sink. The relay's socket was watched for it from
// the start, for its connection; the client's is from now on, since most
// sessions never need it.
func (l *loop) block(s *session, d *direction) {
	d.blocked = true
	if d != &s.down || s.clientOut {
		return
	}
	s.clientOut = true
	if err := l.poller.Modify(s.client, s.token(sideClient), epoll.In|epoll.Out|epoll.ReadHup|epoll.Edge); err != nil {
		l.report(err)
	}
}

// passEnd tells the sink that nothing more comes.
func (l *loop) passEnd(s *session, d *direction, dst int) {
	d.shut = true
	if d == &s.down && !s.up.eof {
		s.backendFirst = true
	}
	if s.up.shut && s.down.shut || s.parted() {
		return // both sockets are about to be closed
	}
	_ = unix.Shutdown(dst, unix.SHUT_WR)
	if d == &s.down {
		l.setTimer(s, l.nextReview(s, closedTimeout))
	}
}

// dropHeld forgets the bytes under way.
func (l *loop) dropHeld(d *direction) {
	if d.rest != nil {
		l.keepBuffer(d.rest)
		d.rest = nil
	}
	if d.pipe != nil {
		l.pipes.discard(l.server, d.pipe)
		d.pipe = nil
	}
}

// releaseBuffers gives back what a session holds in both directions.
func (l *loop) releaseBuffers(s *session) {
	l.dropHeld(&s.up)
	l.dropHeld(&s.down)
	s.held = nil
}

// spareBuffers bounds what a loop keeps for readers that turn slow; more are
// left to the collector.
const spareBuffers = 16

func (l *loop) spareBuffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return make([]byte, 0, bufferSize)
}

func (l *loop) keepBuffer(b []byte) {
	if len(l.buffers) < spareBuffers {
		l.buffers = append(l.buffers, b[:0])
	}
}
