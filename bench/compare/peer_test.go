package compare

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"smtplb/bench"
)

// TestMain makes of the test binary the io.Copy proxy where it is called as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == iocopy {
		if err := serveIocopy(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func serveIocopy(listen, relay string) error {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	target, err := netip.ParseAddrPort(relay)
	if err != nil {
		return err
	}
	ln, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	return bench.Baseline{Target: target}.Serve(ln)
}

// testSite has two services and everything filled in.
func testSite(t *testing.T) site {
	free, err := addresses(3)
	if err != nil {
		t.Fatal(err)
	}
	relays := []relay{
		{"relay-a", netip.MustParseAddrPort("127.0.0.1:2601"), 3},
		{"relay-b", netip.MustParseAddrPort("127.0.0.1:2602"), 1},
	}
	return site{
		Workers: 2, Sessions: 1000, Dir: t.TempDir(), Admin: free[2],
		Services: []service{{"first", free[0], relays}, {"second", free[1], relays}},
	}
}

// installed returns a peer that is on this machine.
func installed(t *testing.T, find func(context.Context, *Options) *peer) *peer {
	t.Helper()
	p := find(t.Context(), &Options{})
	if p.missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %s", p.name, p.missing)
		}
		t.Skipf("%s: %s", p.name, p.missing)
	}
	if p.version == "" || strings.ContainsAny(p.version, " /") {
		t.Errorf("version %q", p.version)
	}
	return p
}

// The programs themselves say whether they like their files.
func TestConfigurationsAreAccepted(t *testing.T) {
	tests := []struct {
		name string
		find func(context.Context, *Options) *peer
		args []string // that come before the file
	}{
		{haproxy, findHAProxy, []string{"-c", "-f"}},
		{nginx, findNginx, []string{"-e", "stderr", "-t", "-c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := installed(t, test.find)
			s := testSite(t)
			s.StreamModule = p.module
			path, err := s.write(p.config)
			if err != nil {
				t.Fatal(err)
			}
			program := p.args(&s, path)[0]
			out, err := exec.Command(program, append(test.args, path)...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", program, err, out)
			}
			for _, word := range []string{"warn", "WARN", "deprecated"} {
				if strings.Contains(string(out), word) {
					t.Errorf("%s has something to say:\n%s", program, out)
				}
			}
		})
	}
}

func TestConfigurationsSayWhatTheSiteIs(t *testing.T) {
	s := testSite(t)
	for _, test := range []struct {
		file string
		want []string
	}{
		{"haproxy.cfg", []string{
			"mode tcp", "balance leastconn", "option splice-auto", "option smtpchk EHLO", "nbthread 2", "maxconn 1000",
			"timeout server 15m", "server relay-a 127.0.0.1:2601 weight 3",
		}},
		{"nginx.conf", []string{
			"least_conn;", "worker_processes 2;", "worker_connections 2500;", "proxy_timeout 15m;",
			"server 127.0.0.1:2601 weight=3;", "zone first 64k;",
		}},
		{"smtplb.yaml", []string{
			"workers: 2", "level: info", `{name: relay-a, address: "127.0.0.1:2601", weight: 3}`, "max_sessions: 1000",
		}},
	} {
		file, err := s.render(test.file)
		if err != nil {
			t.Fatal(err)
		}
		want := append([]string{s.Services[0].Listen.String(), s.Services[1].Listen.String(), "second"}, test.want...)
		for _, w := range want {
			if !strings.Contains(file.Text, w) {
				t.Errorf("%s: no %q in\n%s", test.file, w, file.Text)
			}
		}
	}
	s.Quiet, s.Workers = true, 1
	quiet, err := s.render("smtplb.yaml")
	if err != nil || !strings.Contains(quiet.Text, "level: error") {
		t.Errorf("not quiet (%v):\n%s", err, quiet.Text)
	}
	one, err := s.render("nginx.conf")
	if err != nil || strings.Contains(one.Text, "zone") {
		t.Errorf("a zone for one worker (%v):\n%s", err, one.Text)
	}
	if _, err := s.render("envoy.yaml"); err == nil {
		t.Error("no error for a file that is not there")
	}
}

// Whoever is not there is named, with what would bring it.
func TestMissingPeersAreNamed(t *testing.T) {
	dir := t.TempDir()
	program := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	broken := program("broken", "echo cannot run >&2; exit 1")
	mute := program("mute", "")
	tests := []struct {
		name    string
		options Options
		peer    string
		want    string
	}{
		{"a path that is not there", Options{HAProxy: "/nonexistent/haproxy"}, haproxy, "Debian package haproxy"},
		{"another", Options{Nginx: "/nonexistent/nginx"}, nginx, "libnginx-mod-stream"},
		{"ours", Options{Smtplb: "/nonexistent/smtplb"}, smtplb, "make build"},
		{"one that does not run", Options{Smtplb: broken}, smtplb, "cannot run"},
		{"one that says nothing", Options{HAProxy: mute}, haproxy, "no version"},
		{"nginx without the module", Options{Nginx: program("nginx-plain", "echo nginx version: nginx/1.2; echo configure arguments: --with-pcre")}, nginx, "no stream module"},
		{"nginx with a module that is not there", Options{Nginx: program("nginx-dynamic", "echo nginx version: nginx/1.2; echo --modules-path=/nonexistent --with-stream=dynamic")}, nginx, "/nonexistent/ngx_stream_module.so"},
		{"no command for the baseline", Options{}, iocopy, "no command"},
		{"no command for the other", Options{}, floor, "no command"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.options.Peers = []string{test.peer}
			p := find(t.Context(), &test.options)[0]
			if p.name != test.peer || !strings.Contains(p.missing, test.want) {
				t.Errorf("%s: missing %q, want %q in it", p.name, p.missing, test.want)
			}
			report, err := p.report(site{})
			if err != nil || report.Missing != p.missing || report.Config != nil {
				t.Errorf("in the report %+v (%v)", report, err)
			}
		})
	}
	static := Options{Nginx: program("nginx-static", "echo nginx version: nginx/1.2; echo --with-stream --with-pcre"), Peers: []string{nginx}}
	if p := find(t.Context(), &static)[0]; p.missing != "" || p.module != "" || p.version != "1.2" {
		t.Errorf("nginx with the module built in: %+v", p)
	}
}

func TestAddressesAreDistinct(t *testing.T) {
	all, err := addresses(250)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.AddrPort]bool{}
	for _, a := range all {
		if seen[a] || !a.Addr().IsLoopback() || a.Port() == 0 {
			t.Errorf("%v, after %d others", a, len(seen))
		}
		seen[a] = true
	}
}
