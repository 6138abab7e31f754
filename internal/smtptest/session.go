package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

const (
	commandBuffer = 4 << 10  // of a session that has sent no message yet
	bodyBuffer    = 64 << 10 // of one that has
	endlessSize   = 64 << 10

	headerTimeout = 10 * time.Second // for a PROXY header to arrive
	// lingerTimeout is how long an orderly close waits for the peer's: closing
	// with bytes unread would make a reset of it.
	lingerTimeout = time.Second
)

// session is one connection. All but abort belongs to its goroutine.
type session struct {
	relay  *Relay
	conn   *net.TCPConn
	script Script
	done   chan struct{} // closed by abort
	in     *bufio.Reader
	out    *bufio.Writer
	large  bool // in is from relay.readers

	peer, source netip.AddrPort

	hello bool
	from  *string // nil outside a transaction
	to    []string
	body  *body // not nil between the first BDAT and the last
}

func newSession(r *Relay, conn *net.TCPConn, script Script) *session {
	peer := unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	return &session{
		relay: r, conn: conn, script: script, done: make(chan struct{}),
		peer: peer, source: peer,
	}
}

// abort resets the connection from outside and wakes the session. It is called
// at most once, by whoever took the session out of the relay's set.
func (s *session) abort() {
	_ = s.conn.SetLinger(0) // before the session wakes: it closes, too
	close(s.done)
	_ = s.conn.Close()
}

// reset closes with RST: SO_LINGER with a time of zero, socket(7).
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // a connection that is closed already needs no reset
	_ = conn.Close()
}

// run is the life of the connection.
func (s *session) run() {
	defer s.relay.forget(s)
	defer func() { _ = s.conn.Close() }() // where run did not close, nothing is left to lose
	if s.script.OnConnect != nil {
		peer, _ := s.conn.RemoteAddr().(*net.TCPAddr)
		s.script.OnConnect(unmap(peer.AddrPort()))
	}
	if s.script.Raw != nil {
		s.script.Raw(s.conn)
		return
	}
	s.in = bufio.NewReaderSize(s.conn, commandBuffer)
	s.out = bufio.NewWriterSize(s.conn, 512)
	defer s.giveBackReader()

	if s.script.Proxy {
		if err := s.readHeader(); err != nil {
			s.finish()
			return
		}
	}
	if !s.waitToGreet() {
		return
	}
	switch s.script.Fault {
	case Silent:
		s.hold()
	case CloseAtOnce:
		s.finish()
	case ResetAtOnce:
		reset(s.conn)
	case HalfGreeting:
		s.say("220 rel")
	case Endless:
		s.say("220 " + strings.Repeat("x", endlessSize-4))
	default:
		s.greetAndServe()
	}
}

// greetAndServe does what the first digits of the greeting promise.
func (s *session) greetAndServe() {
	text := s.script.greeting()
	if !s.greet(text) {
		return
	}
	switch {
	case strings.HasPrefix(text, "220"):
		s.dialogue(s.command)
	case strings.HasPrefix(text, "421"): // RFC 5321, 3.8: closing transmission channel
		s.finish()
	case strings.HasPrefix(text, "4"), strings.HasPrefix(text, "5"):
		s.dialogue(s.refuse)
	default:
		s.hold()
	}
}

// readHeader takes the PROXY header. A header for a connection of the sender's
// own (LOCAL, UNKNOWN) leaves the source as it is.
func (s *session) readHeader() error {
	header, err := proxyproto.ReadHeaderTimeout(s.conn, s.in, headerTimeout)
	if err != nil {
		return err
	}
	if source, _, ok := header.TCPAddrs(); ok && !header.Command.IsLocal() {
		s.source = unmap(source.AddrPort())
	}
	return nil
}

// waitToGreet passes the greeting delay, and reports false if the peer left
// meanwhile: a client that closes before the greeting wants nothing more.
func (s *session) waitToGreet() bool {
	if s.script.GreetingDelay <= 0 {
		return true
	}
	end := time.Now().Add(s.script.GreetingDelay)
	_ = s.conn.SetReadDeadline(end) // Peek tells if the connection is closed
	_, err := s.in.Peek(1)
	_ = s.conn.SetReadDeadline(time.Time{})
	if err == nil { // the peer speaks before its turn; it will be heard later
		return s.pause(time.Until(end))
	}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// greet reports whether all of text was sent.
func (s *session) greet(text string) bool {
	if s.script.ByteByByte <= 0 {
		_, err := io.WriteString(s.conn, text)
		return err == nil
	}
	for i := range len(text) {
		if i > 0 && !s.pause(s.script.ByteByByte) {
			return false
		}
		// Go sets TCP_NODELAY, so each write leaves as a segment.
		if _, err := io.WriteString(s.conn, text[i:i+1]); err != nil {
			return false
		}
	}
	return true
}

// say sends text and holds the connection.
func (s *session) say(text string) {
	if _, err := io.WriteString(s.conn, text); err == nil {
		s.hold()
	}
}

// hold keeps the connection until the peer closes it.
func (s *session) hold() { _, _ = io.Copy(io.Discard, s.conn) }

// finish closes in good order: FIN, then whatever the peer still has to say.
func (s *session) finish() {
	_ = s.conn.CloseWrite() // an error here is one of the read below as well
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	s.hold()
}

// pause reports false if the session was aborted.
func (s *session) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

// dialogue reads commands until one ends the session.
func (s *session) dialogue(handle func(line string) (more bool)) {
	for {
		line, err := s.readLine()
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !s.reply("500 5.5.6 line too long") {
				return
			}
		case errors.Is(err, io.EOF): // perhaps half a close; the replies went out
			s.finish()
			return
		case err != nil:
			return
		case !handle(line):
			return
		}
	}
}

// readLine returns the next command without its line end. A line that does not
// fit the buffer is read to its end and dropped, with bufio.ErrBufferFull.
// Replies are sent first if the line has not arrived whole, so that nobody
// waits for them and a pipelining client gets them in few segments.
func (s *session) readLine() (string, error) {
	if waiting, _ := s.in.Peek(s.in.Buffered()); bytes.IndexByte(waiting, '\n') < 0 {
		if err := s.out.Flush(); err != nil {
			return "", err
		}
	}
	line, err := s.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return string(bytes.TrimRight(line, "\r\n")), err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = s.in.ReadSlice('\n')
	}
	if err != nil {
		return "", err
	}
	return "", bufio.ErrBufferFull
}

// reply queues one reply of one or more lines, after the script's delay, and
// reports false if the connection is lost.
func (s *session) reply(lines ...string) bool {
	if s.script.ReplyDelay > 0 {
		if s.out.Flush() != nil || !s.pause(s.script.ReplyDelay) {
			return false
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(s.out, "%s\r\n", line); err != nil {
			return false
		}
	}
	return true
}

// enlarge gives a session that sends messages a larger buffer, so that idle
// ones stay small and messages take few reads.
func (s *session) enlarge() {
	if s.large {
		return
	}
	waiting, _ := s.in.Peek(s.in.Buffered())
	large := s.relay.readers.Get().(*bufio.Reader)
	large.Reset(io.MultiReader(bytes.NewReader(waiting), s.conn))
	s.in, s.large = large, true
}

func (s *session) giveBackReader() {
	if s.large {
		s.in.Reset(nil)
		s.relay.readers.Put(s.in)
	}
}
