package smtptest

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// acceptPause is how long a relay waits after a failed accept, for example when
// a test has used up all descriptors.
const acceptPause = 10 * time.Millisecond

// Message is a message that a relay has accepted: it has decided on the 2xx
// reply to the final dot, or to BDAT LAST. A relay that is stopped between that
// and the client's reading the reply has the message and the client does not
// know, as in life (RFC 1047).
type Message struct {
	From    string
	To      []string
	ID      string // of the X-Test-ID header
	Subject string
	Size    int64 // in bytes, as Sum counts them
	// Sum is the SHA-256 of the message after dot-unstuffing, with its CRLFs and
	// without the line of the final dot.
	Sum    [32]byte
	Data   []byte         // if Script.KeepData
	Peer   netip.AddrPort // the other end of the connection
	Source netip.AddrPort // of the PROXY header, else Peer
}

// Relay is an SMTP server that follows a Script. Make one with [Start] or
// [Listen]. All methods are safe for concurrent use.
type Relay struct {
	port    port
	tasks   sync.WaitGroup
	readers sync.Pool // of *bufio.Reader for message bodies

	mu       sync.Mutex // guards all below
	script   Script
	listener *net.TCPListener // nil while not listening
	closed   bool
	sessions map[*session]struct{}
	accepted int
	messages []Message
}

// Start returns a relay on a free port of 127.0.0.1, and closes it when the
// test ends.
func Start(tb TB, s Script) *Relay {
	tb.Helper()
	r, err := Listen("127.0.0.1:0", s)
	if err != nil {
		tb.Fatalf("start a relay: %v", err)
		return nil
	}
	tb.Cleanup(r.Close)
	return r
}

// Listen returns a relay on address, "host:port"; port 0 takes a free one. Close
// ends it.
func Listen(address string, s Script) (*Relay, error) {
	p, err := holdPort(address)
	if err != nil {
		return nil, err
	}
	r := &Relay{port: p, script: s, sessions: make(map[*session]struct{})}
	r.readers.New = func() any { return bufio.NewReaderSize(nil, bodyBuffer) }
	if err := r.Restart(); err != nil {
		p.release()
		return nil, err
	}
	return r, nil
}

// Addr is where the relay listens, also while it is stopped.
func (r *Relay) Addr() netip.AddrPort { return r.port.address }

// SetScript holds for connections accepted from now on.
func (r *Relay) SetScript(s Script) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = s
}

// Stop is the death of the relay: it stops listening and resets all open
// connections, in the midst of whatever they do. Nothing is kept from then on.
func (r *Relay) Stop() {
	r.StopListening()
	r.mu.Lock()
	open := make([]*session, 0, len(r.sessions))
	for s := range r.sessions {
		open = append(open, s)
	}
	clear(r.sessions)
	r.mu.Unlock()
	for _, s := range open {
		s.abort()
	}
}

// StopListening makes the kernel refuse new connections, and leaves the open
// ones. Those not accepted yet are reset.
func (r *Relay) StopListening() {
	r.mu.Lock()
	listener := r.listener
	r.listener = nil
	r.mu.Unlock()
	if listener != nil {
		_ = listener.Close() // fails only if closed already
	}
}

// Restart listens again on the same port. It does nothing if the relay listens.
func (r *Relay) Restart() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("smtptest: restart of a closed relay")
	}
	if r.listener != nil {
		return nil
	}
	listener, err := r.port.listen()
	if err != nil {
		return err
	}
	r.listener = listener
	r.tasks.Go(func() { r.accept(listener) })
	return nil
}

// Close stops the relay for good and waits for all its goroutines.
func (r *Relay) Close() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	r.Stop()
	r.tasks.Wait()
	if first {
		r.port.release()
	}
}

// Connections is the number of connections accepted so far.
func (r *Relay) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Active is the number of connections open now.
func (r *Relay) Active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Messages returns the messages accepted so far, in their order. The caller may
// change the slice, not what its elements point to.
func (r *Relay) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// MessageCount is the length of Messages.
func (r *Relay) MessageCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages)
}

// accept serves listener until it is closed.
func (r *Relay) accept(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			<-time.NewTimer(acceptPause).C
		default:
			r.serve(listener, conn)
		}
	}
}

// serve starts a session, unless the listener was closed while the connection
// was on its way out of the queue.
func (r *Relay) serve(listener *net.TCPListener, conn *net.TCPConn) {
	r.mu.Lock()
	if r.listener != listener {
		r.mu.Unlock()
		reset(conn)
		return
	}
	s := newSession(r, conn, r.script)
	r.accepted++
	r.sessions[s] = struct{}{}
	r.tasks.Go(s.run)
	r.mu.Unlock()
}

// keep adds a message, unless the relay was stopped while s received it.
func (r *Relay) keep(s *session, m Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, open := r.sessions[s]; !open {
		return false
	}
	r.messages = append(r.messages, m)
	return true
}

func (r *Relay) forget(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
}
