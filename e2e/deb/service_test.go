//go:build deb

package deb

import (
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// The addresses of the pages.
const (
	vip     = "192.0.2.25:25"
	relayA  = "10.10.1.11:25"
	relayB  = "10.10.1.12:25"
	allowed = "10.10.0.11"
	other   = "198.51.100.7"
	file    = "/etc/smtplb/smtplb.yaml"
	token   = "/etc/smtplb/token"
)

// configuration is what an administrator makes of the file of the package.
func configuration(relays ...string) string {
	text := "admin: {token_file: " + token + "}\nlisteners:\n  - {name: smarthost, address: \"" + vip + "\", pool: outbound, allow: [\"10.10.0.0/16\"]}\n" +
		"pools:\n  - name: outbound\n    backends:\n"
	for i, r := range relays {
		text += fmt.Sprintf("      - {name: hq-%c, address: %q}\n", 'a'+i, r)
	}
	return text
}

// site is the Debian with the relays beside it.
type site struct {
	*machine
	relays []*smtptest.Relay
}

// From the first installation to the last file gone, in the order in which it
// happens to an administrator: each step goes on from the one before.
func TestLifeOfAService(t *testing.T) {
	for _, address := range []string{vip, relayA, relayB, allowed + ":0", other + ":0"} {
		output(t, "ip", "address", "add", netip.MustParseAddrPort(address).Addr().String()+"/32", "dev", "lo")
	}
	s := &site{machine: boot(t)}
	for _, address := range []string{relayA, relayB} {
		r, err := smtptest.Listen(address, smtptest.Script{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		s.relays = append(s.relays, r)
	}
	for _, step := range []struct {
		name string
		do   func(*site, *testing.T)
	}{
		{"nobody is let in before it is edited", (*site).fresh},
		{"mail goes through once it is", (*site).edited},
		{"it has little of the machine", (*site).confined},
		{"a reload takes all of the file or nothing", (*site).reload},
		{"it comes back when it is killed", (*site).killed},
		{"it comes back when it hangs", (*site).hung},
		{"its VIP is withdrawn before it stops", (*site).announced},
		{"an upgrade loses nothing", (*site).upgrade},
		{"an upgrade that cannot be changes nothing", (*site).refusedUpgrade},
		{"it does not start with a broken file", (*site).broken},
		{"its file outlasts removal", (*site).removed},
		{"it goes on where it was when it is installed again", (*site).again},
		{"nothing is left by a purge", (*site).purged},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			s.t = t
			defer func() {
				if t.Failed() {
					journal, _ := s.try("sh", "-c", `journalctl --no-pager | grep -v '"end":"backend_closed"' | tail -n 80`) // an empty one says enough
					t.Logf("the journal:\n%s", journal)
				}
			}()
			step.do(s, t)
		})
		if !ok {
			t.Fatal("the steps after this one would go on from what is wrong")
		}
	}
}

// has reports each part that a text lacks.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}

func (s *site) fresh(t *testing.T) {
	has(t, s.install("before"), "not started, and nobody is let in, until "+file+" is edited", "listeners[0].allow: []: required", "pools[0].backends: []: required")
	if got := strings.TrimSpace(s.run("systemctl", "is-enabled", "smtplb")); got != "enabled" {
		t.Errorf("the unit is %s", got)
	}
	if got := s.property("ActiveState"); got != "inactive" {
		t.Errorf("the unit is %s", got)
	}
	if got := strings.TrimSpace(s.run("stat", "--format=%A %U:%G", file)); got != "-rw-r----- root:smtplb" {
		t.Errorf("%s is %s", file, got)
	}
	has(t, s.refuse("smtplb", "check"), file+":", "allow: []: required: nobody may connect until named")
	said := s.said(func() { s.refuse("systemctl", "start", "smtplb") })
	has(t, said, "listeners[0].allow: []: required: nobody may connect until named", "pools[0].backends: []: required")
	if _, err := smtptest.DialTimeout(vip, patience); err == nil {
		t.Error("somebody listens at port 25")
	}
	for _, r := range s.relays {
		if r.Connections() != 0 {
			t.Error("a relay was asked that nobody has named")
		}
	}
}

// visit sends a message in a session of its own.
func visit(from, id string) error {
	client, err := smtptest.DialFrom(netip.MustParseAddr(from), vip, patience)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Send(smtptest.Outgoing{ID: id, Size: 1000}); err != nil {
		return err
	}
	return client.Quit()
}

func (s *site) edited(t *testing.T) {
	s.write(file, configuration(relayA, relayB))
	s.write(token, "0123456789abcdef0123456789abcdef\n")
	s.run("chgrp", "smtplb", token)
	s.run("chmod", "640", token)
	s.run("smtplb", "check")
	s.run("systemctl", "start", "smtplb")
	out, err := exec.Command("swaks", "--server", vip, "--local-interface", allowed, "--from", "anna@example.com", "--to", "bert@example.com").CombinedOutput()
	if err != nil {
		t.Errorf("swaks: %v\n%s", err, out)
	}
	if n := s.relays[0].MessageCount() + s.relays[1].MessageCount(); n != 1 {
		t.Errorf("%d messages at the relays, want the one that was sent", n)
	}
	if err := visit(other, "denied"); err == nil || !strings.Contains(err.Error(), "421 4.7.1") {
		t.Errorf("who was not named: %v, want 421 4.7.1", err)
	}
	has(t, s.run("smtplb", "status"), "ready", "hq-a", "hq-b")
	has(t, s.run("systemctl", "status", "smtplb"), "active (running)", "2 of 2 relays up", "Docs: man:smtplb(8)")
}

// status has the fields of the main process's status by their names, proc(5).
func (s *site) status() map[string]string {
	s.t.Helper()
	fields := map[string]string{}
	for line := range strings.Lines(s.run("cat", "/proc/"+s.mainPID()+"/status")) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

var exposure = regexp.MustCompile(`Overall exposure level for smtplb\.service: ([0-9.]+)`)

func (s *site) confined(t *testing.T) {
	if out := s.run("systemd-analyze", "verify", "--man=no", "smtplb.service"); out != "" {
		t.Errorf("the unit: %s", out)
	}
	out := s.run("systemd-analyze", "--no-pager", "security", "smtplb.service")
	found := exposure.FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no exposure in:\n%s", out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > 2.0 {
		t.Errorf("exposure %s, want 2.0 at most:\n%s", found[1], out)
	} else {
		t.Logf("exposure %s", found[1])
	}
	user := strings.TrimSpace(s.run("id", "--user", "smtplb"))
	group := strings.TrimSpace(s.run("id", "--group", "smtplb"))
	four := func(id string) string { return strings.Join([]string{id, id, id, id}, " ") }
	const (
		bindAndRaw = "0000000000002400" // CAP_NET_BIND_SERVICE and CAP_NET_RAW
	)
	is := s.status()
	for name, want := range map[string]string{
		"Uid": four(user), "Gid": four(group), "NoNewPrivs": "1", "Seccomp": "2",
		"CapBnd": bindAndRaw, "CapPrm": bindAndRaw, "CapEff": bindAndRaw, "CapAmb": bindAndRaw, "CapInh": bindAndRaw,
	} {
		if is[name] != want {
			t.Errorf("%s is %q, want %q", name, is[name], want)
		}
	}
	// What the process sees: nothing can be written but its own directory.
	inside := []string{"nsenter", "--target", s.mainPID(), "--mount", "--setuid", user, "--setgid", group, "touch"}
	for _, path := range []string{"/etc/smtplb/x", "/usr/bin/x", "/var/lib/x", "/var/log/x", "/home/x", "/sys/x"} {
		s.refuse(append(inside, path)...)
	}
	s.run(append(inside, "/var/lib/smtplb/x", "/tmp/x")...)
	if s.exists("/tmp/x") || !s.exists("/var/lib/smtplb/x") {
		t.Error("/tmp is not its own, or /var/lib/smtplb is not")
	}
	s.run("rm", "/var/lib/smtplb/x")
}

func (s *site) reload(t *testing.T) {
	pid := s.mainPID()
	s.write(file, configuration(relayA))
	has(t, s.said(func() { s.run("systemctl", "reload", "smtplb") }), "pools.outbound.backends.hq-b: removed")
	if out := s.run("smtplb", "status"); strings.Contains(out, "hq-b") {
		t.Errorf("a relay that was removed:\n%s", out)
	}
	// What check finds, and what only the running one can: a port that is taken.
	taken, err := smtptest.Listen("127.0.0.1:0", smtptest.Script{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for text, want := range map[string]string{
		strings.Replace(configuration(relayA, relayB), "allow", "alow", 1):            "alow",
		strings.Replace(configuration(relayA, relayB), vip, taken.Addr().String(), 1): "address already in use",
	} {
		s.write(file, text)
		said := s.said(func() { s.refuse("systemctl", "reload", "smtplb") })
		has(t, said, want, "Reload failed")
		if out := s.run("smtplb", "status"); strings.Contains(out, "hq-b") || s.property("ActiveState") != "active" {
			t.Errorf("something has changed, or it is not active:\n%s", out)
		}
		if err := visit(allowed, "after "+want); err != nil {
			t.Error(err)
		}
	}
	s.write(file, configuration(relayA, relayB))
	s.run("systemctl", "reload", "smtplb")
	s.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGHUP", "smtplb") // the short way is as good
	if now := s.mainPID(); now != pid {
		t.Errorf("the main process is %s, was %s", now, pid)
	}
}

// returns waits for another main process, which serves.
func (s *site) returns(before string) {
	s.t.Helper()
	smtptest.Eventually(s.t, patience, func() bool {
		now := s.mainPID()
		return now != before && now != "0" && s.property("ActiveState") == "active"
	}, "another main process")
	if err := visit(allowed, "after "+before); err != nil {
		s.t.Error(err)
	}
}

func (s *site) killed(t *testing.T) {
	pid := s.mainPID()
	if err := s.signal(pid, "KILL"); err != nil {
		t.Fatal(err)
	}
	s.returns(pid)
}

// A process that hangs for good, without a way to end by itself: systemd misses it,
// and kills it. The times of the unit are long, so they are looked at, and cut.
func (s *site) hung(t *testing.T) {
	if w, a := s.property("WatchdogUSec"), s.property("TimeoutAbortUSec"); w != "30s" || a != "10s" {
		t.Errorf("the watchdog barks after %s, and bites after %s: want 30s and 10s", w, a)
	}
	const dropIn = "/etc/systemd/system/smtplb.service.d"
	s.run("mkdir", dropIn)
	s.write(dropIn+"/quick.conf", "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "restart", "smtplb")
	pid := s.mainPID()
	said := s.said(func() {
		if err := s.signal(pid, "STOP"); err != nil {
			t.Fatal(err)
		}
		s.returns(pid)
	})
	has(t, said, "Watchdog timeout")
	s.run("rm", "-r", dropIn)
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "restart", "smtplb")
}

func (s *site) broken(t *testing.T) {
	s.write(file, strings.Replace(configuration(relayA), "192.0.2.25:25", "192.0.2.25", 1))
	said := s.said(func() { s.refuse("systemctl", "restart", "smtplb") })
	has(t, said, file+":3: listeners[0].address", "Failed with result 'exit-code'")
	out, _ := s.try("systemctl", "status", "smtplb") // 3: it does not run
	has(t, out, "ExecStartPre=/usr/bin/smtplb check", "status=1/FAILURE")
	s.write(file, configuration(relayA, relayB))
	s.returns("0") // by itself
}

func (s *site) removed(t *testing.T) {
	s.run("smtplb", "drain", "--config", file, "hq-a")
	s.run("apt-get", "remove", "--yes", "--quiet", "smtplb")
	if _, err := smtptest.DialTimeout(vip, patience); err == nil {
		t.Error("somebody listens at port 25")
	}
	for _, gone := range []string{"/usr/bin/smtplb", "/usr/bin/smtpbench", "/usr/lib/systemd/system/smtplb.service", "/usr/share/smtplb"} {
		if s.exists(gone) {
			t.Errorf("%s is left", gone)
		}
	}
	for _, kept := range []string{file, "/var/lib/smtplb/state.json"} {
		if !s.exists(kept) {
			t.Errorf("%s is gone", kept)
		}
	}
	if got := s.run("systemctl", "is-system-running"); strings.TrimSpace(got) != "running" {
		t.Errorf("the system is %s", got)
	}
}

func (s *site) again(t *testing.T) {
	if out := s.install("after"); strings.Contains(out, "not started") {
		t.Error(out)
	}
	if err := visit(allowed, "again"); err != nil {
		t.Error(err)
	}
	has(t, s.run("smtplb", "status"), "draining")
	if got := strings.TrimSpace(s.run("stat", "--format=%A %U:%G", file)); got != "-rw-r----- root:smtplb" {
		t.Errorf("%s is %s", file, got)
	}
}

func (s *site) purged(t *testing.T) {
	out := s.run("apt-get", "purge", "--yes", "--quiet", "smtplb")
	for _, gone := range []string{file, "/var/lib/smtplb", "/etc/systemd/system/multi-user.target.wants/smtplb.service", "/var/lib/systemd/deb-systemd-helper-enabled/smtplb.service.dsh-also"} {
		if s.exists(gone) {
			t.Errorf("%s is left", gone)
		}
	}
	if !s.exists(token) {
		t.Errorf("a file of the administrator's is gone:\n%s", out)
	}
}
