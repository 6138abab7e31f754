package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// sinkReport is what smtpbench sink writes as JSON, as far as it matters here.
type sinkReport struct {
	Complete bool
	Version  string
	Relays   []struct {
		Name                                                     string
		Connections, Sessions, Messages, Bytes, Foreign, Corrupt int64
		Faults                                                   map[string]int64
	}
	Faults []struct {
		Fault           string
		Injected, Begun int64
	}
	Runs []struct{ Messages, Distinct, Several int64 }
}

// benchSink is one run of smtpbench sink.
type benchSink struct {
	cmd  *exec.Cmd
	file string // with the JSON
	out  bytes.Buffer
	errs output
}

func startBenchSink(t *testing.T, args ...string) *benchSink {
	t.Helper()
	s := &benchSink{file: filepath.Join(t.TempDir(), "sink.json")}
	s.cmd = exec.Command(smtpbench(t), append([]string{"sink", "--json", s.file}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.errs
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // fails when it is over, as it should be
	return s
}

// address is where a relay, or "control", listens, once it does.
func (s *benchSink) address(t *testing.T, name string) string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^(?:relay )?` + name + `: (?:http://)?([^\s/]+)`)
	var address string
	smtptest.Eventually(t, patience, func() bool {
		found := line.FindStringSubmatch(s.errs.text())
		if found != nil {
			address = found[1]
		}
		return found != nil
	}, "a line about %s in %s", name, s.errs.text())
	return address
}

// stop returns the exit status and the report.
func (s *benchSink) stop(t *testing.T) (status int, r sinkReport) {
	t.Helper()
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
	kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait() // the status tells
	text, err := os.ReadFile(s.file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatalf("no report: %v\n%s%s", err, s.out.String(), s.errs.text())
	}
	return s.cmd.ProcessState.ExitCode(), r
}

// Programs written by others send to it, lock-step and pipelined.
func TestSinkTakesTheMailOfOtherPrograms(t *testing.T) {
	source, swaks := find(t, "smtp-source"), find(t, "swaks")
	sink := startBenchSink(t, "--relay", "a=127.0.0.1:0")
	address := sink.address(t, "a")
	for _, command := range [][]string{
		{source, "-s", "10", "-m", "300", "-l", "5000", address},
		{source, "-d", "-s", "10", "-m", "300", "-l", "70000", address}, // many messages in a session
		{swaks, "--silent", "2", "--pipeline", "--server", address, "--from", "anna@example.com", "--to", "bert@example.com,carl@example.com"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	status, r := sink.stop(t)
	if status != 0 || !r.Complete || r.Version != testVersion || r.Relays[0].Messages != 601 || r.Relays[0].Foreign != 601 {
		t.Errorf("status %d, %+v", status, r)
	}
	if !strings.Contains(sink.out.String(), "601") {
		t.Errorf("printed\n%s", sink.out.String())
	}
}

// The question to a harness: do both ends tell the same story? Every failure of
// the source is a fault of the sink, of that kind, and every fault a failure.
func TestSourceReportsExactlyTheFaultsOfTheSink(t *testing.T) {
	script := filepath.Join(t.TempDir(), "faults.yaml")
	const text = `
relays:
  - {name: a, address: "127.0.0.1:0"}
  - {name: b, address: "127.0.0.1:0"}
faults:
  - {relay: a, greeting: 421, probability: 5%}
  - {greeting: 554, probability: 5%}
  - {greeting: close, probability: 5%}
  - {relay: b, greeting: reset, probability: 5%}
  - {greeting: not_smtp, probability: 2%}
  - {ehlo: 421, probability: 2%}
  - {mail: "450 4.7.1 slow down", probability: 5%}
  - {rcpt: 550, probability: 5%}
  - {rcpt: close, delay: 5ms, probability: 2%}
  - {data: reset, probability: 2%}
  - {relay: b, content: 452, probability: 5%}
  - {content: close, probability: 2%}
  - {content: reset, kept: true, probability: 2%}
  - {greeting: multi_line, probability: 20%}
  - {greeting: byte_by_byte, pause: 1ms, probability: 2%}
  - {content: 5ms, probability: 20%}
seed: 3
`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := startBenchSink(t, "--script", script, "--control", "127.0.0.1:0")
	source := startBenchSource(t, "-c", "10", "--sessions", "2000", "--sink", sink.address(t, "control"), sink.address(t, "a"), sink.address(t, "b"))
	_, run := source.wait(t)
	_, r := sink.stop(t)

	met := make(map[string]int64)
	for _, f := range run.Failures {
		met[kindOf(f.Class, f.Stage)] += f.Count
	}
	injected := make(map[string]int64)
	for _, relay := range r.Relays {
		for kind, n := range relay.Faults {
			injected[kind] += n
		}
	}
	for _, harmless := range []string{"greeting_multi_line", "greeting_byte_by_byte", "content_delay"} {
		if injected[harmless] == 0 {
			t.Errorf("no %s", harmless)
		}
		delete(injected, harmless)
	}
	if !maps.Equal(met, injected) {
		t.Errorf("the source met   %v\nthe sink injected %v", met, injected)
	}
	for _, f := range r.Faults {
		if f.Injected == 0 {
			t.Errorf("%s never struck", f.Fault)
		}
	}
	v := run.Integrity
	if v == nil || v.Lost+v.Duplicated+v.Corrupted+v.Unexpected != 0 || v.Accepted == 0 || v.Unsure != injected["content_closed"]+injected["content_reset"] {
		t.Errorf("%+v", v)
	}
}

// kindOf is a failure of the source in the words of the sink.
func kindOf(class, stage string) string {
	class = strings.TrimPrefix(strings.TrimPrefix(class, "reply_"), "greeting_")
	switch {
	case class == "not_smtp":
		return class
	case class == "reset" && stage == "connect": // it was fast enough to meet the client there
		stage = "greeting"
	}
	return stage + "_" + class
}

func TestSinkKeepsToItsSchedule(t *testing.T) {
	sink := startBenchSink(t, "--relay", "a=127.0.0.1:0", "--fault", "a: connect=refuse at=500ms for=500ms")
	address := sink.address(t, "a")
	refused := func() bool {
		conn, err := net.DialTimeout("tcp", address, patience)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}
	smtptest.Eventually(t, patience, refused, "a relay that refuses")
	smtptest.Eventually(t, patience, func() bool { return !refused() }, "a relay that is back")
	if _, r := sink.stop(t); len(r.Faults) != 1 || r.Faults[0].Begun != 1 {
		t.Errorf("%+v", r)
	}
}

func TestSinkIsCutOffAndReports(t *testing.T) {
	sink := startBenchSink(t, "--relay", "a=127.0.0.1:0", "--for", "1h")
	out, err := exec.Command(find(t, "smtp-source"), "-m", "20", sink.address(t, "a")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	status, r := sink.stop(t)
	if status != 130 || r.Complete || r.Relays[0].Messages != 20 {
		t.Errorf("status %d, %+v", status, r)
	}
	if !strings.Contains(sink.out.String(), "connections") {
		t.Errorf("printed\n%s", sink.out.String())
	}
}

// A kill leaves the report of a moment ago, whole.
func TestSinkThatIsKilledLeavesAReport(t *testing.T) {
	sink := startBenchSink(t, "--relay", "a=127.0.0.1:0")
	out, err := exec.Command(find(t, "smtp-source"), "-m", "20", sink.address(t, "a")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r sinkReport
	smtptest.Eventually(t, patience, func() bool {
		text, err := os.ReadFile(sink.file)
		return err == nil && json.Unmarshal(text, &r) == nil && r.Relays[0].Messages == 20
	}, "a report of all messages")
	_ = sink.cmd.Process.Kill()
	_ = sink.cmd.Wait()
	if text, err := os.ReadFile(sink.file); err != nil || json.Unmarshal(text, &r) != nil || r.Complete {
		t.Errorf("%v, %s", err, text)
	}
}

func TestSinkSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	script := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(script, []byte("faults:\n- {greting: 421}\n- {mail: 250}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		fmt.Sprintf("relay a: listen on %s: bind: address already in use", busy.Addr()): {"--relay", busy.Addr().String()},
		script + `:2: faults[0].greting: "421": unknown key`:                            {"--script", script},
		script + `:3: faults[1].mail: "250": must be a reply such as 421`:               {"--script", script},
	} {
		out, err := exec.Command(smtpbench(t), append([]string{"sink"}, args...)...).CombinedOutput()
		if code := exitCode(err); code != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%v: status %d, no %q in\n%s", args, code, want, out)
		}
	}
}
