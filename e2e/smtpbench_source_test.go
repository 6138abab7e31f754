package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// smtpbenchBinary is built by the first test that needs it, beside the others,
// and is removed with them. The race detector is for its own tests.
var smtpbenchBinary = sync.OnceValues(func() (string, error) {
	to := filepath.Join(filepath.Dir(released), "smtpbench")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version="+testVersion, "-o", to, "smtplb/cmd/smtpbench")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return to, nil
})

func smtpbench(t *testing.T) string {
	t.Helper()
	binary, err := smtpbenchBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// benchRun is the source's result, as any reader of JSON sees it.
type benchRun struct {
	Complete bool
	Version  string
	Sessions struct{ Started, OK, Failed, Cut, Dropped int64 }
	Messages struct{ Accepted, Refused, Unsure, Unsent int64 }
	Failures []struct {
		Class, Stage, Reply string
		Count               int64
	}
	Integrity *struct{ Accepted, Unsure, Delivered, Lost, Duplicated, Corrupted, Unexpected int64 }
}

// benchSource is one run of smtpbench source.
type benchSource struct {
	cmd       *exec.Cmd
	out, errs bytes.Buffer
	file      string // with the JSON
}

func startBenchSource(t *testing.T, args ...string) *benchSource {
	t.Helper()
	s := &benchSource{file: filepath.Join(t.TempDir(), "run.json")}
	s.cmd = exec.Command(smtpbench(t), append([]string{"source", "--json", s.file}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.errs
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // fails when it is over, as it should be
	return s
}

// wait returns the exit status and the result.
func (s *benchSource) wait(t *testing.T) (status int, r benchRun) {
	t.Helper()
	kill := time.AfterFunc(4*patience, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait() // the status tells
	text, err := os.ReadFile(s.file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatalf("no result: %v\n%s%s", err, s.out.String(), s.errs.String())
	}
	if t.Failed() {
		t.Logf("%s%s", s.out.String(), s.errs.String())
	}
	return s.cmd.ProcessState.ExitCode(), r
}

func TestSourceSendsAsExchangeThroughTheBalancer(t *testing.T) {
	relays := []*smtptest.Relay{smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})}
	p := start(t, site{backends: []string{backend("relay-a", relays[0].Addr()), backend("relay-b", relays[1].Addr())}, pool: quick})
	source := startBenchSource(t, "--profile", "exchange", "--messages", "1000", p.address)
	status, r := source.wait(t)
	if status != 0 || !r.Complete || r.Version != testVersion || r.Messages.Accepted != 1000 || r.Sessions.Failed != 0 {
		t.Errorf("status %d, %+v", status, r)
	}
	if n := relays[0].MessageCount() + relays[1].MessageCount(); n != 1000 {
		t.Errorf("%d messages at the relays, want 1000", n)
	}
	for _, word := range []string{"20 clients, 20 messages to a session", "p99.99", "no failures"} {
		if !strings.Contains(source.out.String(), word) {
			t.Errorf("no %q in the report:\n%s", word, source.out.String())
		}
	}
}

func TestSourceSeesNoFaultOfOneRelay(t *testing.T) {
	good, bad := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{Greeting: "421 4.3.2 busy\r\n"})
	p := start(t, site{backends: []string{backend("good", good.Addr()), backend("bad", bad.Addr())}, pool: unchecked})
	page := filepath.Join(t.TempDir(), "page.html")
	status, r := startBenchSource(t, "--rate", "100", "--sessions", "200", "--html", page, p.address).wait(t)
	if status != 0 || r.Sessions.OK != 200 || r.Sessions.Dropped != 0 || good.MessageCount() != 200 {
		t.Errorf("status %d, %+v, %d messages", status, r, good.MessageCount())
	}
	if bad.Connections() == 0 {
		t.Error("the bad relay was never asked")
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("</html>")) {
		t.Errorf("%v, a page of %d bytes", err, len(text))
	}
}

func TestSourceTellsTheRepliesOfABalancerWithoutRelays(t *testing.T) {
	p := start(t, site{backends: []string{backend("gone", freeAddress(t, "127.0.0.1"))}, pool: unchecked})
	source := startBenchSource(t, "--sessions", "20", p.address)
	status, r := source.wait(t)
	if status != 2 || r.Sessions.Failed != 20 || r.Messages.Unsent != 20 || len(r.Failures) != 1 {
		t.Fatalf("status %d, %+v", status, r)
	}
	// Twenty replies with twenty session IDs are one failure.
	if f := r.Failures[0]; f.Class != "greeting_4xx" || f.Stage != "greeting" || f.Count != 20 || !strings.HasPrefix(f.Reply, "421 4.3.2 ") {
		t.Errorf("%+v", f)
	}
	if !strings.Contains(source.out.String(), "421 4.3.2") {
		t.Errorf("the report does not show the reply:\n%s", source.out.String())
	}
}

func TestSourceIsInterruptedAndReports(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	source := startBenchSource(t, "-c", "5", relay.Addr().String())
	smtptest.Eventually(t, patience, func() bool { return relay.MessageCount() >= 20 }, "20 messages")
	if err := source.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	status, r := source.wait(t)
	if status != 130 || r.Complete || r.Messages.Accepted != int64(relay.MessageCount()) || r.Messages.Unsure+r.Messages.Unsent > 0 {
		t.Errorf("status %d, %+v, %d messages at the relay", status, r, relay.MessageCount())
	}
	if !strings.Contains(source.out.String(), "cut short") {
		t.Errorf("the report does not say that it is partial:\n%s", source.out.String())
	}
}

func TestSourceSaysWhatIsWrongWithItsTargets(t *testing.T) {
	for want, target := range map[string]string{"no host name": ":25", "no port number": "127.0.0.1:smtp"} {
		out, err := exec.Command(smtpbench(t), "source", target).CombinedOutput()
		if code := exitCode(err); code != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%q: status %d: %s", target, code, out)
		}
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
		return exit.ExitCode()
	}
	return -1
}

// TestSourceAndPostfixCountAlike: smtp-sink was written by somebody else.
func TestSourceAndPostfixCountAlike(t *testing.T) {
	for name, args := range map[string][]string{
		"lock-step": {"-c", "10"},
		"Exchange":  {"--profile", "exchange", "--size", "1KB-64KB"},
	} {
		t.Run(name, func(t *testing.T) {
			address := freeAddress(t, "127.0.0.1")
			sink := startSink(t, address)
			status, r := startBenchSource(t, append(args, "--messages", "500", address.String())...).wait(t)
			if status != 0 || r.Messages.Accepted != 500 || len(r.Failures) > 0 {
				t.Errorf("status %d, %+v", status, r)
			}
			smtptest.Eventually(t, patience, func() bool { return sink.messages() == 500 }, "500 messages at smtp-sink, it has %d", sink.messages())
		})
	}
}

// TestSourceAndSinkAgreeOnWhatWasUnsure: behind the balancer a relay resets
// connections where the reply to a message would stand, having taken it or not
// (RFC 1047). The source tries again, and in the end nothing is lost, and
// nothing twice that it did not know might be.
func TestSourceAndSinkAgreeOnWhatWasUnsure(t *testing.T) {
	relays := []string{freeAddress(t, "127.0.0.1").String(), freeAddress(t, "127.0.0.1").String()}
	control := freeAddress(t, "127.0.0.1").String()
	sink := exec.Command(smtpbench(t), "sink", "--relay", "a="+relays[0], "--relay", "b="+relays[1], "--control", control,
		"--fault", "a: content=reset times=20", "--fault", "b: content=reset kept=true times=20")
	sink.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	sink.Stdout, sink.Stderr = &log, &log
	if err := sink.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sink.Process.Kill()
		_ = sink.Wait()
	}()
	smtptest.Eventually(t, patience, func() bool {
		conn, err := net.DialTimeout("tcp", control, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "the sink answers")
	p := start(t, site{backends: []string{
		fmt.Sprintf("{name: a, address: %q}", relays[0]), fmt.Sprintf("{name: b, address: %q}", relays[1]),
	}, pool: quick})
	status, r := startBenchSource(t, "--messages", "400", "--messages-per-session", "3", "--retry", "100", "--retry-pause", "10ms",
		"--sink", control, p.address).wait(t)
	v := r.Integrity
	if status != 2 || v == nil || r.Messages.Accepted != 400 { // sessions failed, so not all went well
		t.Fatalf("status %d, %+v\n%s", status, r, log.String())
	}
	if v.Accepted != 400 || v.Unsure == 0 || v.Delivered != 400 || v.Lost+v.Duplicated+v.Corrupted+v.Unexpected != 0 {
		t.Errorf("%+v", *v)
	}
	if len(r.Failures) != 1 || r.Failures[0].Class != "reset" || r.Failures[0].Stage != "content" || r.Failures[0].Count != v.Unsure {
		t.Errorf("failures %+v, %d unsure", r.Failures, v.Unsure)
	}
}
