package source

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"smtplb/bench/mail"
)

const (
	// farewell is how long a session waits for the target to close after its 221,
	// and for the reply to the QUIT that a bad greeting gets. Who closes first
	// keeps the port in TIME_WAIT (RFC 9293, 3.6.1), and a source would run out of
	// them.
	farewell = time.Second
	// lastWords is how long a session looks for a reply that came before the
	// connection broke.
	lastWords = 100 * time.Millisecond
)

// session is a client: one connection after another, one at a time. All but
// abort belongs to the goroutine that has it.
type session struct {
	run *runner
	rec *shard

	target target
	conn   net.Conn // TCP, or TLS on top of it
	in     input
	out    []byte // commands on their way out
	vector net.Buffers
	pieces [2][]byte // behind vector
	offers offers

	pending, again []job
	began          bool // whether its last session was greeted

	mu      sync.Mutex // guards both
	tcp     net.Conn   // what abort closes
	aborted bool
}

// job is a message to be sent.
type job struct {
	seq   uint64
	tries int // so far
}

// outcome is what became of a try.
type outcome int

const (
	unsent   outcome = iota // the target cannot have it
	refused                 // a reply says no
	unsure                  // RFC 1047
	accepted                // a reply says yes
)

// life is one session, and those that follow to try messages again. due is when
// it should begin, fresh how many messages it may take besides the first.
func (s *session) life(due time.Time, first job, fresh int) {
	s.pending, s.again = append(s.pending[:0], first), s.again[:0]
	for {
		s.talk(due, fresh)
		if len(s.again) == 0 {
			return
		}
		if !s.run.pause(s.run.cfg.RetryPause) {
			s.give(s.again)
			return
		}
		s.pending, s.again = s.again, s.pending[:0]
		due, fresh = time.Now(), 0
	}
}

// give counts messages that are not tried again.
func (s *session) give(jobs []job) {
	for range jobs {
		s.rec.count(func(c *counts) { c.unsent++ })
	}
}

// talk is one session, from connect to QUIT.
func (s *session) talk(due time.Time, fresh int) {
	s.target = s.run.nextTarget()
	s.rec.count(func(c *counts) { c.started++ })
	allAccepted := true
	f := s.establish(due)
	s.began = f == nil
	if f == nil {
		allAccepted, f = s.deliver(fresh)
	}
	if f == nil {
		f = s.quit(due)
	}
	s.rec.ended(time.Now())
	s.hangUp(f)
	for _, j := range s.pending { // those that it did not come to
		s.settle(j, 0, unsent, false)
	}
	s.pending = s.pending[:0]
	switch {
	case f != nil && f.cut:
		s.rec.count(func(c *counts) { c.cut++ })
	case f != nil:
		s.fail(f)
		s.rec.count(func(c *counts) { c.failed++ })
	case !allAccepted:
		s.rec.count(func(c *counts) { c.failed++ })
	default:
		s.rec.count(func(c *counts) { c.ok++ })
	}
}

// fail counts a failure.
func (s *session) fail(f *fault) {
	s.rec.count(func(c *counts) { c.failures++ })
	name := ""
	if len(s.run.targets) > 1 {
		name = s.target.name
	}
	s.run.failures.add(f, name)
}

// deliver sends what is pending, and fresh messages then. Its fault is what
// ended the session; a refusal that did not has been counted.
func (s *session) deliver(fresh int) (allAccepted bool, end *fault) {
	allAccepted = true
	for {
		var j job
		switch {
		case len(s.pending) > 0:
			last := len(s.pending) - 1
			j, s.pending = s.pending[last], s.pending[:last]
		case fresh > 0:
			var ok bool
			if j, ok = s.run.nextMessage(); !ok {
				return allAccepted, nil
			}
			fresh--
		default:
			return allAccepted, nil
		}
		size, got, f := s.transact(j)
		s.settle(j, size, got, f != nil && f.permanent())
		if got != accepted {
			allAccepted = false
		}
		if f == nil {
			continue
		}
		if f.over {
			return allAccepted, f
		}
		s.fail(f)
		if f := s.clear(); f != nil {
			return allAccepted, f
		}
	}
}

// clear ends a transaction that was refused.
func (s *session) clear() *fault {
	s.out = append(s.out[:0], "RSET\r\n"...)
	return s.ask(atRSET)
}

// settle notes what became of a try, and keeps the message for another one if it
// may have that.
func (s *session) settle(j job, size int64, got outcome, final bool) {
	ledger := s.run.cfg.Ledger
	switch {
	case ledger == nil:
	case got == accepted:
		ledger.Accepted(j.seq)
	case got == unsure:
		ledger.Unsure(j.seq)
	}
	j.tries++
	if got != accepted && !final && j.tries < s.run.cfg.Retry && s.run.goes() {
		s.again = append(s.again, j)
		return
	}
	s.rec.count(func(c *counts) {
		switch got {
		case accepted:
			c.accepted++
			c.bytes += size
		case refused:
			c.refused++
		case unsure:
			c.unsure++
		default:
			c.unsent++
		}
	})
}

// quit ends a session in good order. The session was as long as that took.
func (s *session) quit(due time.Time) *fault {
	s.out = append(s.out[:0], "QUIT\r\n"...)
	f := s.ask(atQUIT)
	if f == nil {
		s.rec.time(spanSession, time.Since(due))
	}
	return f
}

// hangUp closes the connection: the target's turn is first, if it has said 221.
func (s *session) hangUp(f *fault) {
	if s.conn == nil {
		return
	}
	switch {
	case f == nil:
		s.awaitEnd()
	case !f.over: // RFC 5321, 3.1: after a bad greeting a client sends QUIT
		s.out = append(s.out[:0], "QUIT\r\n"...)
		deadline := time.Now().Add(farewell)
		_ = s.conn.SetDeadline(deadline) // an error is one of the write as well
		if _, err := s.conn.Write(s.out); err != nil {
			break
		}
		if _, _, err := s.in.reply(s.conn); err == nil {
			s.awaitEnd()
		}
	}
	s.mu.Lock()
	s.tcp = nil
	s.mu.Unlock()
	_ = s.conn.Close() // of TLS too: its farewell may fail, and nobody waits for it
	s.conn = nil
	s.in.reset()
}

func (s *session) awaitEnd() {
	_ = s.conn.SetDeadline(time.Now().Add(farewell)) // an error is one of the read as well
	var rest [1]byte
	_, _ = s.conn.Read(rest[:]) // whatever it is, this was the end
}

// hold makes conn the session's, unless the run is being cut.
func (s *session) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		_ = conn.Close()
		return false
	}
	s.tcp, s.conn = conn, conn
	return true
}

// abort breaks the session off, now and for good. Any goroutine may call it.
func (s *session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
}

// composed is the message of a job.
func (s *session) composed(j job) (mail.Message, int) {
	cfg := &s.run.cfg
	size := cfg.Size.Size(draw(cfg.Seed, 2*j.seq))
	recipients := cfg.Recipients.count(draw(cfg.Seed, 2*j.seq+1))
	return s.run.composer.Message(mail.ID{Run: cfg.Run, Seq: j.seq}, size), recipients
}

// tlsConfig verifies nothing (RFC 7435: some protection most of the time).
func (s *session) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.target.host, InsecureSkipVerify: true} //nolint:gosec // opportunistic, as between MTAs
}
