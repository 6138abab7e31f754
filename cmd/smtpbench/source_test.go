package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"smtplb/bench/mail"
	"smtplb/bench/result"
	"smtplb/bench/source"
	"smtplb/internal/smtptest"
)

// sent is what a run of the source has left.
type sent struct {
	status    int
	out, errs string
}

func runSource(ctx context.Context, args ...string) sent {
	var out, errs bytes.Buffer
	status := run(ctx, append([]string{"source"}, args...), streams{strings.NewReader(""), &out, &errs})
	return sent{status, out.String(), errs.String()}
}

// want checks the status, and that each text is in what was printed.
func (s sent) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if s.status != status {
		t.Errorf("status %d, want %d", s.status, status)
	}
	for _, text := range texts {
		if !strings.Contains(s.out+s.errs, text) {
			t.Errorf("no %q in:\n%s%s", text, s.out, s.errs)
		}
	}
}

func TestSourceReportsForPeopleProgramsAndBrowsers(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	dir := t.TempDir()
	jsonFile, htmlFile := filepath.Join(dir, "run.json"), filepath.Join(dir, "run.html")
	address := relay.Addr().String()
	got := runSource(t.Context(), "-m", "40", "--messages-per-session", "4", "-c", "1", "--json", jsonFile, "--html", htmlFile, address)
	got.want(t, exitOK, address+": closed model, 1 client, 4 messages to a session, sizes 4KB", "10 ok", "40 accepted", "p99.99", "greeting", "no failures")
	var r result.Run
	text, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Messages.Accepted != 40 || r.Sessions.OK != 10 || r.Version != version || !r.Complete || r.Integrity != nil {
		t.Errorf("%v: %s", err, text)
	}
	page, err := os.ReadFile(htmlFile)
	if err != nil || !bytes.Contains(page, []byte("</html>")) || !bytes.Contains(page, []byte(address)) {
		t.Errorf("%v, a page of %d bytes", err, len(page))
	}
}

func TestSourceWritesJSONAloneToStandardOutput(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	got := runSource(t.Context(), "-m", "1", "--rate", "1000", "--json", "-", relay.Addr().String())
	var r result.Run
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || r.Model != "open" || got.status != exitOK {
		t.Errorf("status %d, %v: %s", got.status, err, got.out)
	}
	if !strings.Contains(got.errs, "open model, 1000 sessions/s due, 1 message to a session") {
		t.Errorf("the report for people is not on standard error: %s", got.errs)
	}
}

func TestSourceTellsEveryFailure(t *testing.T) {
	refusing := smtptest.Start(t, smtptest.Script{Greeting: "554 5.7.1 relay.test no service for you\r\n"})
	runSource(t.Context(), "-m", "3", refusing.Addr().String()).want(t, exitFindings,
		"3 failed", "3 unsent", "greeting_5xx  greeting  554 5.7.1 relay.test no service for you", "smtpbench: not all went well")
	refusing.Stop()
	runSource(t.Context(), "-m", "1", refusing.Addr().String()).want(t, exitFindings, "refused  connect", "connection refused")
	good := smtptest.Start(t, smtptest.Script{})
	runSource(t.Context(), "-m", "4", "-c", "1", good.Addr().String(), refusing.Addr().String()).want(t, exitFindings,
		"2 ok, 2 failed", "refused  connect "+refusing.Addr().String())
}

func TestSourceSaysEverythingThatIsWrongWithItsFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"no target"}},
		{[]string{"--size", "1", "--recipients", "0", "--local", "x", "--profile", "sendmail", "-c", "3", "--rate", "1", "a:b"},
			[]string{`size "1"`, `recipients "0"`, `local address "x"`, `profile "sendmail"`, "--rate and --concurrency", `target "a:b"`}},
		{[]string{"--rate", "0", "-m", "-1", "127.0.0.1"}, []string{"rate 0: want", "messages -1: must not"}},
		{[]string{"--rate", "-1", "127.0.0.1"}, []string{"rate -1: must not be negative"}},
		{[]string{"-c", "0", "127.0.0.1"}, []string{"exactly one"}},
		{[]string{"--idle", "5", "--json", "-", "127.0.0.1"}, []string{"--idle sends and measures nothing"}},
		{[]string{"--idle", "-5", "127.0.0.1"}, []string{"idle -5"}},
		{[]string{"--for", "10", "127.0.0.1"}, []string{"--for"}},
		{[]string{"--concurency", "10", "127.0.0.1"}, []string{"unknown flag: --concurency"}},
		{[]string{"--html", "/nonexistent/page.html", "127.0.0.1"}, []string{"/nonexistent/page.html"}},
		{[]string{"--sink", "127.0.0.1", "127.0.0.1"}, []string{`sink "127.0.0.1"`, "want host:port"}},
	} {
		got := runSource(t.Context(), test.args...)
		got.want(t, exitError, test.want...)
		if got.out != "" {
			t.Errorf("%q: %q on standard output", test.args, got.out)
		}
	}
}

func TestSourceReportsWhenItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	relay := smtptest.Start(t, smtptest.Script{})
	relay.SetScript(smtptest.Script{OnMessage: func(smtptest.Message) {
		if relay.MessageCount() >= 5 {
			interrupt()
		}
	}})
	jsonFile, htmlFile := filepath.Join(t.TempDir(), "run.json"), filepath.Join(t.TempDir(), "run.html")
	runSource(ctx, "-c", "1", "--json", jsonFile, "--html", htmlFile, relay.Addr().String()).want(t, exitInterrupted,
		"cut short", "5 accepted", "The run was interrupted", "smtpbench: interrupted")
	var r result.Run
	text, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Complete || r.Messages.Accepted != 5 {
		t.Errorf("%v: %s", err, text)
	}
	if page, err := os.ReadFile(htmlFile); err != nil || !bytes.Contains(page, []byte("</html>")) {
		t.Errorf("%v, a page of %d bytes", err, len(page))
	}
}

// endpoint answers like the control endpoint of a sink that has the messages of a
// relay, but for the first ones.
func endpoint(t *testing.T, relay *smtptest.Relay, without int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run, err := strconv.ParseUint(strings.TrimPrefix(r.URL.Path, "/runs/"), 16, 64)
		if err != nil {
			t.Error(err)
		}
		var receipts mail.Receipts
		for i, m := range relay.Messages() {
			if i < without {
				continue
			}
			var checker mail.Checker
			_, _ = checker.Write(m.Data) // never fails
			receipts.Add(checker.Arrival())
		}
		if err := json.NewEncoder(w).Encode(receipts.Of(run)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestSourceHoldsItsMessagesAgainstTheSinks(t *testing.T) {
	for without, status := range map[int]int{0: exitOK, 2: exitFindings} {
		relay := smtptest.Start(t, smtptest.Script{KeepData: true})
		got := runSource(t.Context(), "-m", "10", "--sink", endpoint(t, relay, without), relay.Addr().String())
		got.want(t, status, "integrity: 10 accepted, 0 unsure, "+strconv.Itoa(10-without)+" delivered; "+strconv.Itoa(without)+" lost, 0 duplicated")
	}
}

func TestSourceSaysIfTheSinkIsGoneAtTheEndAndReportsAllTheSame(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	answers := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers++; answers > 1 {
			http.Error(w, "going down", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"run":"` + mustDecimal(r.URL.Path) + `"}`))
	}))
	defer server.Close()
	runSource(t.Context(), "-m", "1", "--sink", strings.TrimPrefix(server.URL, "http://"), relay.Addr().String()).want(t, exitError,
		"1 accepted", "What arrived is not known", "503 Service Unavailable")
}

func mustDecimal(path string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(path, "/runs/"), 16, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func TestSourceHoldsIdleSessions(t *testing.T) {
	relay := smtptest.Start(t, smtptest.Script{})
	runSource(t.Context(), "--idle", "20", "--for", "1ms", relay.Addr().String()).want(t, exitOK, "20 sessions are open")
	if relay.Connections() != 20 || relay.MessageCount() != 0 {
		t.Errorf("%d connections, %d messages", relay.Connections(), relay.MessageCount())
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	time.AfterFunc(time.Millisecond, interrupt)
	runSource(ctx, "--idle", "1", relay.Addr().String()).want(t, exitInterrupted)
}

// config is what a command line makes of the source's configuration.
func config(t *testing.T, args ...string) source.Config {
	t.Helper()
	cmd, o := sourceCommand(streams{})
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config(cmd.Flags().Args())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestFlagsOverrideTheProfile(t *testing.T) {
	cfg := config(t, "--profile", "exchange", "a:25", "b:25")
	if cfg.Concurrency != 40 || cfg.MessagesPerSession != 20 || !cfg.Pipelining || !cfg.BDAT || cfg.Size != source.MixedSizes() ||
		cfg.Recipients != source.MixedRecipients() || cfg.Duration != 30*time.Second || cfg.Rate != 0 {
		t.Errorf("%+v", cfg)
	}
	cfg = config(t, "--profile", "exchange", "--messages-per-session", "5", "--pipelining=false", "--size", "1KB", "--rate", "3", "--sessions", "9", "a:25")
	if cfg.Concurrency != 0 || cfg.Rate != 3 || cfg.MessagesPerSession != 5 || cfg.Pipelining || !cfg.BDAT || cfg.Size != source.FixedSize(1024) || cfg.Duration != 0 {
		t.Errorf("%+v", cfg)
	}
	if cfg = config(t, "a:25"); cfg.Concurrency != 20 || cfg.MessagesPerSession != 1 || cfg.BDAT || cfg.Ledger != nil {
		t.Errorf("%+v", cfg)
	}
}

func TestProgressIsOneLineOnATerminalAndFewLinesElsewhere(t *testing.T) {
	second := func(p *progress, n int) {
		for i := range n {
			p.second(result.Second{AtS: float64(i + 1), Sessions: 10, Messages: 20, Bytes: 2e6, Failures: 1, Open: 3,
				GreetingP50: 1, GreetingP99: 2, MessageP50: 3, MessageP99: 1234})
		}
		p.end()
	}
	var out bytes.Buffer
	second(newProgress(&out, false, time.Minute), 11)
	want := "5/60s  10 sessions/s  20 messages/s  2.00 MB/s  3 open  5 failures  greeting p50 1.000 p99 2.000 ms  message p50 3.000 p99 1234 ms\n"
	if want += strings.Replace(strings.Replace(want, "5/60s", "10/60s", 1), "5 failures", "10 failures", 1); out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	second(newProgress(&out, true, time.Minute), 11)
	if out.Len() > 0 {
		t.Errorf("quiet: %q", out.String())
	}
	for width, want := range map[int]string{
		200: "\r1s  10 sessions/s  20 messages/s  2.00 MB/s  3 open  1 failures  greeting p50 1.000 p99 2.000 ms  message p50 3.000 p99 1234 ms\x1b[K\r\x1b[K",
		80:  "\r1s 10 sess/s 20 msg/s 3 open 1 failed, p99: greeting 2.000 message 1234 ms\x1b[K\r\x1b[K",
		20:  "\r1s 10 sess/s 20 msg\x1b[K\r\x1b[K",
	} {
		out.Reset()
		p := newProgress(&out, false, 0)
		p.terminal, p.width = true, func() int { return width }
		second(p, 1)
		if out.String() != want {
			t.Errorf("%d columns: %q, want %q", width, out.String(), want)
		}
	}
}
