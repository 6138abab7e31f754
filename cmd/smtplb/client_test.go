package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtplb/balancer"
	"smtplb/internal/admin"
	"smtplb/internal/config"
	"smtplb/proxy"
)

// asked is an admin server to be asked, with two pools.
type asked struct {
	*admin.Server
	t              *testing.T
	outbound, bulk *balancer.Pool
	addr           string
	environ        []string // finds it
}

const secret = "correct-horse-battery"

// newAsked starts one; its fields may be set before by change.
func newAsked(t *testing.T, change func(*asked)) *asked {
	t.Helper()
	a := &asked{t: t}
	pool := func(cfg balancer.Config) *balancer.Pool {
		p, err := balancer.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a.outbound = pool(balancer.Config{Name: "outbound", Warm: balancer.Warm{Share: 0.05}, Backends: []balancer.BackendConfig{
		{Name: "relay-a", Weight: 2, Site: "hq"}, {Name: "relay-b", Weight: 1, Site: "hq"}, {Name: "relay-dr", Weight: 1, Priority: 1, Site: "dr"},
	}})
	a.bulk = pool(balancer.Config{Name: "bulk", Backends: []balancer.BackendConfig{{Name: "relay-a", Weight: 1}, {Name: "farm/10.0.0.1", Weight: 1}}})
	a.Server = &admin.Server{
		Address: netip.MustParseAddrPort("127.0.0.1:0"), Version: "v1.2.3",
		Pools: func() []admin.Pool {
			return []admin.Pool{{Balancer: a.outbound, WarmShare: 0.05, Addresses: []string{"10.0.0.1:25"}}, {Balancer: a.bulk}}
		},
		Listeners: func() []admin.Listener {
			return []admin.Listener{{Name: "smarthost", Address: netip.MustParseAddrPort("192.0.2.25:25"), Pool: "outbound", Protocol: "smtp"}}
		},
	}
	if change != nil {
		change(a)
	}
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	t.Cleanup(func() {
		if err := a.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	a.addr = a.Addr().String()
	a.environ = []string{"SMTPLB_ADMIN__ADDRESS=" + a.addr}
	return a
}

// command runs one command line that finds the server by the environment.
func (a *asked) command(args ...string) (status int, out, errs string) {
	a.t.Helper()
	return commandIn(a.t, a.environ, args...)
}

func commandIn(t *testing.T, environ []string, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), args, streams{strings.NewReader(""), &stdout, &stderr}, environ)
	return status, stdout.String(), stderr.String()
}

// holds looks for texts in another, in their order.
func holds(t *testing.T, what, text string, wanted ...string) {
	t.Helper()
	rest := text
	for _, want := range wanted {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Errorf("%s: no %q in its place in\n%s", what, want, text)
			return
		}
		rest = after
	}
}

func TestStatusTellsAPersonAndAScript(t *testing.T) {
	ready := true
	a := newAsked(t, func(a *asked) {
		a.Ready = func() (bool, string) { return ready, map[bool]string{false: "draining"}[ready] }
		a.Names = func() []admin.Name {
			return []admin.Name{
				{Name: "mx:relays.test", Relays: 2, Answered: time.Now().Add(-90 * time.Second)},
				{Name: "relay.test:25", Error: "no such name"},
			}
		}
	})
	a.outbound.Drain(time.Now(), 1)
	status, out, errs := a.command("status")
	if status != exitOK || errs != "" {
		t.Errorf("status %d, errors %q", status, errs)
	}
	holds(t, "status", out, "smtplb v1.2.3 at "+a.addr+": ready, up for ", "LISTENER", "smarthost  192.0.2.25:25  outbound  smtp",
		"pool outbound: new sessions go to tier 0; 5% of them to tier 1, to keep it warm\n", "TIER", "BACKEND", "WHY\n",
		"relay-a   10.0.0.1:25  hq    up", "relay-b", "draining", "drained\n", "relay-dr", "pool bulk:", "farm/10.0.0.1",
		"NAME", "mx:relays.test", "2  1m30s ago\n", "relay.test:25", "0  never", "no such name\n")
	for line := range strings.Lines(out) {
		if len(line) > 121 || strings.HasSuffix(line, " \n") || strings.Contains(line, "\x1b") {
			t.Errorf("not fit for 120 columns, or not plain: %q", line)
		}
	}
	status, out, _ = a.command("status", "--json")
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil || status != exitOK || v["version"] != "v1.2.3" {
		t.Errorf("status %d, %v, %v", status, err, v)
	}
	ready = false
	status, out, errs = a.command("status")
	if status != exitNotReady || errs != "smtplb: not ready: draining\n" {
		t.Errorf("while draining status %d, errors %q", status, errs)
	}
	holds(t, "status", out, "not ready: draining, up for")
	if status, out, _ = a.command("status", "--json"); status != exitNotReady || !json.Valid([]byte(out)) {
		t.Errorf("while draining status %d, %s", status, out)
	}
}

func TestOrdersAreCarriedOutByName(t *testing.T) {
	a := newAsked(t, nil)
	lease, err := a.outbound.Acquire(time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release(time.Now())
	on := lease.Backend().Name()
	state := func(p *balancer.Pool, name string) string {
		for _, b := range p.Snapshot(time.Now()) {
			if b.Name == name {
				return b.State.String()
			}
		}
		return "not there"
	}
	for _, test := range []struct {
		args   []string
		status int
		out    string
		errs   []string
	}{
		{[]string{"drain", "outbound/" + on}, exitOK, "outbound/" + on + ": draining, was up; 1 session on it\n", nil},
		{[]string{"drain", "outbound/" + on}, exitOK, "outbound/" + on + ": draining already; 1 session on it\n", nil},
		{[]string{"enable", "outbound/" + on}, exitOK, "outbound/" + on + ": up, was draining\n", nil},
		{[]string{"disable", "relay-b"}, exitOK, "outbound/relay-b: disabled, was up; no session is on it\n", nil},
		{[]string{"drain", "farm/10.0.0.1"}, exitOK, "bulk/farm/10.0.0.1: draining, was up; no session is on it\n", nil},
		{[]string{"enable", "bulk/farm/10.0.0.1"}, exitOK, "bulk/farm/10.0.0.1: up, was draining\n", nil},
		{[]string{"drain", "relay-a"}, exitError, "", []string{`"relay-a" is ambiguous: it may be outbound/relay-a or bulk/relay-a`}},
		{[]string{"drain", "relay-d"}, exitError, "", []string{`no backend "relay-d"`, "did you mean outbound/relay-a or bulk/relay-a or outbound/relay-b or outbound/relay-dr?"}},
		{[]string{"drain", "outbond/relay-dr"}, exitError, "", []string{"did you mean outbound/relay-dr"}},
		{[]string{"drain", "xyzzy"}, exitError, "", []string{"there are outbound/relay-a or outbound/relay-b"}},
		{[]string{"drain"}, exitUsage, "", []string{"accepts 1 arg", "see: smtplb drain --help"}},
		{[]string{"drain", "relay-b", "--timeout", "1s"}, exitUsage, "", []string{"goes with --wait"}},
		{[]string{"enable", "relay-b", "--wait"}, exitUsage, "", []string{"unknown flag: --wait", "see: smtplb enable --help"}},
	} {
		status, out, errs := a.command(test.args...)
		if status != test.status || out != test.out {
			t.Errorf("%q: status %d, %q, want %d, %q", test.args, status, out, test.status, test.out)
		}
		holds(t, fmt.Sprint(test.args), errs, test.errs...)
	}
	if got := state(a.outbound, "relay-b"); got != "disabled" {
		t.Errorf("relay-b is %s", got)
	}
	status, out, _ := a.command("drain", "relay-dr", "--json")
	var done map[string]any
	if err := json.Unmarshal([]byte(out), &done); err != nil || status != exitOK || done["changed"] != true {
		t.Errorf("status %d, %v, %s", status, err, out)
	}
}

// drain --wait ends when the last session has, and not before.
func TestDrainWaitsForTheLastSession(t *testing.T) {
	a := newAsked(t, nil)
	var leases []balancer.Lease
	for range 2 {
		lease, err := a.bulk.Acquire(time.Now(), []int{1})
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, lease)
	}
	status, _, errs := a.command("drain", "bulk/relay-a", "--wait", "--timeout", "50ms")
	if status != exitError {
		t.Errorf("status %d", status)
	}
	holds(t, "given up", errs, "waiting for 2 sessions", "smtplb: bulk/relay-a: 2 sessions left after 50ms; it stays drained")

	var out, told bytes.Buffer
	o := &ordering{asking: asking{environ: a.environ}, verb: verbs()[0], std: streams{out: &out, err: &told}, wait: true, pace: time.Millisecond}
	done := make(chan error, 1)
	go func() { done <- o.run(t.Context(), "bulk/relay-a") }()
	for i := range leases {
		select {
		case err := <-done:
			t.Fatalf("it ended with %d sessions left: %v", len(leases)-i, err)
		default:
		}
		leases[i].Release(time.Now())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	holds(t, "waited", out.String(), "draining already", "bulk/relay-a: no session is left\n")

	lease, err := a.bulk.Acquire(time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release(time.Now())
	name := "bulk/" + lease.Backend().Name()
	told.Reset()
	o.std.err = onWrite(func() { a.bulk.Enable(time.Now(), lease.Backend().ID()) })
	if err := o.run(t.Context(), name); err == nil || !strings.Contains(err.Error(), "somebody has enabled it") {
		t.Errorf("while it is enabled by another: %v", err)
	}
}

type onWrite func()

func (f onWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestSessionsAreListedForPeopleAndScripts(t *testing.T) {
	var query proxy.SessionQuery
	list := proxy.SessionList{Open: 3, Matched: 2, Sessions: []proxy.Session{{
		ID: "18a0c0ffee000001", Client: netip.MustParseAddrPort("10.0.0.7:40001"), Pool: "outbound", Backend: "relay-dr", Warm: true,
		State: "relaying", Turn: "relay", Duration: 90 * time.Second, Idle: time.Second, BytesUp: 1_234_567, BytesDown: 999,
	}}}
	a := newAsked(t, func(a *asked) {
		a.Sessions = func(_ context.Context, q proxy.SessionQuery) (proxy.SessionList, error) {
			query = q
			return list, nil
		}
	})
	status, out, errs := a.command("sessions", "10.0.0.", "--pool", "outbound", "--backend", "relay-dr", "--limit", "1")
	if status != exitOK || errs != "" {
		t.Errorf("status %d, errors %q", status, errs)
	}
	holds(t, "sessions", out, "ID", "TURN", "DOWN\n", "18a0c0ffee000001  10.0.0.7:40001  outbound/relay-dr (warm)  relaying  relay  1m30s    1s  1.2 MB  999 B\n",
		"1 of the 2 sessions that match, of 3 in all; --limit shows more\n")
	if query.Limit != 1 || query.Match == nil || !query.Match(&list.Sessions[0]) || query.Match(&proxy.Session{Pool: "outbound"}) {
		t.Errorf("asked for %+v", query)
	}
	status, out, _ = a.command("sessions", "--json")
	if status != exitOK || query.Limit != 100 || query.Match != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"bytes_up": 1234567`) {
		t.Errorf("status %d, limit %d, %s", status, query.Limit, out)
	}
	list = proxy.SessionList{}
	if _, out, _ = a.command("sessions"); out != "no session runs\n" {
		t.Errorf("without sessions: %q", out)
	}
	for _, args := range [][]string{{"--limit", "0"}, {"--limit", "1001"}, {"--limit", "x"}, {"a", "b"}} {
		if status, _, _ := a.command(append([]string{"sessions"}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d, want %d", args, status, exitUsage)
		}
	}
}

func TestReloadTellsWhatCameOfIt(t *testing.T) {
	var done admin.Reloaded
	var failed error
	a := newAsked(t, func(a *asked) {
		a.Reload = func(context.Context) (admin.Reloaded, error) { return done, failed }
	})
	if status, out, _ := a.command("reload"); status != exitOK || out != "reloaded: nothing is different\n" {
		t.Errorf("status %d, %q", status, out)
	}
	done = admin.Reloaded{Changes: []string{"log.level: info -> debug"}, NeedsRestart: []string{"workers: 0 -> 2"}}
	if status, out, _ := a.command("reload"); status != exitOK || out != "reloaded:\n  log.level: info -> debug\nneeds a restart:\n  workers: 0 -> 2\n" {
		t.Errorf("status %d, %q", status, out)
	}
	if _, out, _ := a.command("reload", "--json"); !strings.Contains(out, `"log.level: info -> debug"`) {
		t.Errorf("JSON %q", out)
	}
	failed = errors.Join(errors.New("f:1: x"), errors.New("f:2: y"))
	status, out, errs := a.command("reload")
	if status != exitError || out != "" || errs != "smtplb: the configuration was refused and nothing changed: errors has every mistake\nf:1: x\nf:2: y\n" {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	failed = admin.ErrNoFile
	if status, _, errs := a.command("reload"); status != exitError || !strings.Contains(errs, "no configuration file") {
		t.Errorf("status %d, %q", status, errs)
	}
}

// write makes a file of the test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheTokenIsFoundOrAskedFor(t *testing.T) {
	a := newAsked(t, func(a *asked) { a.Token = secret })
	right, wrong, none := write(t, "token", secret+"\n"), write(t, "wrong", "other"), filepath.Join(t.TempDir(), "none")
	file := write(t, "smtplb.yaml", fmt.Sprintf("admin: {address: %q, token_file: %q}\nnot: finished\n", a.addr, right))
	lost := write(t, "lost.yaml", fmt.Sprintf("admin: {address: %q, token_file: %q}\n", a.addr, none))
	for _, test := range []struct {
		args   []string
		status int
		errs   []string
	}{
		{[]string{"status"}, exitOK, nil},
		{[]string{"drain", "relay-b"}, exitError, []string{"wants the token: give --token-file FILE"}},
		{[]string{"drain", "relay-b", "--token-file", wrong}, exitError, []string{"refused the token of " + wrong, "admin.token_file"}},
		{[]string{"status", "--token-file", none}, exitError, []string{"--token-file: open " + none + ": no such file"}},
		{[]string{"drain", "relay-b", "--token-file", right}, exitOK, nil},
		{[]string{"enable", "relay-b", "--config", file}, exitOK, nil},
		{[]string{"status", "--config", lost}, exitOK, nil},
		{[]string{"drain", "relay-b", "--config", lost}, exitError, []string{"wants the token, and it cannot be read: open " + none}},
		{[]string{"status", "--config", none}, exitError, []string{none + ": cannot be read: no such file", "--address"}},
		{[]string{"status", "--config", write(t, "bad.yaml", "admin: {token_file: [1]}\n")}, exitError, []string{"bad.yaml:1: admin.token_file"}},
	} {
		status, _, errs := commandIn(t, a.environ, test.args...)
		if status != test.status || strings.Contains(errs, secret) {
			t.Errorf("%q: status %d, want %d: %s", test.args, status, test.status, errs)
		}
		holds(t, fmt.Sprint(test.args), errs, test.errs...)
	}
	environ := append([]string{"SMTPLB_ADMIN__TOKEN_FILE=" + right}, a.environ...)
	if status, _, errs := commandIn(t, environ, "drain", "relay-b"); status != exitOK {
		t.Errorf("with the token's file in the environment: %d, %s", status, errs)
	}
}

func TestWhoeverElseAnswersIsNamed(t *testing.T) {
	page := func(kind, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	smtp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { smtp.Close() })
	go func() {
		for {
			conn, err := smtp.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 relay ESMTP\r\n"))
			conn.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plain := newAsked(t, nil)
	for _, test := range []struct {
		address string
		args    []string
		want    string
	}{
		{page("text/html", "<h1>nginx</h1>"), []string{"status"}, "is no smtplb: it answered 200 OK"},
		{page("application/json", `{"status":"green"}`), []string{"status"}, "is no smtplb: its status is another program's"},
		{page("application/json", `{"status":"green"}`), []string{"sessions"}, "is no smtplb: its sessions"},
		{page("application/json", `[]`), []string{"reload"}, "is no smtplb: its answer"},
		{page("application/problem+json", `{}`), []string{"drain", "x"}, "is no smtplb"},
		{smtp.Addr().String(), []string{"status"}, "is no smtplb: it does not speak HTTP"},
		{"https://" + smtp.Addr().String(), []string{"status"}, "is no smtplb: it does not speak HTTP"},
		{closed.Addr().String(), []string{"reload"}, "nobody answers at " + closed.Addr().String() + ": is smtplb running there?"},
		{"no-such-host.invalid:9925", []string{"status"}, "the name no-such-host.invalid is not known"},
		{"https://" + plain.addr, []string{"status"}, "answers without TLS: give --address http://" + plain.addr},
	} {
		status, out, errs := commandIn(t, nil, append(test.args, "--address", test.address)...)
		if status != exitError || out != "" || !strings.Contains(errs, test.want) {
			t.Errorf("%s %q: status %d, %q, want %q", test.address, test.args, status, errs, test.want)
		}
	}
	for _, address := range []string{"9925", "localhost", ":9925", "127.0.0.1:", "ftp://127.0.0.1:9925", "127.0.0.1:9925/api", "a b:1"} {
		if status, _, errs := commandIn(t, nil, "status", "--address", address); status != exitUsage || !strings.Contains(errs, "must be HOST:PORT") {
			t.Errorf("%s: status %d, %q", address, status, errs)
		}
	}
}

func TestTLSIsVerified(t *testing.T) {
	dir := t.TempDir()
	files, strange := pair(t, dir, time.Now().Add(time.Hour)), pair(t, t.TempDir(), time.Now().Add(time.Hour))
	c, err := newCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	a := newAsked(t, func(a *asked) { a.TLS = c.config() })
	file := func(cert config.AdminTLS) string {
		return write(t, "smtplb.yaml", fmt.Sprintf("admin: {address: %q, tls: {cert: %q, key: %q}}\n", a.addr, cert.Cert, cert.Key))
	}
	_, port, err := net.SplitHostPort(a.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		errs   string
	}{
		{[]string{"--address", a.addr}, exitError, "answers by TLS: give --address https://" + a.addr},
		{[]string{"--address", "https://" + a.addr}, exitError, "unknown authority: give --ca FILE, --config FILE or --insecure"},
		{[]string{"--address", a.addr, "--insecure"}, exitOK, ""},
		{[]string{"--address", a.addr, "--ca", files.Cert}, exitOK, ""},
		{[]string{"--address", "localhost:" + port, "--ca", files.Cert}, exitError, "give the address by a name of its certificate"},
		{[]string{"--address", a.addr, "--ca", files.Key}, exitError, "must hold certificates in PEM"},
		{[]string{"--address", a.addr, "--ca", dir + "/none"}, exitError, "no such file"},
		{[]string{"--config", file(files)}, exitOK, ""},
		{[]string{"--config", file(strange)}, exitError, "the certificate is not that of admin.tls.cert"},
	} {
		status, _, errs := commandIn(t, nil, append([]string{"status"}, test.args...)...)
		if status != test.status || !strings.Contains(errs, test.errs) {
			t.Errorf("%q: status %d, %q, want %d, %q", test.args, status, errs, test.status, test.errs)
		}
	}
	old := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}
	if conn, err := tls.Dial("tcp", a.addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
}
