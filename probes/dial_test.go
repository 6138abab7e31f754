package probes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/egress"
)

func TestClosedPortIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for name, check := range map[string]Func{"smtp": SMTP, "tcp": TCP} {
		r := check(t.Context(), Target{Address: l.Addr().String()})
		if r.OK || r.Outcome != balancer.Refused || r.Reason() != "connect: refused" || !errors.Is(r.Err, syscall.ECONNREFUSED) {
			t.Errorf("%s: got %+v, want refused", name, r)
		}
		if len(r.Dialogue) != 1 || r.Dialogue[0].Direction != Noted {
			t.Errorf("%s: dialogue %v, want a note of what happened", name, r.Dialogue)
		}
	}
}

func TestCheckLeavesFromTheSessionsSource(t *testing.T) {
	from := make(chan net.Addr, 1)
	target, ended := relay(t, func(p *peer) error {
		from <- p.RemoteAddr()
		return p.farewell()
	})
	target.Source = netip.MustParseAddr("127.0.0.9")
	if r := TCP(t.Context(), target); !r.OK {
		t.Error(r)
	}
	mustEnd(t, ended)
	if got := (<-from).(*net.TCPAddr).IP.String(); got != "127.0.0.9" {
		t.Errorf("connected from %s, want 127.0.0.9", got)
	}
}

func TestMissingInterfaceIsNamed(t *testing.T) {
	target, _ := relay(t, func(*peer) error { return nil })
	target.Interface = "none0"
	r := TCP(t.Context(), target)
	if r.OK || r.Outcome != balancer.Unreachable || !strings.Contains(r.Reason(), "interface none0: this machine has no such interface") || !r.Inconclusive {
		t.Errorf("got %v, want the interface named", r)
	}
}

// What this machine lacks is said in the words of the sessions, and held against
// nobody.
func TestWayThatIsNotThereIsNamed(t *testing.T) {
	target, _ := relay(t, func(*peer) error { return nil })
	target.Source = netip.MustParseAddr("192.0.2.77")
	r := TCP(t.Context(), target)
	want := "connect: inconclusive (source 192.0.2.77: this machine has no such address: cannot assign requested address)"
	if r.OK || !r.Inconclusive || r.Reason() != want {
		t.Errorf("got %v, want %s", r, want)
	}
	if err := fmt.Errorf("dial: %w", egress.Unable("fwmark 7", unix.EPERM)); !ownFault(err) {
		t.Errorf("%v is held against the relay", err)
	}
}

// A link-local source is of the interface that the relay is reached through.
func TestLinkLocalSourceHasAZone(t *testing.T) {
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Source: netip.MustParseAddr("192.0.2.1"), Address: "192.0.2.2:25", Interface: "eth0"}, ""},
		{Target{Source: netip.MustParseAddr("fe80::1%eth1"), Address: "[fe80::2]:25", Interface: "eth0"}, "eth1"},
		{Target{Source: netip.MustParseAddr("fe80::1"), Address: "[fe80::2]:25", Interface: "eth0"}, "eth0"},
		{Target{Source: netip.MustParseAddr("fe80::1"), Address: "[fe80::2%eth2]:25"}, "eth2"},
		{Target{Source: netip.MustParseAddr("fe80::1"), Address: "nonsense"}, ""},
	} {
		if got := test.target.zone(); got != test.want {
			t.Errorf("%+v: zone %q, want %q", test.target, got, test.want)
		}
	}
}

func TestTCPCheckNeedsNoGreetingAndEndsOrderly(t *testing.T) {
	for name, play := range map[string]script{
		"waits for the client": (*peer).farewell,
		"speaks first":         steps("< " + strings.Repeat("hello\r\n", 1000)),
		"closes":               func(*peer) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			target, ended := relay(t, play)
			r := TCP(t.Context(), target)
			mustEnd(t, ended)
			if !r.OK || r.Stage != StageConnect || r.Latency <= 0 || r.Err != nil {
				t.Errorf("got %+v, want a healthy relay", r)
			}
		})
	}
}

func TestRelayBehindPROXYGetsItsHeaderFirst(t *testing.T) {
	for _, version := range []string{proxyV1, proxyV2} {
		for name, check := range map[string]Func{"smtp": SMTP, "tcp": TCP} {
			t.Run(version+" "+name, func(t *testing.T) {
				headers := make(chan *proxyproto.Header, 1)
				target, ended := relay(t, func(p *peer) error {
					h, err := proxyproto.Read(p.in)
					if err != nil {
						return err
					}
					if version == proxyV1 && (h.SourceAddr.String() != p.RemoteAddr().String() || h.DestinationAddr.String() != p.LocalAddr().String()) {
						return fmt.Errorf("header says %v to %v, want the real ends", h.SourceAddr, h.DestinationAddr)
					}
					headers <- h
					if name == "tcp" {
						return p.farewell()
					}
					return steps("< 220 mx\r\n", "> EHLO lb.example", "< 250 mx\r\n", "> QUIT", "< 221 bye\r\n")(p)
				})
				target.ProxyProtocol = version
				r := check(t.Context(), target)
				mustEnd(t, ended)
				if !r.OK {
					t.Fatal(r)
				}
				h := <-headers
				if wantLocal := version == proxyV2; h.Command.IsLocal() != wantLocal || "v"+fmt.Sprint(h.Version) != version {
					t.Errorf("got version %d, local: %v, want %s, %v", h.Version, h.Command.IsLocal(), version, wantLocal)
				}
				if !strings.HasPrefix(r.Dialogue[1].Text, "PROXY ") {
					t.Errorf("dialogue %v, want the header in it", r.Dialogue)
				}
			})
		}
	}
}

func TestPROXYHeaderIsOneWrite(t *testing.T) {
	for version, want := range map[string]int{proxyV1: len("PROXY UNKNOWN\r\n"), proxyV2: 16} {
		connect, ended := piped(func(p *peer) error {
			b := make([]byte, 256)
			n, err := p.Read(b) // a pipe gives one write to one read
			if err != nil {
				return err
			}
			_, err = proxyproto.Read(bufio.NewReader(strings.NewReader(string(b[:n]))))
			if n != want {
				err = fmt.Errorf("got %d bytes, want %d", n, want)
			}
			return err
		})
		check(t.Context(), Target{Address: "relay:25", ProxyProtocol: version}, connect, talkTCP)
		mustEnd(t, ended)
	}
}

func TestRelayThatHatesPROXYFailsAtThatStage(t *testing.T) {
	connect := func(context.Context, Target) (net.Conn, error) {
		ours, theirs := net.Pipe()
		theirs.Close()
		return ours, nil
	}
	r := check(t.Context(), Target{Address: "relay:25", ProxyProtocol: proxyV2}, connect, talkSMTP)
	if r.OK || r.Stage != StageProxy || !errors.Is(r.Err, io.ErrClosedPipe) {
		t.Errorf("got %+v, want a failure at the header", r)
	}
}

func TestNothingIsSaidBeforeTheGreetingIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect, ended := piped(func(p *peer) error {
			for _, part := range []string{"2", "20-mx.example ESM", "TP\r", "\n", "220", " mx.example\r"} {
				if err := errors.Join(p.quiet(2*time.Second), p.say(part)); err != nil {
					return err
				}
			}
			err := errors.Join(p.quiet(time.Second), p.say("\n"), p.hear("EHLO lb.example"))
			if err != nil {
				return err
			}
			err = errors.Join(p.say("250-mx.example\r\n"), p.quiet(time.Second), p.say("250 OK\r\n"), p.hear("QUIT"), p.say("221 bye\r\n"))
			return errors.Join(err, p.farewell())
		})
		r := check(t.Context(), Target{Address: "relay:25", HELO: "lb.example"}, connect, talkSMTP)
		mustEnd(t, ended)
		if !r.OK || r.Latency != 14*time.Second {
			t.Errorf("got %v, want ok in 14s, as long as postscreen and a half", r)
		}
	})
}

func TestSilentRelayIsGivenUpInTime(t *testing.T) {
	hello := "220 mx.example\r\n"
	tests := []struct {
		name   string
		play   script
		stage  Stage
		reason string
	}{
		{"from the start", (*peer).farewell, StageGreeting, "greeting: greeting_timeout"},
		{"in its greeting", steps("< 220 mx.ex"), StageGreeting, "greeting: greeting_timeout"},
		{"between its lines", steps("< 220-mx.example\r\n"), StageGreeting, "greeting: greeting_timeout"},
		{"after a word that is no SMTP", steps("< MySQL"), StageGreeting, `greeting: not_smtp (no SMTP reply: "MySQL")`},
		{"after EHLO", steps("< "+hello, "> EHLO lb.example"), StageEHLO, "ehlo: greeting_timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connect, ended := piped(test.play)
				r := check(t.Context(), Target{Address: "relay:25", HELO: "lb.example"}, connect, talkSMTP)
				mustEnd(t, ended)
				if r.OK || r.Inconclusive || r.Stage != test.stage || r.Reason() != test.reason {
					t.Errorf("got %+v, want %s", r, test.reason)
				}
				if r.Latency > DefaultTimeout {
					t.Errorf("took %v, want %v at most", r.Latency, DefaultTimeout)
				}
			})
		})
	}
}

func TestSilenceAfterQUITCostsSecondsAndNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		connect, ended := piped(steps("< 220 mx\r\n", "> EHLO lb.example", "< 250 mx\r\n", "> QUIT"))
		r := check(t.Context(), Target{Address: "relay:25", HELO: "lb.example"}, connect, talkSMTP)
		mustEnd(t, ended)
		if !r.OK || r.Note != "QUIT not answered" || r.Latency != 0 {
			t.Errorf("got %+v, want ok with a note", r)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("waited %v for the 221, want 5s", took)
		}
	})
}

func TestBlackHoleIsAConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect := func(ctx context.Context, _ Target) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
		}
		r := check(t.Context(), Target{Address: "relay:25", Timeout: 3 * time.Second}, connect, talkSMTP)
		if r.OK || r.Inconclusive || r.Outcome != balancer.ConnectTimeout || r.Latency != 3*time.Second {
			t.Errorf("got %+v, want a connect timeout after 3s", r)
		}
	})
}

func TestCancelledCheckEndsAtOnceAndAccusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, play := range map[string]script{
			"before the greeting": (*peer).farewell,
			"after EHLO":          steps("< 220 mx\r\n", "> EHLO lb.example"),
		} {
			began := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			connect, ended := piped(play)
			r := check(ctx, Target{Address: "relay:25", HELO: "lb.example"}, connect, talkSMTP)
			mustEnd(t, ended)
			if r.OK || !r.Inconclusive || !errors.Is(r.Err, context.Canceled) {
				t.Errorf("%s: got %+v, want inconclusive", name, r)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("%s: ended after %v, want the second it was given", name, took)
			}
		}
	})
}

func TestOurOwnTroublesAreNotTheRelays(t *testing.T) {
	op := func(call string, errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, errno)}
	}
	lookup := func(e net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: &e} }
	tests := []struct {
		err          error
		outcome      balancer.Outcome
		inconclusive bool
		reason       string
	}{
		{op("socket", syscall.EMFILE), 0, true, "connect: inconclusive (socket: too many open files)"},
		{op("socket", syscall.ENFILE), 0, true, "connect: inconclusive (socket: too many open files in system)"},
		{op("socket", syscall.ENOBUFS), 0, true, "connect: inconclusive (socket: no buffer space available)"},
		{op("connect", syscall.ENOMEM), 0, true, "connect: inconclusive (cannot allocate memory)"},
		{lookup(net.DNSError{Err: "server misbehaving", Name: "mx", IsTemporary: true}), 0, true, "connect: inconclusive (lookup mx: server misbehaving)"},
		{lookup(net.DNSError{Err: "i/o timeout", Name: "mx", IsTimeout: true}), 0, true, "connect: inconclusive (lookup mx: i/o timeout)"},
		{lookup(net.DNSError{Err: "no such host", Name: "mx", IsNotFound: true}), balancer.Unreachable, false, "connect: unreachable (lookup mx: no such host)"},
		{op("connect", syscall.EHOSTUNREACH), balancer.Unreachable, false, "connect: unreachable (no route to host)"},
		{op("connect", syscall.ENETUNREACH), balancer.Unreachable, false, "connect: unreachable (network is unreachable)"},
		{op("connect", syscall.EADDRNOTAVAIL), 0, true, "connect: inconclusive (cannot assign requested address)"},
		{op("connect", syscall.EPERM), 0, true, "connect: inconclusive (operation not permitted)"},
		{op("connect", syscall.ETIMEDOUT), balancer.ConnectTimeout, false, "connect: connect_timeout"},
		{op("connect", syscall.ECONNREFUSED), balancer.Refused, false, "connect: refused"},
		{op("connect", syscall.ECONNRESET), balancer.Reset, false, "connect: reset"},
	}
	for _, test := range tests {
		connect := func(context.Context, Target) (net.Conn, error) { return nil, test.err }
		r := check(t.Context(), Target{Address: "relay:25"}, connect, talkSMTP)
		if r.OK || r.Inconclusive != test.inconclusive || r.Reason() != test.reason {
			t.Errorf("%v: got %v, inconclusive: %v, want %s, %v", test.err, r, r.Inconclusive, test.reason, test.inconclusive)
		}
		if !test.inconclusive && r.Outcome != test.outcome {
			t.Errorf("%v: got %v, want %v", test.err, r.Outcome, test.outcome)
		}
	}
}

func TestImpossibleTargetsAreNamedBeforeAnythingIsSent(t *testing.T) {
	connect := func(context.Context, Target) (net.Conn, error) {
		t.Error("connected")
		return nil, io.EOF
	}
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Name: "a"}, `target "a": address "": want`},
		{Target{Name: "a", Address: "192.0.2.1"}, `address "192.0.2.1": want`},
		{Target{Name: "a", Address: ":25"}, `address ":25": want`},
		{Target{Name: "a", Address: "mx:25", ProxyProtocol: "v3"}, `proxy protocol "v3": want v1, v2`},
		{Target{Name: "a", Address: "192.0.2.1:25", Source: netip.MustParseAddr("2001:db8::1")}, `source 2001:db8::1: want one of the family of 192.0.2.1`},
		{Target{Name: "a", Address: "mx:25", HELO: "lb\r\nMAIL FROM:<>"}, `helo "lb\r\nMAIL FROM:<>": want`},
	} {
		r := check(t.Context(), test.target, connect, talkSMTP)
		if r.OK || r.Err == nil || !strings.Contains(r.Reason(), test.want) {
			t.Errorf("%+v: got %q, want %q", test.target, r.Reason(), test.want)
		}
	}
}

// halfClosing is a pipe that has a CloseWrite, as a TCP connection has.
type halfClosing struct{ net.Conn }

func (halfClosing) CloseWrite() error { return nil }

func TestRelayThatNeverClosesIsLeftAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		pipe, ended := piped((*peer).farewell)
		connect := func(ctx context.Context, target Target) (net.Conn, error) {
			c, err := pipe(ctx, target)
			return halfClosing{c}, err
		}
		r := check(t.Context(), Target{Address: "relay:25"}, connect, talkTCP)
		mustEnd(t, ended)
		if took := time.Since(began); !r.OK || took != time.Second {
			t.Errorf("got %v after %v, want ok after 1s", r, took)
		}
	})
}
