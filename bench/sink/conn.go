package sink

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/epoll"
)

const (
	conditions = epoll.In | epoll.ReadHup | epoll.Edge
	// lingerTime is how long an orderly close waits for the client's: closing
	// with octets unread would make a reset of it.
	lingerTime = 2 * time.Second
)

// conn is one connection of a loop. It is used again for another when it is
// closed, under the next generation.
type conn struct {
	slot, generation int32
	fd               int // -1 when there is none
	dialogue
	pending []byte // could not be sent yet; nothing else is done meanwhile
	rest    []byte // input that could not be taken yet
	ready   bool   // there may be something to read
	hup     bool   // the client has sent its last octet
	waiting bool   // for the end of a delay
	closing bool   // our FIN is out, and only the client's is waited for
	mute    bool   // ActionSilence
}

func (c *conn) token() epoll.Token { return epoll.Token{Index: c.slot, Generation: c.generation} }

// advance does with a connection all that can be done now.
//
// Invariant: out is nil, or the loop's buffer with what is to be sent next.
func (l *loop) advance(c *conn) {
	if c.waiting {
		return
	}
	for reads := 0; ; {
		c.announce()
		if !l.flush(c) {
			return
		}
		if c.closing || c.mute {
			l.discard(c)
			return
		}
		c.sent()
		if !l.follow(c) {
			return
		}
		if len(c.rest) > 0 {
			c.out = l.out
			c.rest = c.rest[c.input(c.rest):]
			continue
		}
		c.rest = nil
		if !c.ready {
			return
		}
		if reads == budget {
			l.again = append(l.again, c.token())
			return
		}
		n, ok := l.read(c)
		if !ok {
			return
		}
		if n == len(l.in) {
			reads++
		}
		c.out = l.out
		if used := c.input(l.in[:n]); used < n {
			c.rest = bytes.Clone(l.in[used:n])
		}
	}
}

// follow does what the dialogue's step says, and is true when that is to read
// on.
func (l *loop) follow(c *conn) bool {
	switch c.step {
	case stepWait:
		c.waiting = true
		l.wheel.Set(c.slot, int64(time.Since(l.origin)+c.wait))
	case stepQuit:
		l.drop(c)
	case stepReset:
		l.reset(c)
	case stepClose:
		_ = unix.Shutdown(c.fd, unix.SHUT_WR) // an error is one of the reads to come as well
		c.closing, c.rest = true, nil
		l.wheel.Set(c.slot, int64(time.Since(l.origin)+lingerTime))
		l.discard(c)
	case stepSilence:
		c.mute, c.rest = true, nil
		l.discard(c)
	case stepTLS:
		l.handOver(c)
	default:
		return true
	}
	return false
}

// flush sends what there is to send, and is true when all is gone. Else the
// connection is lost, or its next event tells that there is room.
func (l *loop) flush(c *conn) bool {
	data := c.out
	if c.pending != nil {
		data = c.pending // and nothing has been said since
	}
	if cap(c.out) > cap(l.out) {
		l.out = c.out[:0] // it has grown
	}
	c.out = nil
	if len(data) == 0 {
		return true
	}
	n, err := write(c.fd, data)
	switch {
	case err != nil:
		l.drop(c)
		return false
	case n == len(data):
		if c.pending != nil {
			c.pending = nil
			_ = l.poller.Modify(c.fd, c.token(), conditions) // it is there
		}
		return true
	}
	waiting := c.pending != nil
	c.pending = bytes.Clone(data[n:])
	if !waiting {
		if err := l.poller.Modify(c.fd, c.token(), conditions|epoll.Out); err != nil {
			l.drop(c)
		}
	}
	return false
}

// write returns 0 when there is no room.
func write(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return n, err
		}
	}
}

// read fills the loop's buffer. It is false when there is nothing now, or the
// connection is over.
func (l *loop) read(c *conn) (n int, ok bool) {
	for {
		n, err := unix.Read(c.fd, l.in)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			c.ready = false
			return 0, false
		case err != nil || n == 0: // all that came before has been answered
			l.drop(c)
			return 0, false
		}
		// After less than a full buffer there is no more, and what comes makes an
		// event: epoll(7), question 9. The FIN may be part of the last event.
		if n < len(l.in) && !c.hup {
			c.ready = false
		}
		return n, true
	}
}

// discard throws away what comes until the client closes.
func (l *loop) discard(c *conn) {
	for range budget {
		if !c.ready {
			return
		}
		if _, ok := l.read(c); !ok {
			return
		}
	}
	l.again = append(l.again, c.token())
}

// fire is called when the time of a connection has come.
func (l *loop) fire(slot int32) {
	c := l.conns[slot]
	switch {
	case c.fd < 0:
	case c.closing:
		l.drop(c)
	case c.waiting:
		c.waiting = false
		c.out = l.out
		c.resume()
		l.advance(c)
	}
}

// reset closes with RST: SO_LINGER with a time of zero, socket(7).
func (l *loop) reset(c *conn) {
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.drop(c)
}

// drop closes.
func (l *loop) drop(c *conn) {
	_ = unix.Close(c.fd)
	c.relay.counts.open.Add(-1)
	l.forget(c)
}

// forget frees the slot of a connection that is closed or somebody else's.
func (l *loop) forget(c *conn) {
	c.end()
	l.wheel.Clear(c.slot)
	*c = conn{slot: c.slot, generation: c.generation + 1, fd: -1}
	l.free = append(l.free, c.slot)
}
