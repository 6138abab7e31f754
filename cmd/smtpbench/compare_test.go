package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"smtplb/bench/result"
	"smtplb/internal/smtptest"
)

func TestCompareRefusesWhatItCannotDo(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"a peer nobody knows", []string{"--peers", "smtplb,envoy"}, []string{`no "envoy"`, "haproxy"}},
		{"a measure nobody knows", []string{"--only", "speed"}, []string{`no "speed"`, "cpu_short"}},
		{"CPUs that are none", []string{"--balancer-cpus", "x", "--load-cpus", "9-1"}, []string{"--balancer-cpus", "--load-cpus"}},
		{"CPUs that are not there", []string{"--load-cpus", "1023"}, []string{"1023"}},
		{"rounds", []string{"--rounds", "-2"}, []string{"-2"}},
		{"a file that cannot be written", []string{"--html", "/nonexistent/compare.html"}, []string{"/nonexistent/compare.html"}},
		{"nobody to compare", []string{"--peers", "smtplb", "--smtplb", "/nonexistent/smtplb"}, []string{"nothing to compare", "smtplb is missing"}},
		{"an argument", []string{"now"}, []string{"now"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := run(t.Context(), append([]string{"compare"}, test.args...), streams{strings.NewReader(""), &out, &errs})
			if status != exitError || out.Len() > 0 {
				t.Errorf("status %d, want %d; output %q", status, exitError, out.String())
			}
			for _, want := range test.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("%q: want %q in it", errs.String(), want)
				}
			}
		})
	}
}

func TestCompareHelpNamesMeasuresAndPeers(t *testing.T) {
	var out bytes.Buffer
	if status := run(t.Context(), []string{"compare", "--help"}, streams{strings.NewReader(""), &out, io.Discard}); status != exitOK {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"cpu_gb", "shares", "haproxy", "iocopy", "--balancer-cpus"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the help text", want)
		}
	}
	if strings.Contains(out.String(), "LISTEN RELAY") {
		t.Error("the peer's own command is not hidden")
	}
}

func TestBaselinesProxy(t *testing.T) {
	processors := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(processors) // floor wants some of its own
	for _, name := range []string{iocopyName, floorName} {
		t.Run(name, func(t *testing.T) { testBaseline(t, name) })
	}
}

func testBaseline(t *testing.T, name string) {
	relay, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	go func() {
		conn, err := relay.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()

	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		served <- run(ctx, []string{name, listen, relay.Addr().String()}, streams{strings.NewReader(""), io.Discard, &errs})
	}()
	conn := dialUntil(t, netip.MustParseAddrPort(listen))
	const words = "there and back"
	if _, err := io.WriteString(conn, words); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(words))
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != words {
		t.Errorf("%q, %v", back, err)
	}
	conn.Close()
	cancel()
	if status := <-served; status != exitOK {
		t.Errorf("status %d: %s", status, errs.String())
	}
	for _, args := range [][]string{{"nowhere", "127.0.0.1:25"}, {"127.0.0.1:0", "nobody"}, {"127.0.0.1:0"}} {
		if status := run(t.Context(), append([]string{name}, args...), streams{strings.NewReader(""), io.Discard, io.Discard}); status != exitError {
			t.Errorf("%q: status %d, want %d", args, status, exitError)
		}
	}
}

// dialUntil connects as soon as somebody listens.
func dialUntil(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	var conn *net.TCPConn
	smtptest.Eventually(t, 10*time.Second, func() bool {
		var err error
		conn, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(at))
		return err == nil
	}, "a connection to %v", at)
	return conn
}

func TestComparedTellsTheStatus(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	missed := []result.Measure{{Title: "CPU", Bar: &result.Bar{Text: "at most 1", Got: 2}}}
	tests := []struct {
		name string
		ctx  context.Context
		c    result.Comparison
		want int
		said string
	}{
		{"all well", t.Context(), result.Comparison{Complete: true}, exitOK, ""},
		{"a bar was missed", t.Context(), result.Comparison{Complete: true, Measures: missed}, exitFindings, "CPU: 2, want at most 1"},
		{"interrupted", over, result.Comparison{Measures: missed}, exitInterrupted, "CPU"},
		{"a signal when all was done", over, result.Comparison{Complete: true}, exitOK, ""},
	}
	for _, test := range tests {
		var errs bytes.Buffer
		if got := exitStatus(compared(test.ctx, &test.c, &errs)); got != test.want {
			t.Errorf("%s: status %d, want %d", test.name, got, test.want)
		}
		if !strings.Contains(errs.String(), test.said) || test.said == "" && errs.Len() > 0 {
			t.Errorf("%s: said %q, want %q", test.name, errs.String(), test.said)
		}
	}
}
