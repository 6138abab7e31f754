package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A start would fail of these files, and a check says so before.
func TestCheckLooksIntoTheFilesWithSecrets(t *testing.T) {
	dir := t.TempDir()
	token, key, empty := filepath.Join(dir, "token"), filepath.Join(dir, "key"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{token: "secret\n", key: "MDEyMzQ1Njc4OWFiY2RlZg==\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expired := pair(t, dir, time.Now().Add(-time.Hour))
	const base = "listeners: [{address: \"127.0.0.1:2525\", allow: [\"127.0.0.0/8\"]}]\n" +
		"pools: [{backends: [{address: \"127.0.0.1:2601\", max_sessions: 10}]}]\n"
	const others = "bind: 127.0.0.1:7946, peers: [\"127.0.0.2:7946\"]"
	for _, tt := range []struct {
		name, text string
		want       []string // of the warnings about this machine
	}{
		{"none", "", nil},
		{"good", "admin: {token_file: " + token + "}\ncluster: {" + others + ", key_file: " + key + "}\n", nil},
		{"an empty token", "admin: {token_file: " + empty + "}\n", []string{"admin.token_file: " + empty + " is empty"}},
		{"no key", "cluster: {" + others + ", key_file: " + dir + "/none}\n", []string{"cluster.key_file: open " + dir + "/none: no such file"}},
		{"a wrong key", "cluster: {" + others + ", key_file: " + token + "}\n", []string{"cluster.key_file: " + token + ": it is no base64"}},
		{"an expired certificate", "admin: {tls: {cert: " + expired.Cert + ", key: " + expired.Key + "}}\n", []string{"admin.tls.cert: " + expired.Cert + ": expired at "}},
		{"no certificate", "admin: {tls: {cert: " + dir + "/none, key: " + key + "}}\n", []string{"admin.tls.cert: open "}},
		{"two at once", "admin: {token_file: " + empty + "}\ncluster: {" + others + ", key_file: " + empty + "}\n",
			[]string{"admin.token_file: ", "cluster.key_file: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "smtplb.yaml")
			if err := os.WriteFile(file, []byte(base+tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			status, out, errs := commandIn(t, nil, "check", "--config", file)
			if status != exitOK || !strings.Contains(out, ": ok: 1 listeners, 1 pools") {
				t.Fatalf("status %d, %q, %q", status, out, errs)
			}
			if got := strings.Count(errs, "warning: on this machine: "); got != len(tt.want) {
				t.Errorf("%d warnings, want %d:\n%s", got, len(tt.want), errs)
			}
			holds(t, "warnings", errs, tt.want...)
		})
	}
}
