package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Haraka is where e2e/install-deps.sh puts it, outside the tree, and keeps what
// it is given with a plugin of ours.

// haraka returns the folder of the version that haraka/package-lock.json pins.
func haraka(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		lacking(t, "Haraka's place is not known: %v", err)
	}
	var wanted struct{ Dependencies map[string]string }
	if err := json.Unmarshal(readFile(t, "haraka/package.json"), &wanted); err != nil {
		t.Fatal(err)
	}
	version := wanted.Dependencies["haraka"]
	dir := filepath.Join(cache, "smtplb", "haraka-"+version)
	installed, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil || !bytes.Equal(installed, readFile(t, "haraka/package-lock.json")) {
		lacking(t, "Haraka %s is missing in %s: run e2e/install-deps.sh", version, dir)
	}
	return filepath.Join(dir, "node_modules", "haraka")
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func startHaraka(t *testing.T) realRelay {
	t.Helper()
	node, home, dir := find(t, "node"), haraka(t), t.TempDir()
	address := freeAddress(t, "127.0.0.1")
	inbox := filepath.Join(dir, "inbox")
	// What stands in a folder of its own replaces Haraka's file, all of it.
	connection := bytes.Replace(readFile(t, filepath.Join(home, "config", "connection.ini")), []byte("\nhosts[] =\n"), []byte("\nhosts[] = 127.0.0.0/8\n"), 1)
	for name, text := range map[string][]byte{
		"config/smtp.ini":       fmt.Appendf(nil, "listen=%s\nnodes=0\n", address),
		"config/log.ini":        []byte("[main]\nlevel=info\nformat=default\n"),
		"config/connection.ini": connection,
		"config/me":             []byte("haraka.test\n"),
		"config/plugins":        []byte("sink\n"),
		"plugins/sink.js":       readFile(t, "haraka/sink.js"),
		"inbox/.keep":           nil,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(node, filepath.Join(home, "bin", "haraka"), "-c", dir)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "SINK="+inbox)
	f := startFamily(t, cmd)
	log := func(t *testing.T) []string { return linesSince(t, f.output, "Listening on") }
	f.waitFor(t, func() bool { return log(t) != nil }, "listens, in its log")
	return realRelay{
		address: address,
		log:     log,
		arrived: func(t *testing.T, id string) bool { return inFiles(t, filepath.Join(inbox, "*"), id) },
		ended:   regexp.MustCompile(`\[core\] disconnect ip=`),
		clean: regexp.MustCompile(`\[core\] disconnect ip=127\.0\.1\.\d+ .* relay=N early=N esmtp=Y tls=N pipe=N errors=0 ` +
			`txns=0 rcpts=0/0/0 msgs=0/0/0 bytes=0 lr="" `),
		from: "HAProxy proto=TCP4 src_ip=%s:",
		bad:  regexp.MustCompile(`(?i)\[(warn|error|crit|alert|emerg)|exception|half closed|dropped|reset|timeout|timed out|early=Y`),
	}
}

// Haraka waits for a PROXY header, version 1.
func TestRealRelayHaraka(t *testing.T) {
	t.Parallel()
	r := startHaraka(t)
	r.mustBearChecks(t, 10, "", "proxy_protocol: v1")
}
