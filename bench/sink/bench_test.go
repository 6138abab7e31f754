package sink

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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtplb/bench/mail"
)

// The benchmarks run the sink in a process of its own, so that its processor
// time and memory are its own, and beside it Postfix's smtp-sink where that is
// installed:
//
//	go test -run '^$' -bench . ./bench/sink
//
// Times in ns/op are of client and sink together; cpu-ns/session, cpu-s/GB and
// rss-B/session are the sink's.

// childRole, set in the environment, makes of the test binary a sink that runs
// until its standard input ends.
const childRole = "SMTPLB_SINK_CHILD"

func runChild(in io.Reader, out io.Writer) error {
	s, err := Start(Config{Relays: []Relay{{Name: "a", Address: "127.0.0.1:0"}}})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, s.Address("a"))
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, s.Close())
}

// target is a sink under measurement.
type target struct {
	address netip.AddrPort
	pid     int
}

// targets are what can be measured here.
func targets() map[string]func(testing.TB) target {
	all := map[string]func(testing.TB) target{"sink": startChild}
	for _, path := range []string{"smtp-sink", "/usr/sbin/smtp-sink"} {
		if found, err := exec.LookPath(path); err == nil {
			all["smtp-sink"] = func(tb testing.TB) target { return startPostfix(tb, found) }
		}
	}
	return all
}

func startChild(tb testing.TB) target {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childRole+"=1")
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
			tb.Errorf("sink: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	address, err := netip.ParseAddrPort(strings.TrimSpace(line))
	if err != nil {
		tb.Fatal(err)
	}
	return target{address, cmd.Process.Pid}
}

func startPostfix(tb testing.TB, program string) target {
	tb.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := netip.MustParseAddrPort(free.Addr().String())
	_ = free.Close()
	args := []string{"-4", "-m", "20000", address.String(), "4096"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...) // it insists
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(patience); ; {
		c, err := connect(address)
		if err == nil {
			_ = c.Close()
			return target{address, cmd.Process.Pid}
		}
		if time.Now().After(end) {
			tb.Fatal(err)
		}
	}
}

// cpu is the processor time that a process has used, proc(5): fields 14 and 15
// of stat, in hundredths of a second.
func (t target) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// rss is its resident memory, in octets.
func (t target) rss(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", t.pid))
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		tb.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// hello is what a session begins with; HELO, because smtp-sink's EHLO offers
// what it cannot do.
func hello(c *client) error {
	return errors.Join(c.expect("", "220"), c.expect("HELO c\r\n", "250"))
}

func (c *client) expect(words, want string) error {
	got, err := c.ask(words)
	if err == nil && !strings.HasPrefix(got, want) {
		err = fmt.Errorf("to %.20q: %q", words, got)
	}
	return err
}

// session sends so many messages.
func session(to netip.AddrPort, messages int, content []byte) error {
	c, err := connect(to)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := hello(c); err != nil {
		return err
	}
	for range messages {
		for _, step := range [...][2]string{{"MAIL FROM:<a@c.example>\r\n", "250"}, {"RCPT TO:<b@c.example>\r\n", "250"}, {"DATA\r\n", "354"}} {
			if err := c.expect(step[0], step[1]); err != nil {
				return err
			}
		}
		if _, err := c.Write(content); err != nil {
			return err
		}
		if err := c.expect("", "250"); err != nil {
			return err
		}
	}
	return c.expect("QUIT\r\n", "221")
}

// run has eight clients make n sessions.
func (t target) run(b *testing.B, n, messages, size int) {
	b.Helper()
	m := mail.NewComposer().Message(mail.ID{Run: 1, Seq: 1}, size)
	var content bytes.Buffer
	if err := m.WriteDotted(&content); err != nil {
		b.Fatal(err)
	}
	var started atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for started.Add(1) <= int64(n) {
				if err := session(t.address, messages, content.Bytes()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
}

func BenchmarkSession(b *testing.B) {
	for _, messages := range []int{1, 20} {
		for name, start := range targets() {
			b.Run(fmt.Sprintf("messages=%d/target=%s", messages, name), func(b *testing.B) {
				t := start(b)
				b.ResetTimer()
				before := t.cpu(b)
				t.run(b, b.N, messages, 4<<10)
				b.ReportMetric(float64((t.cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/session")
			})
		}
	}
}

func BenchmarkContent(b *testing.B) {
	const size = 20 << 20
	for name, start := range targets() {
		b.Run("size=20MB/target="+name, func(b *testing.B) {
			t := start(b)
			b.SetBytes(size)
			b.ResetTimer()
			before := t.cpu(b)
			t.run(b, b.N, 1, size)
			b.ReportMetric((t.cpu(b)-before).Seconds()/(float64(b.N)*size/1e9), "cpu-s/GB")
		})
	}
}

// BenchmarkIdle opens sessions that wait after their HELO: b.N of them, but no
// more at a time than descriptors allow. The figure means something from a few
// thousand on: -benchtime 10000x.
func BenchmarkIdle(b *testing.B) {
	const most = 15_000
	for name, start := range targets() {
		b.Run("target="+name, func(b *testing.B) {
			t := start(b)
			t.run(b, 100, 1, 4<<10) // what it needs once, it has
			before, grown := t.rss(b), 0
			var open []*client
			closeAll := func() {
				for _, c := range open {
					_ = c.Close()
				}
				open = open[:0]
			}
			defer closeAll()
			b.ResetTimer()
			for range b.N {
				if len(open) == min(most, b.N) {
					closeAll()
				}
				c, err := connect(t.address)
				if err != nil {
					b.Fatal(err)
				}
				open = append(open, c)
				if err := hello(c); err != nil {
					b.Fatal(err)
				}
				grown = max(grown, len(open))
			}
			b.ReportMetric(float64(t.rss(b)-before)/float64(grown), "rss-B/session")
		})
	}
}
