package probes

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"golang.org/x/sys/unix"
)

// acceptAll is a go-smtp relay that would take any mail, and should get none.
type acceptAll struct{}

func (acceptAll) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return acceptAll{}, nil }
func (acceptAll) Mail(string, *gosmtp.MailOptions) error          { return nil }
func (acceptAll) Rcpt(string, *gosmtp.RcptOptions) error          { return nil }
func (acceptAll) Data(io.Reader) error                            { return errors.New("a check sent a message") }
func (acceptAll) Reset()                                          {}
func (acceptAll) Logout() error                                   { return nil }

// relays begins a plain and a TLS listener of a relay that is none of our own
// making. What it complains of in its log is the test's error.
func relays(tb testing.TB) (plain, secure string) {
	tb.Helper()
	server := gosmtp.NewServer(acceptAll{})
	server.Domain, server.TLSConfig = "mx.example", certificate(tb, year)
	var log strings.Builder // written to until the server has ended
	server.ErrorLog = complaints{&log}
	addresses := make([]string, 2)
	ended := make(chan error, len(addresses))
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		addresses[i] = l.Addr().String()
		if i == 1 {
			l = tls.NewListener(l, server.TLSConfig)
		}
		go func() { ended <- server.Serve(l) }()
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
		for range addresses {
			if err := <-ended; err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
				tb.Error(err)
			}
		}
		if log.Len() > 0 {
			tb.Errorf("the relay's log: %s", log.String())
		}
	})
	return addresses[0], addresses[1]
}

type complaints struct{ io.Writer }

func (c complaints) Printf(format string, v ...any) { fmt.Fprintf(c, format+"\n", v...) }
func (c complaints) Println(v ...any)               { fmt.Fprintln(c, v...) }

func TestRelayOfAnotherMakeIsHealthyInEveryWay(t *testing.T) {
	plain, secure := relays(t)
	for name, test := range map[string]struct {
		check  Func
		target Target
	}{
		"smtp":     {SMTP, Target{HELO: "lb.example", Address: plain}},
		"starttls": {SMTP, Target{HELO: "lb.example", Address: plain, STARTTLS: true}},
		"envelope": {SMTP, Target{HELO: "lb.example", Address: plain, STARTTLS: true, MailFrom: "<>", RcptTo: "postmaster@example.com"}},
		"smtps":    {SMTPS, Target{HELO: "lb.example", Address: secure}},
		"tcp":      {TCP, Target{HELO: "lb.example", Address: plain}},
	} {
		t.Run(name, func(t *testing.T) {
			if r := test.check(t.Context(), test.target); !r.OK || r.Note != "" {
				t.Errorf("got %v: %v", r, r.Dialogue)
			}
		})
	}
}

const relayProcess = "PROBES_RELAY_PROCESS"

// BenchmarkRelayProcess is the relay of the other benchmarks, in a process of its
// own, so that its CPU is not counted. It ends with its standard input.
func BenchmarkRelayProcess(b *testing.B) {
	if os.Getenv(relayProcess) == "" {
		b.Skip("is started by the other benchmarks")
	}
	plain, secure := relays(b)
	fmt.Fprintln(os.Stderr, plain, secure)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func relaysElsewhere(b *testing.B) (plain, secure string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkRelayProcess$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), relayProcess+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StderrPipe() // on its standard output the benchmark announces itself
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(out)
	b.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
	})
	if _, err := fmt.Fscanln(lines, &plain, &secure); err != nil {
		b.Fatal(err)
	}
	return plain, secure
}

// processTime is the CPU time this process has taken, in user and system.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCheck is the CPU of one check after another, the relay's not in it.
func BenchmarkCheck(b *testing.B) {
	plain, secure := relaysElsewhere(b)
	for _, test := range []struct {
		name   string
		check  Func
		target Target
	}{
		{"tcp", TCP, Target{HELO: "lb.example", Address: plain}},
		{"smtp", SMTP, Target{HELO: "lb.example", Address: plain}},
		{"envelope", SMTP, Target{HELO: "lb.example", Address: plain, MailFrom: "<>", RcptTo: "postmaster@example.com"}},
		{"starttls", SMTP, Target{HELO: "lb.example", Address: plain, STARTTLS: true}},
		{"smtps", SMTPS, Target{HELO: "lb.example", Address: secure}},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			began := processTime(b)
			for b.Loop() {
				if r := test.check(b.Context(), test.target); !r.OK {
					b.Fatal(r)
				}
			}
			b.ReportMetric(float64((processTime(b)-began).Microseconds())/float64(b.N), "cpu-us/check")
		})
	}
}

// BenchmarkTwoHundredRelays runs a Scheduler with 200 targets at its default
// pace, 40 checks a second, for ten seconds an operation, and reports the share
// of a core that it takes: mostly idle, so without warm caches, as in service.
func BenchmarkTwoHundredRelays(b *testing.B) {
	plain, secure := relaysElsewhere(b)
	for _, test := range []struct {
		name   string
		check  Func
		target Target
	}{
		{"smtp", SMTP, Target{HELO: "lb.example", Address: plain}},
		{"smtps", SMTPS, Target{HELO: "lb.example", Address: secure}},
	} {
		b.Run(test.name, func(b *testing.B) {
			var checks, failed atomic.Int64
			s := Scheduler{
				Check: test.check, Fast: func(Target) bool { return false },
				Report: func(_ Target, r Result) {
					checks.Add(1)
					if !r.OK {
						failed.Add(1)
					}
				},
			}
			targets := make([]Target, 200)
			for i := range targets {
				targets[i] = test.target
				targets[i].Name = fmt.Sprint(i)
			}
			if err := s.Set(targets...); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			<-time.After(6 * time.Second) // the first checks come within a second: not the usual pace
			checks.Store(0)
			wall, cpu := time.Now(), processTime(b)
			for b.Loop() {
				<-time.After(10 * time.Second)
			}
			spent, passed := processTime(b)-cpu, time.Since(wall)
			n := checks.Load()
			cancel()
			if err := <-ended; err != nil || failed.Load() > 0 {
				b.Fatalf("%d checks failed; %v", failed.Load(), err)
			}
			b.ReportMetric(float64(spent)/float64(passed)*100, "%core")
			b.ReportMetric(float64(n)/passed.Seconds(), "checks/s")
			b.ReportMetric(float64(spent.Microseconds())/float64(n), "cpu-us/check")
		})
	}
}
