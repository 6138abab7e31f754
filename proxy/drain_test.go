package proxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// shutdown begins a Shutdown, whose result is in the channel.
func (r *rig) shutdown() chan error {
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(context.Background()) }()
	return done
}

func TestMailUnderWayAtShutdownIsDelivered(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	relay := smtptest.Start(t, smtptest.Script{OnMessage: func(smtptest.Message) {
		close(held)
		<-release
	}})
	r := newRig(t, relay.Addr())
	r.Quiet = 50 * time.Millisecond
	r.Workers = 2
	r.run()
	quiet := r.dial()
	wantGreeting(t, quiet, plainGreeting)
	c := r.dial()
	sent := make(chan error, 1)
	go func() { sent <- c.Send(smtptest.Outgoing{ID: "m", Size: 4096}) }()
	<-held
	done := r.shutdown()
	if rest := readAll(t, limited(t, quiet.Conn())); rest != "" {
		t.Errorf("a quiet client reads %q at shutdown, want the end of the connection", rest)
	}
	quiet.Close()
	wantEnd(t, r.ended(1), Drained) // by its turn; the other one waits, however quiet
	close(release)
	if err := <-sent; err != nil {
		t.Errorf("the mail under way: %v", err)
	}
	if rest := readAll(t, limited(t, c.Conn())); rest != "" {
		t.Errorf("read %q", rest)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wantEnd(t, r.ended(2), Drained)
	if relay.MessageCount() != 1 {
		t.Errorf("the relay has %d messages, want 1", relay.MessageCount())
	}
}

func TestShutdownGivesUpWaitingWhenItsContextEnds(t *testing.T) {
	relay, _, _ := told(t)
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	send(t, conn, ".\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v, want the context's error", err)
	}
	if st := r.Stats(); st.Open != 1 {
		t.Errorf("%d sessions are open, want the one that waits for its reply", st.Open)
	}
	done := r.shutdown() // a second one waits like the first
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown returned %v after Close", err)
	}
	wantEnd(t, r.ended(1), Shut)
}

func TestCloseEndsEverythingNow(t *testing.T) {
	silent := smtptest.Start(t, smtptest.Script{Fault: smtptest.Silent})
	good := smtptest.Start(t, smtptest.Script{})
	r := newRig(t, good.Addr())
	r.listener().Routes = []Route{{From: prefixes("127.0.0.3/32"), Pool: newPool(t, "silent", silent.Addr())}}
	r.listener().Routes[0].Pool.Timeouts.Greeting = time.Hour
	r.listener().Deny = prefixes("127.0.0.4/32")
	r.run()
	running, waiting, refused := r.raw(), limited(t, r.dialFrom("127.0.0.3").Conn()), limited(t, r.dialFrom("127.0.0.4").Conn())
	wantRead(t, running, plainGreeting)
	wantRead(t, refused, "421 4.7.1")
	smtptest.Eventually(t, patience, func() bool { return silent.Connections() == 1 }, "the silent relay is not asked")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, running); got != "" {
		t.Errorf("a running session reads %q", got)
	}
	if got := readAll(t, waiting); !strings.HasPrefix(got, "421 4.3.2 lb.test shutting down (session ") {
		t.Errorf("a client without a greeting reads %q", got)
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown after Close: %v", err)
	}
	if st := r.Stats(); st.Open != 0 || st.Ends[Shut] != 2 || st.Ends[Denied] != 1 {
		t.Errorf("counted %+v, want two cut and one denied", st)
	}
}

func TestPortIsFreeAsSoonAsShutdownBegins(t *testing.T) {
	relay, _, _ := told(t)
	r := newRig(t, relay.Addr()).run()
	conn := r.raw()
	wantRead(t, conn, plainGreeting)
	send(t, conn, ".\r\n")
	smtptest.Eventually(t, patience, func() bool { return r.Addresses() != nil }, "no address")
	done := r.shutdown()
	smtptest.Eventually(t, patience, func() bool {
		c, err := net.Dial("tcp", r.addr.String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil && r.Addresses() == nil
	}, "the port still answers")
	next := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	next.listener().Address = r.addr
	next.run() // while the old one still has its session
	wantGreeting(t, next.dial(), plainGreeting)
	_ = r.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A loop may have ended while others still run: its descriptors belong to
// somebody else by then.
func TestStopDoesNotReachIntoALoopThatHasEnded(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	l, err := newLoop(&r.Server)
	if err != nil {
		t.Fatal(err)
	}
	l.close()
	fds := eventfds(t, 64) // they take the numbers that have become free
	l.post((*loop).stop)
	for _, fd := range fds {
		if n := inEventfd(fd); n != 0 {
			t.Fatalf("a loop that has ended wrote %d into a descriptor of somebody else", n)
		}
	}
}

func TestStartingAndStoppingOutOfOrder(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	t.Run("Serve without Listen", func(t *testing.T) {
		if err := newRig(t, relay.Addr()).Serve(); err == nil || errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Run("Serve twice", func(t *testing.T) {
		r := newRig(t, relay.Addr()).run()
		wantGreeting(t, r.dial(), plainGreeting)
		if err := r.Serve(); err == nil || errors.Is(err, ErrServerClosed) {
			t.Errorf("the second Serve returned %v", err)
		}
	})
	t.Run("Listen twice", func(t *testing.T) {
		r := newRig(t, relay.Addr()).run()
		if err := r.Listen(); err == nil {
			t.Error("the second Listen returned no error")
		}
	})
	for name, stop := range map[string]func(*rig) error{
		"Close":    func(r *rig) error { return r.Close() },
		"Shutdown": func(r *rig) error { return r.Shutdown(context.Background()) },
	} {
		t.Run(name+" before Listen", func(t *testing.T) {
			r := newRig(t, relay.Addr())
			if err := stop(r); err != nil {
				t.Errorf("%s returned %v", name, err)
			}
			if err := r.Listen(); err == nil {
				t.Error("a stopped server listens")
			}
		})
		t.Run(name+" before Serve", func(t *testing.T) {
			r := newRig(t, relay.Addr())
			if err := r.Listen(); err != nil {
				t.Fatal(err)
			}
			address := r.Addresses()[0]
			if err := errors.Join(stop(r), stop(r)); err != nil {
				t.Errorf("%s returned %v", name, err)
			}
			if err := r.Serve(); !errors.Is(err, ErrServerClosed) {
				t.Errorf("Serve returned %v, want ErrServerClosed", err)
			}
			if conn, err := net.Dial("tcp", address.String()); err == nil {
				_ = conn.Close()
				t.Error("the port still answers")
			}
		})
	}
}

// A client that connected before Serve is served, not lost.
func TestClientsThatCameBeforeServeAreServed(t *testing.T) {
	r := newRig(t, smtptest.Start(t, smtptest.Script{}).Addr())
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	r.addr = r.Addresses()[0]
	c := r.dial()
	go func() { r.served <- r.Serve() }()
	t.Cleanup(r.checkEnd)
	wantGreeting(t, c, plainGreeting)
}
