package source

import (
	"strings"
	"testing"
)

func TestTargetsAreReadAsPeopleWriteThem(t *testing.T) {
	for name, want := range map[string][2]string{
		"127.0.0.1:2525": {"127.0.0.1", "2525"}, "127.0.0.1": {"127.0.0.1", "25"}, "::1": {"::1", "25"}, "[::1]": {"::1", "25"},
		"[::1]:2525": {"::1", "2525"}, "relay.example.com": {"relay.example.com", "25"}, "relay.example.com:587": {"relay.example.com", "587"},
	} {
		if host, port, err := splitTarget(name); err != nil || host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q %v", name, host, port, err)
		}
	}
	for name, want := range map[string]string{
		"": "no host", ":25": "no host", "a b:25": "no host", "smtp://a:25": "too many colons", "a:b:c": "too many colons", "a:": "no port number",
		"a:smtp": "no port number", "a:0": "no port number", "a:65536": "no port number", "[::1": "missing ']'",
	} {
		if _, _, err := splitTarget(name); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%q: %v, want an error with %q", name, err, want)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:25", "[::1]:25", "::1", "relay:25", "", ":", "[", "a:b", "[[::1]]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if host, port, err := splitTarget(name); err == nil && (host == "" || port == "") {
			t.Errorf("%q: host %q, port %q", name, host, port)
		}
	})
}

func TestAddressesNeedNoLookup(t *testing.T) {
	targets, err := resolve(t.Context(), []string{"127.0.0.1", "[::1]:2525"})
	if err != nil || targets[0].address != "127.0.0.1:25" || targets[1].address != "[::1]:2525" {
		t.Errorf("%+v %v", targets, err)
	}
	if text := targets[0].String() + " " + targets[1].String(); text != "127.0.0.1 (127.0.0.1:25) [::1]:2525" {
		t.Error(text)
	}
}

func TestNamesThatCannotBeLookedUpAreAllNamed(t *testing.T) {
	ctx, end := ending(t)
	end() // asks nobody
	_, err := Run(ctx, Config{Targets: []string{"one.test", "two.test:2525"}, Concurrency: 1})
	for _, name := range []string{`"one.test"`, `"two.test:2525"`} {
		if err == nil || !strings.Contains(err.Error(), "target "+name+": looking up ") {
			t.Errorf("%v, want an error about %s", err, name)
		}
	}
}
