package main

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

func TestClusterKeys(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"32 bytes", base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n", ""},
		{"16 bytes", base64.StdEncoding.EncodeToString(make([]byte, 16)), ""},
		{"15 bytes", base64.StdEncoding.EncodeToString(make([]byte, 15)), "a key of 15 bytes: want 16, 24 or 32 bytes in base64, such as the output of: openssl rand -base64 32"},
		{"nothing", "", "a key of 0 bytes"},
		{"words", "correct horse battery staple", "it is no base64: want 16"},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readClusterKey(file)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := readClusterKey("/nowhere/key"); err == nil {
		t.Error("a file that is not there is read")
	}
}

// What processes that were replaced claim counts until they say less, or end; and not while another is to hear it.
func TestEldersAreHeardUntilTheyEnd(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "theirs")
	e := newElders()
	e.all["elder"] = &elder{"elder", claimed{"out/a": 7, "out/b": 2}, os.NewFile(uintptr(ends[0]), "ours")}
	e.listen()
	wait := func(what string, want claimed) {
		t.Helper()
		smtptest.Eventually(t, 10*time.Second, func() bool { return maps.Equal(e.claims(), want) }, "%s: %v", what, want)
	}
	say := func(c claimed) {
		t.Helper()
		text, err := json.Marshal(c)
		if err == nil {
			_, err = theirs.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	wait("at first", claimed{"out/a": 7, "out/b": 2})
	say(claimed{"out/a": 3})
	wait("less", claimed{"out/a": 3})
	if _, err := theirs.WriteString("nonsense"); err != nil {
		t.Fatal(err)
	}
	e.hush()
	say(claimed{"out/a": 1})
	if c := e.claims(); c["out/a"] != 3 || e.none() {
		t.Errorf("%v is claimed, though nobody listens", c)
	}
	e.listen()
	wait("after that", claimed{"out/a": 1})
	_ = theirs.Close()
	wait("in the end", claimed{})
	if !e.none() {
		t.Error("it is there still")
	}
	e.reading.Wait()
}

func TestTheClusterIsShownToPeople(t *testing.T) {
	half := 0.5
	c := &clusterView{
		Balancers: 4,
		Peers: []peerView{
			{"192.0.2.12:7946", "in reach", &half, true}, {"192.0.2.13:7946", "out of reach", &half, true},
			{"192.0.2.14:7946", "out of reach", nil, false}, {"192.0.2.15:7946", "left", &half, false},
		},
		Limits: []limitView{{"out/relay-a", 30, 10, 26, 0, 16, 3}},
	}
	text := c.text(style{})
	for _, want := range []string{
		"one of 4 balancers, 1 of 4 peers in reach", "others hear it, this one does not", "never", "its share waits for it",
		"LIMIT OF ALL  MAX SESSIONS  OWN SHARE  LENT  BORROWED  OLD PROCESSES  IN FORCE HERE", "out/relay-a             30         10     0        16              3             26",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
