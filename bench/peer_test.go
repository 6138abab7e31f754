package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// peerRole, set in the environment, makes of the test binary the process in
// which client and relay run.
const peerRole = "SMTPLB_BENCH_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(peerRole) != "" {
		if err := runPeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// order is what the peer is told to do: so many sessions, one after another
// from each client, with so many messages of so many bytes in each.
type order struct {
	to                                netip.AddrPort
	sessions, messages, size, clients int
}

const orderFormat = "%s %d %d %d %d\n"

// peer is the process with client and relay, seen from the proxy's.
type peer struct {
	relay   netip.AddrPort
	orders  io.Writer
	answers *bufio.Reader
}

// startPeer has the process end with the test.
func startPeer(tb testing.TB) *peer {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe)
	// Under the race detector a process sleeps for a second before it exits.
	cmd.Env = append(os.Environ(), peerRole+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("client and relay: %v", err)
		}
	})
	p := &peer{orders: stdin, answers: bufio.NewReader(stdout)}
	first, err := p.answers.ReadString('\n')
	if err != nil {
		tb.Fatalf("client and relay did not start: %v", err)
	}
	if p.relay, err = netip.ParseAddrPort(strings.TrimSpace(first)); err != nil {
		tb.Fatal(err)
	}
	return p
}

// run returns when the last client has seen the end of its last session. Any
// reply but the right one fails the test.
func (p *peer) run(tb testing.TB, o order) {
	tb.Helper()
	if _, err := fmt.Fprintf(p.orders, orderFormat, o.to, o.sessions, o.messages, o.size, o.clients); err != nil {
		tb.Fatal(err)
	}
	answer, err := p.answers.ReadString('\n')
	if err != nil || answer != "ok\n" {
		tb.Fatalf("client: %q %v", answer, err)
	}
}

// runPeer is the process: it says where its relay listens, follows orders, and
// ends when there are no more.
func runPeer(orders io.Reader, answers io.Writer) error {
	relay, err := listenLoopback()
	if err != nil {
		return err
	}
	defer relay.Close()
	go serveSink(relay)
	fmt.Fprintln(answers, relay.Addr())
	in := bufio.NewReader(orders)
	for {
		var to string
		var o order
		_, err := fmt.Fscanf(in, orderFormat, &to, &o.sessions, &o.messages, &o.size, &o.clients)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("order: %w", err)
		}
		if o.to, err = netip.ParseAddrPort(to); err != nil {
			return err
		}
		if err := o.follow(); err != nil {
			fmt.Fprintf(answers, "%q\n", err.Error()) // one line, whatever is in it
			continue
		}
		fmt.Fprintln(answers, "ok")
	}
}

// listenLoopback gives a plain TCP listener: the default would be MPTCP, which
// costs more.
func listenLoopback() (*net.TCPListener, error) {
	return net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

func (o order) follow() error {
	content := append(bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), max(o.size/64, 1)), ".\r\n"...)
	var clients sync.WaitGroup
	var started atomic.Int64
	errs := make([]error, o.clients)
	for i := range errs {
		clients.Go(func() {
			for errs[i] == nil && started.Add(1) <= int64(o.sessions) {
				errs[i] = o.session(content)
			}
		})
	}
	clients.Wait()
	return errors.Join(errs...)
}

// session is a client's, from the connection to the relay's close.
func (o order) session(content []byte) error {
	conn, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(o.to))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := client{conn: conn}
	c.say(nil, '2')
	c.say([]byte("EHLO client.example\r\n"), '2')
	for range o.messages {
		c.say([]byte("MAIL FROM:<a@client.example>\r\n"), '2')
		c.say([]byte("RCPT TO:<b@relay.example>\r\n"), '2')
		c.say([]byte("DATA\r\n"), '3')
		c.say(content, '2')
	}
	c.say([]byte("QUIT\r\n"), '2')
	if c.err != nil {
		return c.err
	}
	if n, err := conn.Read(c.reply[:]); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("after QUIT %q and %w, want the end", c.reply[:n], err)
	}
	return nil
}

// client says nothing more after its first error.
type client struct {
	conn  *net.TCPConn
	reply [512]byte
	err   error
}

const peerPatience = 30 * time.Second // with one exchange

// say writes and waits for a reply of one line whose code begins with want.
func (c *client) say(words []byte, want byte) {
	if c.err != nil {
		return
	}
	if c.err = c.conn.SetDeadline(time.Now().Add(peerPatience)); c.err != nil {
		return
	}
	if _, c.err = c.conn.Write(words); c.err != nil {
		return
	}
	n := 0
	for n == 0 || c.reply[n-1] != '\n' {
		m, err := c.conn.Read(c.reply[n:])
		if n += m; err != nil {
			c.err = fmt.Errorf("reply %q: %w", c.reply[:n], err)
			return
		}
	}
	if c.reply[0] != want {
		c.err = fmt.Errorf("reply %q, want one that begins with %c", c.reply[:n], want)
	}
}

// serveSink is the leanest relay: it looks at first letters and at the end of a
// message only, so that it is not what is measured.
func serveSink(ln *net.TCPListener) {
	buffers := sync.Pool{New: func() any { return new(sinkBuffer) }}
	for {
		conn, err := ln.AcceptTCP()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buffer := buffers.Get().(*sinkBuffer)
			defer buffers.Put(buffer)
			_, _ = conn.Write([]byte("220 relay.example ESMTP\r\n"))
			sink{conn, buffer[:]}.converse()
		}()
	}
}

type sinkBuffer [64 << 10]byte

type sink struct {
	conn   *net.TCPConn
	buffer []byte
}

// converse counts on a client that waits for each reply.
func (s sink) converse() {
	for {
		n, err := s.conn.Read(s.buffer)
		if err != nil {
			return // the client went away, as it may
		}
		switch answer := []byte("250 ok\r\n"); {
		case bytes.HasPrefix(s.buffer[:n], []byte("QUIT")):
			_, _ = s.conn.Write([]byte("221 bye\r\n"))
			return
		case bytes.HasPrefix(s.buffer[:n], []byte("DATA")):
			_, _ = s.conn.Write([]byte("354 go on\r\n"))
			if !s.message() {
				return
			}
			fallthrough
		default:
			_, _ = s.conn.Write(answer)
		}
	}
}

// message throws away all up to the final dot, and tells whether it came.
func (s sink) message() bool {
	const end = "\r\n.\r\n"
	var tail []byte
	for string(tail) != end {
		n, err := s.conn.Read(s.buffer)
		if err != nil {
			return false
		}
		last := s.buffer[max(n-len(end), 0):n]
		tail = append(tail, last...)
		tail = tail[max(len(tail)-len(end), 0):]
	}
	return true
}
