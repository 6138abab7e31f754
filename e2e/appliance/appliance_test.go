//go:build appliance

package appliance

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

const (
	firstAddress  = "192.0.2.11"
	secondAddress = "192.0.2.12"
	configFile    = "/etc/smtplb/smtplb.yaml"
	password      = "another-long-secret"       // in docs/appliance.md
	token         = "a-long-secret-of-your-own" // there, too
)

// working waits until both services do.
const working = "(for i in $(seq 90); do systemctl is-active --quiet smtplb && systemctl is-active --quiet keepalived && exit 0; sleep 1; done; false)"

// site is the whole: two appliances and who is around them.
type site struct {
	*lan
	first, second *machine
	relays        [2]*smtptest.Relay
	ledger        smtptest.Ledger
	sent          int
}

// What an administrator does with two appliances in their life, in its order: the
// machines take long to boot here, so they are not booted for each part again.
func TestTwoAppliances(t *testing.T) {
	deb := newerPackage(t)
	l := newLAN(t)
	s := &site{lan: l, relays: [2]*smtptest.Relay{l.relay(relayAddress + ":25"), l.relay(otherRelay + ":25")}}
	s.first = newMachine(t, l, "first", image(t), disc(t, "cidata", map[string]string{
		"meta-data": "instance-id: first\n",
		"user-data": documented(t),
		// The address comes with the answers: nothing is to be looked for before.
		"network-config": "network: {config: disabled}\n",
		"newer.deb":      read(t, deb),
	}), 1)
	s.second = newMachine(t, l, "second", image(t), disc(t, "upgrade", map[string]string{"newer.deb": read(t, deb)}), 2)
	s.second.uefi = true
	for _, part := range []struct {
		name string
		run  func(*site, *testing.T)
	}{
		{"cut in the middle of the dialogue, it starts over", (*site).half},
		{"set up by cloud-init, mail flows", (*site).cloud},
		{"locked", (*site).locked},
		{"set up at the console, where wrong answers are refused", (*site).dialogue},
		{"restarted, it does its work again", (*site).restart},
		{"upgraded, no session ends", (*site).upgrade},
		{"the one with the VIP loses its power, no mail is lost", (*site).powerCut},
	} {
		began := time.Now()
		if !t.Run(part.name, func(t *testing.T) { part.run(s, t) }) {
			t.FailNow()
		}
		t.Logf("%s: %.0f s", part.name, time.Since(began).Seconds())
	}
}

// half boots both; the second one's power is cut while it asks.
func (s *site) half(t *testing.T) {
	s.second.on()
	s.first.on()
	m := s.second
	m.expect("This is an smtplb appliance that has not been set up yet", bootTime)
	m.answer("Name of this appliance", "lb-half")
	m.answer("Address of this appliance", secondAddress+"/24")
	m.answer("Gateway", "")
	m.expect("DNS servers: ", step)
	m.cut()
	m.on()
	if before := m.expect("Name of this appliance [smtplb]: ", bootTime); strings.Contains(before, "lb-half") {
		t.Errorf("it remembers what was said before its power was cut:\n%s", before)
	}
}

// cloud waits until the first one lets mail through.
func (s *site) cloud(t *testing.T) {
	s.first.expect("smtplb: set up as /etc/smtplb/setup.yaml says", bootTime)
	s.mail(t)
}

// mail sends a message through the VIP, as soon as that works, and sees it at the
// relay.
func (s *site) mail(t *testing.T) {
	t.Helper()
	s.sent++
	m := smtptest.Outgoing{ID: fmt.Sprintf("mail-%d", s.sent), Size: 4096}
	smtptest.Eventually(t, step, func() bool { return s.ledger.Record(m, s.send(m, patience)) == nil }, "no mail through the VIP")
	if !slices.ContainsFunc(s.delivered(), func(got smtptest.Message) bool { return got.ID == m.ID }) {
		t.Errorf("%s was accepted, and the relay has not got it", m.ID)
	}
}

// delivered is what the relays have.
func (s *site) delivered() []smtptest.Message {
	return slices.Concat(s.relays[0].Messages(), s.relays[1].Messages())
}

// locked tries what must not work.
func (s *site) locked(t *testing.T) {
	const patience = 3 * time.Second
	closed := func(from, to string) {
		t.Helper()
		conn, err := s.connect(from, to, patience)
		if err == nil {
			conn.Close()
			t.Errorf("%s has reached %s", from, to)
		}
	}
	for _, port := range []string{"25", "22", "9925"} {
		closed(stranger, net.JoinHostPort(firstAddress, port))
		closed(stranger, net.JoinHostPort(vip, port))
	}
	closed(mailServer, firstAddress+":9925")
	closed(mailServer, vip+":9925")
	closed(mailServer, firstAddress+":22")
	closed(manager, vip+":25")
	closed(manager, firstAddress+":22") // nobody has left a key

	if status, _ := s.page(t, firstAddress, "/api/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d, want 401", status)
	}
	if status, text := s.page(t, firstAddress, "/api/v1/status", token); status != http.StatusOK || !strings.Contains(text, relayAddress) {
		t.Errorf("with the token: %d: %s", status, text)
	}
	if status, text := s.page(t, firstAddress, "/", ""); status != http.StatusOK || !strings.Contains(text, "<html") {
		t.Errorf("the dashboard: %d: %s", status, text)
	}
}

// page asks for one over TLS, from the management network.
func (s *site) page(t *testing.T, address, path, token string) (status int, text string) {
	t.Helper()
	const patience = 30 * time.Second
	conn, err := s.connect(manager, net.JoinHostPort(address, "9925"), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, err := http.NewRequest(http.MethodGet, "https://"+net.JoinHostPort(address, "9925")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its own certificate
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// dialogue answers the second one's questions, first wrongly where one can.
func (s *site) dialogue(t *testing.T) {
	m := s.second
	wrong := func(question, text, want string) {
		t.Helper()
		m.answer(question, text)
		m.expect("No: ", step)
		if said := m.expect("\n", step); !strings.Contains(said, want) {
			t.Errorf("%s: %s: it says %q, want something with %q", question, text, said, want)
		}
	}
	m.line("lb_b") // the first question is there already
	m.expect("No: must be letters, digits and hyphens", step)
	m.answer("Name of this appliance", "lb-b")
	wrong("Address of this appliance", secondAddress, secondAddress+"/24, say")
	wrong("Address of this appliance", "192.0.2.255/24", "broadcast")
	m.answer("Address of this appliance", secondAddress+"/24")
	wrong("Gateway", "192.0.3.1", "must be in it, such as 192.0.2.1")
	m.answer("Gateway", "")
	m.answer("DNS servers", "")
	wrong("VIP, the address", secondAddress, "must be another one")
	wrong("VIP, the address", "198.51.100.25", "192.0.2.0/24")
	m.answer("VIP, the address", vip)
	m.answer("Address of the other appliance", firstAddress)
	wrong("Relays", "relay.example.com", "must be an address")
	wrong("Relays", relayAddress+":99999", "1 to 65535")
	m.answer("Relays", relayAddress+" "+otherRelay)
	wrong("Who may send", "0.0.0.0/0", "too much of the Internet")
	wrong("Who may send", "", "somebody must be allowed")
	wrong("Who may send", "192.0.2.70/26", "192.0.2.64/26")
	m.answer("Who may send", "192.0.2.64/26")
	m.answer("Who may open the admin page", manager)
	m.answer("Password of root", "short")
	m.expect("No: too short", step)
	m.answer("Password of root", password)
	m.answer("The same again", password)
	m.expect("lb-b", step)
	m.answer("Set it up like this?", "yes")
	said := m.expect("The appliance is set up.", bootTime)
	if strings.Contains(said, password) {
		t.Errorf("the password is shown:\n%s", said)
	}
	m.expect("https://"+secondAddress+":9925/", step)
	m.login(password)
	m.sh("cat /dev/vcs1 | grep -q 'set up meanwhile'") // what the screen shows
	m.sh(working)
	s.mail(t)
}

// restart is by the first one's administrator; the second one takes the VIP.
func (s *site) restart(t *testing.T) {
	m := s.first
	m.login(password)
	m.line("echo 'add rule inet filter input ip saddr 192.0.2.12 meta l4proto { tcp, udp } th dport 7946 accept' >/etc/nftables.d/own.nft && systemctl reboot")
	s.mail(t)
	m.expect("login: ", bootTime)
	m.shell(password)
	m.sh(working)
	if units := m.sh("systemctl --failed --plain --no-legend"); units != "" {
		t.Errorf("units that have failed: %s", units)
	}
	// The administrator's own rules are there. A reload with a mistake changes nothing, and a start opens nothing.
	const own, closed = "nft list chain inet filter input | grep -q 'dport 7946 accept'", "nft list chain inet filter input | grep -q 'policy drop'"
	m.sh(own)
	m.sh("echo nonsense >/etc/nftables.d/wrong.nft && ! systemctl reload nftables && " + own)
	m.sh("systemctl restart nftables && " + closed + " && rm /etc/nftables.d/wrong.nft && systemctl reload nftables && " + own)
	s.mail(t)
}

// holder is the one that has the VIP.
func (s *site) holder(t *testing.T) *machine {
	t.Helper()
	var found *machine
	smtptest.Eventually(t, step, func() bool {
		found = nil
		for _, m := range []*machine{s.first, s.second} {
			if strings.Contains(m.sh("ip -brief address show dev eth0"), vip+"/") {
				if found != nil {
					return false // a move is on its way
				}
				found = m
			}
		}
		return found != nil
	}, "not exactly one has the VIP")
	return found
}

// upgrade installs a later package where the VIP is, while a session waits for the
// reply to its message.
func (s *site) upgrade(t *testing.T) {
	const wait = 45 * time.Second // for the reply; the package takes less
	m := s.holder(t)
	for _, r := range s.relays {
		r.SetScript(smtptest.Script{EndOfDataDelay: wait})
	}
	held := smtptest.Outgoing{ID: "held over the upgrade", Size: 4096}
	sent := make(chan error, 1)
	go func() { sent <- s.ledger.Record(held, s.send(held, step)) }()
	smtptest.Eventually(t, step, func() bool { return strings.Contains(m.sh("smtplb status --config "+configFile), " 1 sessions now") }, "no session")
	m.sh("mount -r /dev/sr0 /mnt && dpkg --install /mnt/newer.deb && umount /mnt")
	if text := m.sh("smtplb status --config " + configFile); !strings.Contains(text, newerVersion) {
		t.Errorf("the newer version does not run:\n%s", text)
	}
	if len(sent) > 0 {
		t.Log("the reply was there before the upgrade was done: this machine is busy")
	}
	if err := <-sent; err != nil {
		t.Errorf("the session that waited for a reply: %v\n%s", err, m.sh("journalctl --no-pager -n 60 -u smtplb -u keepalived"))
	}
	t.Logf("keepalived:\n%s", m.sh("journalctl --no-pager -n 20 -u keepalived"))
	for _, r := range s.relays {
		r.SetScript(smtptest.Script{})
	}
	s.mail(t)
}

// powerCut takes the power of the one with the VIP while messages are sent.
func (s *site) powerCut(t *testing.T) {
	m := s.holder(t)
	const messages = 40
	var sending sync.WaitGroup
	half := make(chan struct{})
	failed := make(chan error, 1)
	sending.Go(func() {
		deadline := time.Now().Add(2 * step)
		for i := range messages {
			if i == messages/4 {
				close(half)
			}
			out := smtptest.Outgoing{ID: fmt.Sprintf("cut-%d", i), Size: 4096}
			for { // as a mail server does
				err := s.ledger.Record(out, s.send(out, patience))
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					failed <- fmt.Errorf("%s: %w", out.ID, err)
					return
				}
			}
		}
		failed <- nil
	})
	<-half
	m.cut()
	cut := time.Now()
	m.cmd = nil
	s.mailTimes(t, cut)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	sending.Wait()
	report := s.ledger.Compare(s.delivered())
	t.Logf("%d messages delivered, %d lost, %d there twice", report.Delivered, len(report.Lost), len(report.Duplicated))
	if err := report.Err(); err != nil {
		t.Error(err)
	}
}

// mailTimes says when mail flows again.
func (s *site) mailTimes(t *testing.T, cut time.Time) {
	t.Helper()
	s.mail(t)
	t.Logf("mail is accepted %.1f s after the power was cut", time.Since(cut).Seconds())
}
