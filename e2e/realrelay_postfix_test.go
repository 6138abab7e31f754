package e2e

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A Postfix of the test's own: nothing that it reads, writes or listens on is
// the system's but its programs.

const (
	postfixMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = postfix.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
mynetworks =
mydestination =
alias_maps =
local_recipient_maps =
fast_flush_domains =
virtual_mailbox_domains = relay.test
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:OWNER
virtual_gid_maps = static:OWNER
`
	postfixMaster = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`
)

// startPostfix runs Postfix with what more of main.cf says, and with more of
// master.cf that has ADDRESS where it is to listen.
func startPostfix(t *testing.T, more, service string) realRelay {
	t.Helper()
	program := find(t, "postfix")
	if os.Getuid() != 0 {
		lacking(t, "Postfix can be started by root alone")
	}
	owner := accountID(t, "nobody")
	address := freeAddress(t, "127.0.0.1")
	dir := postfixDirectory(t, owner)
	fill := strings.NewReplacer("DIR", dir, "OWNER", strconv.Itoa(owner), "ADDRESS", address.String())
	for name, text := range map[string]string{"main.cf": postfixMain + more, "master.cf": service + postfixMaster} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// As "postfix start-fg" would, but for the repairs of a system's files that
	// come with it.
	daemons := postfixDefault(t, program, filepath.Join(dir, "etc"), "daemon_directory")
	f := startFamily(t, exec.Command(filepath.Join(daemons, "master"), "-c", filepath.Join(dir, "etc"), "-d"))
	log := func(t *testing.T) []string { return linesSince(t, filepath.Join(dir, "log"), "daemon started") }
	f.waitFor(t, func() bool { return log(t) != nil }, "started, in its log")
	return realRelay{
		address: address,
		log:     log,
		arrived: func(t *testing.T, id string) bool {
			return inFiles(t, filepath.Join(dir, "mail", "inbox", "new", "*"), id)
		},
		ended: regexp.MustCompile(`smtpd\[\d+\]: disconnect from `),
		clean: regexp.MustCompile(`disconnect from unknown\[127\.0\.[01]\.\d+\] ehlo=1 quit=1 commands=2$`),
		bad: regexp.MustCompile(`(?i)warning:|error:|fatal:|panic:|lost connection|improper|non-smtp|pregreet|hangup|bare newline|` +
			`noqueue|timeout|timed out|reset|too many|too long|unsupported|haproxy`),
	}
}

func accountID(t *testing.T, name string) int {
	t.Helper()
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// postfixDirectory makes what Postfix wants to find, with the owners that it
// insists on. It must be open to other users: t.TempDir's are not.
func postfixDirectory(t *testing.T, inbox int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "smtplb-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	postfix := accountID(t, "postfix")
	const root = 0
	owners := map[string]int{"": root, "etc": root, "queue": root, "queue/pid": root, "data": postfix, "mail": inbox}
	for name := range strings.FieldsSeq("active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace") {
		owners["queue/"+name] = postfix
	}
	for name, owner := range owners {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		if err := os.Chown(path, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// postfixDefault asks for a built-in setting.
func postfixDefault(t *testing.T, postfix, config, name string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(filepath.Dir(postfix), "postconf"), "-c", config, "-dh", name).Output()
	if err != nil {
		t.Fatalf("postconf %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// The plainest: one greeting line at once.
func TestRealRelayPostfix(t *testing.T) {
	t.Parallel()
	r := startPostfix(t, "", "ADDRESS inet n - n - - smtpd\n")
	r.mustBearChecks(t, 10, "")
}

// A teaser at once, "220-", and the greeting itself after six seconds, the
// default, for whoever waits: this Postfix never remembers a client that has.
func TestRealRelayPostscreen(t *testing.T) {
	t.Parallel()
	r := startPostfix(t, `postscreen_access_list =
postscreen_cache_map =
postscreen_greet_wait = 6s
postscreen_greet_action = enforce
postscreen_greet_banner = $myhostname wait until it is your turn
`, "ADDRESS inet n - n - 1 postscreen\nsmtpd pass - - n - 20 smtpd\n")
	r.mustBearChecks(t, 90, "")
	if passed := len(matching(r.log(t), regexp.MustCompile(`postscreen\[\d+\]: PASS NEW `))); passed < hour {
		t.Errorf("postscreen has tested %d clients, want every one of %d", passed, hour)
	}
}

// Postfix that waits for a PROXY header of either version, with the client's
// address for a session and without for a check.
func TestRealRelayPostfixWithPROXY(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := startPostfix(t, "", "ADDRESS inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n")
			r.from = "connect from unknown[%s]"
			r.mustBearChecks(t, 10, "", "proxy_protocol: "+version)
		})
	}
}
