package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"smtplb/internal/smtptest"
)

// ask runs a command that finds the process by its address.
func (p *process) ask(t *testing.T, args ...string) outcome {
	t.Helper()
	return command(t, append(args, "--address", p.admin)...)
}

// want holds an outcome to a status, and to texts in what was said, in their
// order; on standard error where it failed.
func want(t *testing.T, what string, got outcome, status int, texts ...string) {
	t.Helper()
	text, other := got.stdout, got.stderr
	if status != 0 {
		text, other = got.stderr, ""
	}
	if got.status != status || other != "" {
		t.Errorf("%s: status %d, said %q and %q, want %d", what, got.status, got.stdout, got.stderr, status)
	}
	for _, part := range texts {
		_, after, ok := strings.Cut(text, part)
		if !ok {
			t.Errorf("%s: no %q in its place in %q", what, part, got.stdout+got.stderr)
			return
		}
		text = after
	}
}

// An administrator takes a relay out for its maintenance, and all that he asks
// and tells on the way.
func TestARelayIsMaintainedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	p := start(t, site{pool: quick, backends: []string{backend("relay-a", a.Addr(), "site: hq"), backend("relay-b", b.Addr(), "weight: 0")}})
	want(t, "status", p.ask(t, "status"), 0, "smtplb "+testVersion, "ready, up for", p.address, "pool out: new sessions go to tier 0",
		"relay-a", "hq", "up", "relay-b", "weight 0")
	var status struct{ Version string }
	if got := p.ask(t, "status", "--json"); json.Unmarshal([]byte(got.stdout), &status) != nil || !strings.HasPrefix(status.Version, testVersion) {
		t.Errorf("status --json: %q", got.stdout)
	}
	want(t, "sessions of nobody", p.ask(t, "sessions"), 0, "no session runs")

	client, _ := open(t, p)
	local := client.Conn().LocalAddr().String()
	var list struct {
		Open, Matched int
		Sessions      []struct{ ID, Client, State, Turn string }
	}
	if got := p.ask(t, "sessions", local, "--json"); json.Unmarshal([]byte(got.stdout), &list) != nil || len(list.Sessions) != 1 ||
		list.Sessions[0].Client != local || list.Sessions[0].State != "relaying" || list.Sessions[0].Turn != "client" {
		t.Fatalf("sessions --json: %q", got.stdout)
	}
	id := list.Sessions[0].ID
	want(t, "sessions", p.ask(t, "sessions", "--backend", "relay-a", "--pool", "out"), 0, "ID", id, local, "out/relay-a", "relaying", "client", "1 session\n")
	want(t, "sessions elsewhere", p.ask(t, "sessions", "--backend", "relay-b"), 0, "0 of 1 sessions match")

	want(t, "a drain that gives up", p.ask(t, "drain", "relay-a", "--wait", "--timeout", "100ms"), 1, "waiting for 1 session", "1 session left after 100ms; it stays drained")
	want(t, "undone", p.ask(t, "enable", "relay-a"), 0, "out/relay-a: up, was draining\n")
	waited := make(chan outcome, 1)
	go func() { waited <- p.ask(t, "drain", "out/relay-a", "--wait") }()
	smtptest.Eventually(t, patience, func() bool { return strings.Contains(p.ask(t, "status").stdout, "draining") }, "it is drained")
	select {
	case got := <-waited:
		t.Errorf("drain --wait ended before the session: %+v", got)
	default:
	}
	leave(t, p, client)
	if got := <-waited; got.status != 0 || !strings.Contains(got.stdout, "out/relay-a: draining, was up; 1 session on it\nout/relay-a: no session is left\n") {
		t.Errorf("drain --wait: %+v", got)
	}
	if got := p.only(t); got.ID != id {
		t.Errorf("the session was listed as %s, and is %s in the log", id, got.ID)
	}
	want(t, "no relay", p.ask(t, "status"), 0, "no relay is up, new clients read 421", "draining", "drained")
	want(t, "disable", p.ask(t, "disable", "relay-a"), 0, "out/relay-a: disabled, was draining; no session is on it")
	want(t, "enable", p.ask(t, "enable", "relay-a"), 0, "out/relay-a: up, was disabled")
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	want(t, "a wrong name", p.ask(t, "drain", "relay-c"), 1, `there is no backend "relay-c": did you mean out/relay-a or out/relay-b?`)
	want(t, "no name", p.ask(t, "drain"), 2, "accepts 1 arg", "see: smtplb drain --help")
	want(t, "a wrong limit", p.ask(t, "sessions", "--limit", "0"), 2, "must be 1 to 1000")
	if got := command(t, "__complete", "drain", "--address", p.admin, "relay-"); !strings.HasPrefix(got.stdout, "relay-a\tup, 0 sessions\nrelay-b\t") {
		t.Errorf("completion: %+v", got)
	}
	verbs := p.events(t, "verb")
	if want := []string{"relay-a up>draining", "relay-a draining>up", "relay-a up>draining", "relay-a draining>disabled", "relay-a disabled>up"}; !slices.Equal(verbs, want) {
		t.Errorf("orders among the events: %q, want %q", verbs, want)
	}
	if other := p.events(t, "backend"); len(other) != 0 {
		t.Errorf("changes of themselves among the events: %q, want none", other)
	}
}

// events are those of a kind, as "relay-a up>draining".
func (p *process) events(t *testing.T, kind string) []string {
	t.Helper()
	var list struct {
		Events []struct{ Kind, Backend, From, To string }
	}
	if status, body := p.get(t, "/api/v1/events"); status != 200 || json.Unmarshal([]byte(body), &list) != nil {
		t.Fatalf("events: %d %s", status, body)
	}
	var found []string
	for _, e := range list.Events {
		if e.Kind == kind {
			found = append(found, strings.TrimSpace(e.Backend+" "+e.From+">"+e.To))
		}
	}
	return found
}

// Whoever reloads by hand is answered: with what changed, or every mistake.
func TestReloadAnswersWhoAsks(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	s := site{pool: quick, backends: []string{backend("relay-a", relay.Addr())}}
	p := start(t, s)
	s.address, s.admin = p.address, p.admin
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "the same file", p.ask(t, "reload"), 0, "reloaded: nothing is different")
	s.backends[0] = backend("relay-a", relay.Addr(), "weight: 7")
	put(s.text() + "\nworkers: 3\n")
	want(t, "a changed file", p.ask(t, "reload"), 0, "reloaded:\n  pools.out.backends.relay-a.weight: 1 -> 7\nneeds a restart:\n  workers: 0 -> 3\n")
	put("polls: 1\n" + s.text() + "\nworkers: many\n")
	got := p.ask(t, "reload")
	want(t, "a broken file", got, 1, "nothing changed", p.file+":1: polls: unknown key", "workers: \"many\": must be a whole number")
	// While the file is broken, the one that runs is found by it all the same.
	want(t, "status by a broken file", command(t, "status", "--config", p.file), 0, "ready")
	put("not: [yaml")
	want(t, "status by a file that is no YAML", command(t, "status", "--config", p.file), 1, "not YAML", "--address")
	want(t, "a file that is gone", p.askWithout(t, p.file, "reload"), 1, "nothing changed", "no such file")
	if status, body := p.request(t, "POST", "/api/v1/reload"); status != 422 || !strings.Contains(body, `"errors": [`) {
		t.Errorf("the API answers %d %s", status, body)
	}
	if err := visit(p.address); err != nil {
		t.Error(err)
	}
	if got, want := p.events(t, "reload"), []string{">ok", ">ok", ">refused", ">refused", ">refused"}; !slices.Equal(got, want) {
		t.Errorf("reloads among the events: %q, want %q", got, want)
	}

	client, _ := open(t, p)
	p.signal(syscall.SIGTERM)
	p.waitLine(t, "draining", nil)
	got = p.ask(t, "status")
	if got.status != 3 || !strings.Contains(got.stdout, "not ready: draining") || got.stderr != "smtplb: not ready: draining\n" {
		t.Errorf("status while draining: %+v", got)
	}
	want(t, "reload while draining", p.ask(t, "reload"), 1, "draining, and reloads no more")
	client.Close()
	p.waitExit(t)
	want(t, "status of nobody", p.ask(t, "status"), 1, "nobody answers at "+p.admin+": is smtplb running there?")
}

// askWithout asks while a file is away.
func (p *process) askWithout(t *testing.T, file string, args ...string) outcome {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return p.ask(t, args...)
}

// With a token and a certificate: who has them is let in, and nobody else.
func TestTokenAndCertificateAreNeeded(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	dir := t.TempDir()
	token, cert, key := filepath.Join(dir, "token"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	renew := func() {
		t.Helper()
		newCert, newKey := certificate(t, "lb.test")
		for from, to := range map[string]string{newCert: cert, newKey: key} {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			write(to, string(text))
		}
	}
	renew()
	write(token, "the-right-one\n")
	wrong := writeFile(t, "wrong", "another")
	s := site{
		address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(),
		pool: quick, backends: []string{backend("relay-a", relay.Addr())},
	}
	s.rest = fmt.Sprintf("admin: {address: %q, token_file: %q, tls: {cert: %q, key: %q}}\n", s.admin, token, cert, key)
	p := startProgram(t, s, raced)
	secure := "https://" + p.admin
	for _, test := range []struct {
		what   string
		args   []string
		status int
		texts  []string
	}{
		{"without TLS", []string{"status", "--address", p.admin}, 1, []string{"answers by TLS: give --address https://" + p.admin}},
		{"a certificate of nobody's", []string{"status", "--address", secure}, 1, []string{"unknown authority: give --ca FILE, --config FILE or --insecure"}},
		{"without the token", []string{"drain", "relay-a", "--address", secure, "--ca", cert}, 1, []string{"wants the token: give --token-file FILE"}},
		{"a wrong token", []string{"drain", "relay-a", "--address", secure, "--ca", cert, "--token-file", wrong}, 1, []string{"refused the token of " + wrong}},
		{"the right token", []string{"drain", "relay-a", "--address", secure, "--ca", cert, "--token-file", token}, 0, []string{"draining, was up"}},
		{"any certificate", []string{"enable", "relay-a", "--address", p.admin, "--insecure", "--token-file", token}, 0, []string{"up, was draining"}},
		{"all from the file", []string{"disable", "relay-a", "--config", p.file}, 0, []string{"disabled, was up"}},
		{"reload", []string{"reload", "--config", p.file}, 0, []string{"nothing is different"}},
	} {
		want(t, test.what, command(t, test.args...), test.status, test.texts...)
	}
	other := filepath.Join(dir, "first.pem")
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	write(other, string(text))
	renew()
	want(t, "a certificate that was renewed", command(t, "status", "--config", p.file), 1, "not that of admin.tls.cert", "SIGHUP")
	want(t, "reload", command(t, "reload", "--address", secure, "--ca", other, "--token-file", token), 0, "admin.tls: another certificate, valid until ")
	want(t, "after that", command(t, "status", "--config", p.file), 0, "ready")
	write(key, "no key")
	want(t, "a key that is none", command(t, "reload", "--config", p.file), 1, "nothing changed", "admin.tls: "+cert+" and "+key)
	want(t, "after that", command(t, "status", "--config", p.file), 0, "ready")
	p.signal(syscall.SIGTERM)
	p.waitExit(t)
	got := command(t, "run", "--config", p.file)
	want(t, "a start with such a key", got, 1, "admin.tls: "+cert+" and "+key)
}

// Who may not read the configuration is told so, and can ask without it.
func TestWhoMayNotReadTheFileAsksWithoutIt(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
	closed, err := os.MkdirTemp("", "smtplb-closed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(closed) })
	program := filepath.Join(closed, "smtplb")
	install(t, released, program)
	if err := errors.Join(os.Mkdir(filepath.Join(closed, "etc"), 0o700),
		os.WriteFile(filepath.Join(closed, "etc", "smtplb.yaml"), []byte("{}"), 0o600), os.Chmod(closed, 0o755)); err != nil {
		t.Fatal(err)
	}
	etc := filepath.Join(closed, "etc")
	other := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // whom no mode stops
		other.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	} else if err := os.Chmod(etc, 0); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) outcome {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.SysProcAttr, cmd.Dir = other, "/"
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	file := filepath.Join(etc, "smtplb.yaml")
	want(t, "with the file", as("status", "--config", file), 1, file+": cannot be read: permission denied", "--address")
	want(t, "without it", as("status", "--address", p.admin), 0, "ready")
	if got := as("__complete", "drain", "--config", file, ""); got.status != 0 || got.stdout != ":4\n" {
		t.Errorf("completion: %+v", got)
	}
	if err := os.Chmod(etc, 0o700); err != nil {
		t.Error(err)
	}
}
