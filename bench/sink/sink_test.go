package sink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/internal/smtptest"
)

func TestMailIsTakenAndCounted(t *testing.T) {
	s := start(t, Config{})
	composer := mail.NewComposer()
	var ledger mail.Ledger
	const n = 100
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			m := composer.Message(mail.ID{Run: 7, Seq: uint64(i)}, 400+i*i*30)
			if got := deliver(s.Address([]string{"a", "b"}[i%2]), &m, i%3 == 0); got != (sent{accepted: true}) {
				t.Errorf("message %d: %+v", i, got)
			}
			ledger.Accepted(uint64(i))
		})
	}
	done.Wait()
	if v := ledger.Compare(s.Receipts().Of(7)); !v.OK() || v.Delivered != n {
		t.Errorf("%+v", v)
	}
	total := s.Stats().Total()
	if total.Connections != n || total.Sessions != n || total.Messages != n || total.Foreign+total.Corrupt != 0 || len(total.Faults) > 0 {
		t.Errorf("%+v", total)
	}
	for _, name := range []string{"a", "b"} {
		if r := s.Stats().Relay(name); r.Messages != n/2 || r.Address != s.Address(name) {
			t.Errorf("relay %s: %+v", name, r)
		}
	}
	if of := s.OfRun(7); of["a"] != n/2 || of["b"] != n/2 {
		t.Errorf("by relay: %v", of)
	}
	s.ResetStats()
	if total := s.Stats().Total(); total.Connections+total.Messages+total.Bytes != 0 {
		t.Errorf("after ResetStats: %+v", total)
	}
	if got := s.Receipts().Of(7).Total; got != n {
		t.Errorf("ResetStats left %d receipts of %d", got, n)
	}
}

// What the sink says it did is what the clients have met, one by one, and no
// message is lost or doubled by it but those that the fault is meant to.
func TestFaultsAreCountedExactly(t *testing.T) {
	for name, faults := range map[string][]string{
		"before the content": {
			"greeting=421 probability=10%", "greeting=554 probability=10%", "greeting=close probability=10%", "b: greeting=reset probability=10%",
			"greeting=not_smtp probability=5%", "greeting=multi_line probability=10%", "greeting=1ms probability=5%", "ehlo=502 probability=10%",
			"mail=450 probability=10%", "rcpt=550 probability=10%", "rcpt=close delay=2ms probability=5%", "data=451 probability=10%", "a: data=reset probability=10%",
		},
		"in the content": {"middle=reset probability=20%", "content=close probability=10%"},
		"after the content": {
			"content=452 probability=10%", "content=close probability=10%", "content=reset probability=10%",
			"content=close kept=true probability=10%", "quit=close probability=10%", "quit=500 probability=10%", "quit=reset probability=10%",
		},
		"on two loops": {"command=450 probability=5%"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{Faults: mustFaults(t, faults...), Seed: 1, Loops: 2})
			got := sendAll(t, s, 600)
			stats := s.Stats().Total()
			for _, harmless := range []string{"greeting_multi_line", "greeting_delay"} {
				if strings.Contains(strings.Join(faults, " "), "multi_line") && stats.Faults[harmless] == 0 {
					t.Errorf("no %s", harmless)
				}
				delete(stats.Faults, harmless)
			}
			if n := stats.Faults["middle_reset"]; n > 0 { // the client cannot tell
				stats.Faults["content_reset"] += n
				delete(stats.Faults, "middle_reset")
			}
			if !reflect.DeepEqual(got, stats.Faults) {
				t.Errorf("clients met  %v\nsink counted %v", got, stats.Faults)
			}
			if len(got) == 0 {
				t.Error("no faults at all")
			}
			for _, f := range s.Report().Faults {
				if f.Injected == 0 {
					t.Errorf("%s never struck", f.Fault)
				}
			}
		})
	}
}

// sendAll sends n messages and returns the failures by kind. It fails where a
// message is neither here nor there.
func sendAll(t *testing.T, s *Sink, n int) map[string]int64 {
	t.Helper()
	composer := mail.NewComposer()
	var ledger mail.Ledger
	var mu sync.Mutex
	kinds := make(map[string]int64)
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				m := composer.Message(mail.ID{Run: 1, Seq: uint64(i)}, 4000)
				result := deliver(s.Address([]string{"a", "b"}[i%2]), &m, false)
				switch {
				case result.accepted:
					ledger.Accepted(uint64(i))
				case result.unsure:
					ledger.Unsure(uint64(i))
				}
				if result.kind != "" {
					mu.Lock()
					kinds[result.kind]++
					mu.Unlock()
				}
			}
		})
	}
	clients.Wait()
	if v := ledger.Compare(s.Receipts().Of(1)); !v.OK() || v.Accepted+v.Unsure == 0 {
		t.Errorf("%+v", v)
	}
	return kinds
}

func TestStatesOfAnAddress(t *testing.T) {
	c := newClock()
	var moved sync.Mutex
	now := func() time.Time {
		moved.Lock()
		defer moved.Unlock()
		return c.Time
	}
	s := start(t, Config{Now: now, Faults: mustFaults(t,
		"a: connect=refuse at=10s for=10s", "a: connect=black_hole at=30s for=10s", "a: connect=down at=50s for=10s every=100s")})
	greets := func(name string) *client {
		t.Helper()
		client := dial(t, s.Address(name))
		client.want(t, "", "220 "+name)
		return client
	}
	refuses := func() {
		t.Helper()
		if _, err := net.DialTimeout("tcp", s.Address("a").String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want a refusal", err)
		}
		greets("b")
	}
	goTo := func(at time.Duration) {
		moved.Lock()
		c.Time = newClock().Add(at)
		moved.Unlock()
		for _, l := range s.loops {
			l.wait(l.recheckAll)
		}
	}
	old := greets("a")
	goTo(10 * time.Second)
	refuses()
	old.want(t, "NOOP\r\n", "250")
	goTo(20 * time.Second)
	greets("a")
	goTo(30 * time.Second)
	const long = 300 * time.Millisecond // for a connection that is made at once, or never
	if conn, err := net.DialTimeout("tcp", s.Address("a").String(), long); err == nil {
		_ = conn.Close()
		t.Error("a black hole has answered")
	} else if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial: %v, want a timeout", err)
	}
	old.want(t, "NOOP\r\n", "250")
	goTo(40 * time.Second)
	greets("a")
	b := greets("b")
	goTo(50 * time.Second)
	refuses()
	if _, err := old.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a session of a relay that went down: %v, want a reset", err)
	}
	b.want(t, "NOOP\r\n", "250")
	goTo(60 * time.Second)
	greets("a")
	goTo(150 * time.Second)
	refuses()

	faults := s.Report().Faults
	for i, want := range []int64{1, 1, 2} {
		if faults[i].Begun != want {
			t.Errorf("%s came on %d times, want %d", faults[i].Fault, faults[i].Begun, want)
		}
	}
	if faults[2].Injected < 1 || s.Stats().Relay("a").Faults["down"] != faults[2].Injected {
		t.Errorf("down reset %d sessions, counted %v", faults[2].Injected, s.Stats().Relay("a").Faults)
	}
	s.SetFaults(nil)
	greets("a")
}

func TestSetFaultsHoldsAtOnce(t *testing.T) {
	s := start(t, Config{})
	for i, step := range []struct{ fault, want string }{
		{"greeting=421", "421"}, {"greeting=554", "554"}, {"b: greeting=450", "220"}, {"a: greeting=450", "450"},
	} {
		s.SetFaults(mustFaults(t, step.fault))
		if got, err := dial(t, s.Address("a")).reply(); err != nil || !strings.HasPrefix(got, step.want) {
			t.Errorf("%d: %s: %q and %v", i, step.fault, got, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a wrong fault was taken")
		}
	}()
	s.SetFaults([]Fault{{Point: PointMAIL, Action: ActionHalf}})
}

func TestStartBindsAllOrNone(t *testing.T) {
	smtptest.CheckDescriptors(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	_, err = Start(Config{Relays: []Relay{{Name: "free", Address: "127.0.0.1:0"}, {Name: "busy", Address: busy}, {Name: "away", Address: "192.0.2.1:0"}}})
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"relay busy: listen on " + busy + ": bind: address already in use", "relay away: listen on 192.0.2.1:0: bind: cannot assign"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v is no EADDRINUSE", err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	_, err := Start(Config{
		Relays: []Relay{{Name: "a", Address: "x"}, {Name: "a", Address: "127.0.0.1:0", ImplicitTLS: true}, {Name: "", Address: "127.0.0.1:0"}},
		Faults: []Fault{
			{Point: "nowhere"}, {Relay: "c", Point: PointMAIL, Action: ActionReply, Reply: "250"},
			{Point: PointMAIL, Action: ActionClose, Delay: -1, At: -1, For: -1, Pause: -1, Probability: -1, Times: -1}, {Point: PointMAIL, Action: ActionDelay},
		},
	})
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{
		"its address must be IP:port", "another relay has that name", "implicit TLS needs a certificate", "its name must be",
		"fault 1: point: must be one of", "fault 2: relay: must be a relay's name", "fault 2: mail: must be a 4xx",
		"fault 3: delay: must not", "fault 3: at: must not", "fault 3: for: must not", "fault 3: pause: must not", "fault 3: probability: must be",
		"fault 3: times: must be", "fault 4: delay: must be above 0",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if _, err := Start(Config{}); err == nil || !strings.Contains(err.Error(), "no relay") {
		t.Errorf("%v", err)
	}
}

// RFC 2920: replies to a group of commands come in one piece.
func TestPipelinedRepliesComeInOneSegment(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s.Address("a"))
	c.want(t, "", "220")
	const group = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\n"
	if _, err := io.WriteString(c, group); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := c.Read(buffer)
	if got := strings.Count(string(buffer[:n]), "\r\n250 "); err != nil || got != 4 {
		t.Errorf("%d replies in the first piece, %q (%v)", got, buffer[:n], err)
	}
}

// A client that sends and sends before it reads gets every reply, and meanwhile
// holds nobody up.
func TestClientThatReadsLate(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s.Address("a"))
	const n = 60_000 // replies that fit no buffer of the kernel
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(bytes.Repeat([]byte("EHLO c\r\n"), n))
		sent <- err
	}()
	other := dial(t, s.Address("a"))
	other.want(t, "", "220")
	other.want(t, "NOOP\r\n", "250")
	for i := range n + 1 {
		if _, err := c.reply(); err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestClientThatHasSaidAll(t *testing.T) {
	s := start(t, Config{Faults: mustFaults(t, "rcpt=5ms", "content=5ms")})
	c := dial(t, s.Address("a"))
	if _, err := io.WriteString(c, envelope+"DATA\r\nx\r\n.\r\nNOOP\r\n"); err != nil {
		t.Fatal(err)
	}
	c.closeWrite(t)
	got, err := io.ReadAll(c.in)
	if want := "250 2.0.0 taken by a\r\n250 2.0.0 ok\r\n"; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%q and %v", got, err)
	}
	if r := s.Stats().Relay("a"); r.Messages != 1 || r.Foreign != 1 {
		t.Errorf("%+v", r)
	}
}

// Who leaves before the greeting is not waited for; who speaks before it is
// heard after it.
func TestDelayedGreeting(t *testing.T) {
	s := start(t, Config{Faults: mustFaults(t, "a: greeting=1h", "b: greeting=20ms")})
	c := dial(t, s.Address("a"))
	smtptest.Eventually(t, patience, func() bool { return s.Stats().Relay("a").Faults["greeting_delay"] == 1 }, "a delay")
	_ = c.Close()
	smtptest.Eventually(t, patience, func() bool { return s.Stats().Relay("a").Open == 0 }, "the end of a session whose client left")

	early := dial(t, s.Address("b"))
	early.want(t, "NOOP\r\n", "220")
	early.want(t, "", "250")
}

func TestSilenceLastsUntilTheClientLeaves(t *testing.T) {
	for fault, greeting := range map[string]string{
		"greeting=silence": "", "greeting=half": "220 a", "greeting=not_smtp": "SSH-2.0-OpenSSH_9.2\r\n", "ehlo=silence": greeted,
		"greeting=endless": "220 " + strings.Repeat("x", endless-4),
	} {
		t.Run(fault, func(t *testing.T) {
			s := start(t, Config{Faults: mustFaults(t, fault)})
			c := dial(t, s.Address("a"))
			if _, err := c.Write(bytes.Repeat([]byte("EHLO c\r\n"), 200_000)); err != nil {
				t.Fatal(err)
			}
			c.closeWrite(t)
			if got, err := io.ReadAll(c.in); err != nil || string(got) != greeting {
				t.Errorf("%.100q and %v, want %.100q and the end", got, err, greeting)
			}
		})
	}
}

// A close is a close, not a reset, though the client was still talking.
func TestCloseIsOrderly(t *testing.T) {
	for _, fault := range []string{"greeting=close", "greeting=421", "ehlo=close", "middle=close", "content=421"} {
		t.Run(fault, func(t *testing.T) {
			s := start(t, Config{Faults: mustFaults(t, fault)})
			c := dial(t, s.Address("a"))
			text := envelope + "DATA\r\n" + strings.Repeat("x\r\n", 100_000) + ".\r\n" + strings.Repeat("NOOP\r\n", 1000)
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c.in); err != nil {
				t.Errorf("after %q: %v", got, err)
			}
		})
	}
}

func TestCloseEndsAllSessions(t *testing.T) {
	s := start(t, Config{Faults: mustFaults(t, "b: greeting=1h")})
	var clients []*client
	for i := range 200 {
		c := dial(t, s.Address([]string{"a", "b"}[i%2]))
		clients = append(clients, c)
	}
	clients[0].want(t, "", "220")
	clients[0].want(t, "EHLO c\r\n", "250")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		if _, err := io.Copy(io.Discard, c.in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client %d: %v", i, err)
		}
	}
	s.SetFaults(nil) // does nothing, and does not hang
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestAcceptGoesOnAfterWantOfDescriptors(t *testing.T) {
	s := start(t, Config{})
	gate := make(chan struct{})
	for _, l := range s.loops {
		l.post(func() { <-gate })
	}
	var clients []*client
	highest := 0
	for range 20 {
		c := dial(t, s.Address("a"))
		clients = append(clients, c)
		raw, err := c.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) { highest = max(highest, int(fd)) })
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(highest + 5)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	close(gate)
	smtptest.Eventually(t, patience, func() bool { return s.Stats().Relay("a").AcceptErrors > 0 }, "a failed accept")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.want(t, "", "220")
	}
}

func ExampleStart() {
	s, err := Start(Config{Relays: []Relay{{Name: "a", Address: "127.0.0.1:0"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fault, err := ParseFault(`a: rcpt="452 4.5.3 too many recipients" times=1`)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.SetFaults([]Fault{fault})

	message := mail.NewComposer().Message(mail.ID{Run: 1, Seq: 1}, 1000)
	fmt.Println(deliver(s.Address("a"), &message, false).kind)
	fmt.Println(deliver(s.Address("a"), &message, false).accepted)
	fmt.Println(s.Stats().Relay("a").Faults, s.Receipts().Of(1).Once)
	// Output:
	// rcpt_4xx
	// true
	// map[rcpt_4xx:1] [{1 1}]
}
