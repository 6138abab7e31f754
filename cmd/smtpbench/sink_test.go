package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/bench/sink"
	"smtplb/internal/smtptest"
)

// sinkRun is a running sink command.
type sinkRun struct {
	stop context.CancelFunc
	out  bytes.Buffer // to be read after wait
	done chan struct{}
	code int

	mu   sync.Mutex // guards errs
	errs strings.Builder
}

// Write is the command's standard error.
func (r *sinkRun) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.Write(p)
}

func (r *sinkRun) notices() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.String()
}

func startSink(t *testing.T, args ...string) *sinkRun {
	t.Helper()
	smtptest.CheckDescriptors(t)
	ctx, stop := context.WithCancel(t.Context())
	r := &sinkRun{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.code = run(ctx, append([]string{"sink"}, args...), streams{strings.NewReader(""), &r.out, r})
	}()
	t.Cleanup(func() { r.wait() })
	return r
}

// address is where a relay, or "control", listens, once it does.
func (r *sinkRun) address(t *testing.T, name string) string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^(?:relay )?` + name + `: (?:http://)?([^\s/]+)`)
	var address string
	smtptest.Eventually(t, 20*time.Second, func() bool {
		found := line.FindStringSubmatch(r.notices())
		if found != nil {
			address = found[1]
		}
		return found != nil
	}, "a line about %s", name)
	return address
}

// wait ends it and returns its status.
func (r *sinkRun) wait() int {
	r.stop()
	<-r.done
	return r.code
}

// feed sends a message of the harness.
func feed(t *testing.T, address string, seq uint64, damage func([]byte)) error {
	t.Helper()
	m := mail.NewComposer().Message(mail.ID{Run: 0xabc, Seq: seq}, 1000)
	var content bytes.Buffer
	if err := m.WriteContent(&content); err != nil {
		t.Fatal(err)
	}
	if damage != nil {
		damage(content.Bytes())
	}
	c, err := smtptest.DialTimeout(address, 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Send(smtptest.Outgoing{Body: content.Bytes()})
}

func readReport(t *testing.T, file string) (r sink.Report) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, text)
	}
	return r
}

func TestSinkTakesMailAndReports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sink.json")
	r := startSink(t, "--relay", "a=127.0.0.1:0", "--relay", "127.0.0.1:0", "--fault", "b: mail=450 times=2", "--control", "127.0.0.1:0", "--json", file)
	for seq := range uint64(3) {
		if err := feed(t, r.address(t, "a"), seq, nil); err != nil {
			t.Fatal(err)
		}
		if err := feed(t, r.address(t, "b"), 10+seq, nil); (err == nil) != (seq == 2) {
			t.Errorf("message %d to b: %v", seq, err)
		}
	}
	response, err := http.Get(fmt.Sprintf("http://%s/runs/%x", r.address(t, "control"), 0xabc))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	var holding mail.Holding
	if err := json.NewDecoder(response.Body).Decode(&holding); err != nil || holding.Total != 4 {
		t.Errorf("%+v, %v", holding, err)
	}
	if first := readReport(t, file); first.Complete {
		t.Errorf("the first report is the last: %+v", first)
	}
	if code := r.wait(); code != exitOK { // a signal is its regular end
		t.Errorf("status %d\n%s", code, r.notices())
	}
	for _, want := range []string{"relay  connections", "mail_4xx 2", "2          b: mail=450 times=2", "run 0000000000000abc: 4 messages, 4 different"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("no %q in\n%s", want, r.out.String())
		}
	}
	last := readReport(t, file)
	if !last.Complete || last.Version != fullVersion() || last.Relays[0].Messages != 3 || last.Relays[1].Faults["mail_4xx"] != 2 {
		t.Errorf("%+v", last)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("beside the report lie %v, %v", left, err)
	}
}

func TestSinkStopsByItself(t *testing.T) {
	r := startSink(t, "--relay", "127.0.0.1:0", "--for", "10ms", "--json", "-")
	<-r.done
	var report sink.Report
	if err := json.Unmarshal(r.out.Bytes(), &report); err != nil || !report.Complete || len(report.Relays) != 1 || r.code != exitOK {
		t.Errorf("status %d, %v, %s", r.code, err, r.out.String())
	}
}

func TestSinkReportsWhenItIsInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sink.json")
	r := startSink(t, "--relay", "a=127.0.0.1:0", "--for", "1h", "--json", file)
	if err := feed(t, r.address(t, "a"), 1, nil); err != nil {
		t.Fatal(err)
	}
	open := smtptest.Dial(t, r.address(t, "a"))
	if _, err := open.Greeting(); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(); code != exitInterrupted || !strings.Contains(r.notices(), "interrupted") {
		t.Errorf("status %d\n%s", code, r.notices())
	}
	if got := readReport(t, file); got.Complete || got.Relays[0].Messages != 1 || got.Relays[0].Open != 1 {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(r.out.String(), "run 0000000000000abc: 1 messages") {
		t.Errorf("%s", r.out.String())
	}
}

func TestSinkFindsDamage(t *testing.T) {
	r := startSink(t, "--relay", "a=127.0.0.1:0")
	if err := feed(t, r.address(t, "a"), 1, func(content []byte) { content[900] ^= 1 }); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(); code != exitFindings || !strings.Contains(r.out.String(), "1 corrupt") {
		t.Errorf("status %d\n%s", code, r.out.String())
	}
}

func TestSinkReadsAScriptAndSpeaksTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults.yaml")
	const script = "relays:\n- {name: a, address: \"127.0.0.1:0\"}\nfaults:\n- {relay: a, starttls: 454, times: 1}\n"
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startSink(t, "--script", file, "--tls", "--fault", "noop=500")
	conn, err := net.Dial("tcp", r.address(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "EHLO c\r\nSTARTTLS\r\nNOOP\r\nSTARTTLS\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(conn) // the end comes within the handshake
	for _, want := range []string{"250 STARTTLS\r\n", "454 ", "500 ", "220 2.0.0 go ahead"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestSinkReadsAScriptFromStandardInput(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"sink", "--script", "-"}, streams{strings.NewReader("faults: 3\n"), &out, &errs})
	if want := `standard input:1: faults: "3": must be a list`; code != exitError || !strings.Contains(errs.String(), want) {
		t.Errorf("status %d, no %q in\n%s", code, want, errs.String())
	}
}

func TestSinkSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := write("bad.yaml", "faults:\n- {greeting: 421}\n- {greting: 421}\n- {mail: 250, at: 3}\n")
	noCert := write("cert.pem", "no certificate")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"a script with errors", []string{"--script", bad}, []string{
			bad + `:3: faults[1].greting: "421": unknown key`, bad + `:4: faults[2].mail: "250": must be`, bad + `:4: faults[2].at: "3": must be a time`,
		}},
		{"no script", []string{"--script", filepath.Join(dir, "none")}, []string{"--script: open " + filepath.Join(dir, "none") + ": no such file"}},
		{"everything at once", []string{"--script", bad, "--relay", "x", "--fault", "q", "--loops", "0", "--for", "-1s", "--control", "0.0.0.0:1"}, []string{
			bad + ":3", `--relay "x": address`, `--fault "q"`, "--loops 0", "--for -1s", "--control 0.0.0.0:1: other machines",
		}},
		{"a port in use", []string{"--relay", "a=" + busy, "--relay", "b=127.0.0.1:0"}, []string{"relay a: listen on " + busy + ": bind: address already in use"}},
		{"a control port in use", []string{"--relay", "127.0.0.1:0", "--control", busy}, []string{"--control: listen tcp " + busy, "address already in use"}},
		{"no control address", []string{"--control", "localhost"}, []string{`--control "localhost": must be IP:port`}},
		{"remote control of nothing", []string{"--control-remote"}, []string{"--control-remote: has no meaning without --control"}},
		{"half a certificate", []string{"--cert", "x"}, []string{"--cert and --key"}},
		{"no certificate", []string{"--cert", noCert, "--key", noCert}, []string{"--cert " + noCert}},
		{"a report nowhere", []string{"--relay", "127.0.0.1:0", "--json", filepath.Join(dir, "no", "report")}, []string{"--json: open " + dir}},
		{"an argument", []string{"127.0.0.1:25"}, []string{"unknown command"}},
		{"an unknown flag", []string{"--relays", "x"}, []string{"unknown flag: --relays"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := startSink(t, test.args...)
			<-r.done
			if r.code != exitError || r.out.Len() > 0 {
				t.Errorf("status %d, printed %q", r.code, r.out.String())
			}
			for _, want := range test.want {
				if !strings.Contains(r.notices(), want) {
					t.Errorf("no %q in\n%s", want, r.notices())
				}
			}
		})
	}
}
