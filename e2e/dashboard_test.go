package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"smtplb/internal/smtptest"
)

// row is a relay's in the page.
func row(name string) string { return fmt.Sprintf("tr[data-backend=%q]", name) }

// button is one of its buttons.
func button(name, verb string) string { return fmt.Sprintf("%s button[data-verb=%s]", row(name), verb) }

// stateOf is a relay's state, by the API, read in the page.
func stateOf(name string) string {
	return fmt.Sprintf(`(await (await fetch("api/v1/status")).json()).pools[0].tiers.flatMap((t) => t.backends).find((b) => b.name === %q).state`, name)
}

// twoRelays is a balancer with two relays, seen in a browser.
func twoRelays(t *testing.T, forgive ...string) (relayA *smtptest.Relay, p *process, b *browser) {
	t.Helper()
	relayA, relayB := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p = start(t, site{pool: quick, backends: []string{backend("relay-a", relayA.Addr(), "site: hq"), backend("relay-b", relayB.Addr(), "site: hq")}})
	b = browse(t, p.admin, 1300, 900, forgive...)
	b.shows(t, "#verdict", "all 2 relays up")
	return relayA, p, b
}

// A relay that is down by the API's word is down in the page with the second
// frame after that at the latest; one frame a second is told.
func TestDashboardShowsARelayGoDown(t *testing.T) {
	t.Parallel()
	relayA, p, b := twoRelays(t)
	b.shows(t, row("relay-a"), "up")
	relayA.StopListening()
	p.waitState(t, "relay-a", "down", 1)
	shown := eval[string](t, b, `(async () => {
		const frame = () => Number(document.documentElement.dataset.frame);
		while (`+stateOf("relay-a")+` !== "down");
		const last = frame() + 2;
		while (frame() < last) await new Promise((resolve) => requestAnimationFrame(resolve));
		return document.querySelector('`+row("relay-a")+`').innerText;
	})()`)
	if !strings.Contains(shown, "down") || !strings.Contains(shown, "refused") {
		t.Errorf("the row two frames later, without the state or the reason: %q", shown)
	}
	b.shows(t, "#verdict", "relay-a is down")
	b.shows(t, "#spoken", "relay-a of pool out is down, was up")
	b.see(t, `document.title.startsWith("down: out")`)
	b.shows(t, "#event-list", "relay-a")
	if err := relayA.Restart(); err != nil {
		t.Fatal(err)
	}
	b.shows(t, "#verdict", "all 2 relays up")
}

// What a person at the keyboard does: skips to the relays, thinks better of a
// drain, drains, and brings the relay back.
func TestDashboardDrainsARelay(t *testing.T) {
	t.Parallel()
	_, _, b := twoRelays(t)
	b.do(t, chromedp.KeyEvent(kb.Tab))
	b.see(t, `document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().top >= 0`)

	b.click(t, button("relay-a", "drain"))
	b.shows(t, "#confirm", "Drain relay-a?")
	b.see(t, `document.activeElement.id === "confirm-no"`)
	b.do(t, chromedp.KeyEvent(kb.Escape))
	b.see(t, `!document.getElementById("confirm").open`)
	if state := eval[string](t, b, "(async () => "+stateOf("relay-a")+")()"); state != "up" {
		t.Errorf("after Escape: %s", state)
	}

	b.click(t, button("relay-a", "drain"))
	b.click(t, "#confirm-yes")
	b.shows(t, row("relay-a"), "draining")
	b.shows(t, "#spoken", "relay-a of pool out is draining")
	b.shows(t, "#event-list", "draining")
	b.see(t, `document.activeElement.dataset.verb === "enable"`) // its button takes the place of the one that is gone

	// The last one is another matter, and said to be.
	b.click(t, button("relay-b", "disable"))
	b.shows(t, "#confirm", "clients will read 421")
	b.click(t, "#confirm-no")

	b.click(t, button("relay-a", "enable"))
	b.click(t, "#confirm-yes")
	b.shows(t, "#verdict", "all 2 relays up")
}

func TestDashboardFindsASession(t *testing.T) {
	t.Parallel()
	_, p, b := twoRelays(t)
	for _, local := range []string{"127.0.0.7", "127.0.0.8", "127.0.0.9"} {
		client, err := smtptest.DialFrom(netip.MustParseAddr(local), p.address, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if _, err := client.Greeting(); err != nil {
			t.Fatal(err)
		}
	}
	b.do(t, chromedp.ScrollIntoView(chromedp.CSS("#session-search")))
	b.see(t, `document.querySelectorAll("#session-table tbody tr").length === 3`)
	b.enter(t, "#session-search", "127.0.0.8")
	b.see(t, `document.querySelectorAll("#session-table tbody tr").length === 1`)
	b.shows(t, "#session-table tbody tr", "127.0.0.8:")
	b.shows(t, "#sessions-said", "1 of 3 running sessions")
	b.enter(t, "#session-search", "0")
	b.shows(t, "#sessions-said", "None of the 3 running sessions")
}

// A reload is told below with what it changed; a file with a mistake is refused
// in the dialog.
func TestDashboardReloadsTheFile(t *testing.T) {
	t.Parallel()
	_, p, b := twoRelays(t, "409", "422", "400") // a refusal is an HTTP error, and the console says so
	was, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(was), "name: relay-a", "name: relay-a, weight: 7", 1))
	b.click(t, "#reload-button")
	b.click(t, "#confirm-yes")
	b.shows(t, "#event-list", "relay-a.weight: 1 -> 7")
	b.see(t, fmt.Sprintf(`document.querySelector('%s .c-weight .main').innerText === "7"`, row("relay-a")))
	write(string(was) + "nonsense: 1\n")
	b.click(t, "#reload-button")
	b.click(t, "#confirm-yes")
	b.shows(t, "#confirm-error", "nonsense")
	b.click(t, "#confirm-no")
	b.shows(t, "#event-list", "reload: refused")
}

// The page finds back by itself to a server that was away, and says meanwhile
// that what it shows is old.
func TestDashboardOutlivesTheServer(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	s := site{
		pool: quick, backends: []string{backend("relay-a", relay.Addr())},
		address: freeAddress(t, "127.0.0.1").String(), admin: freeAddress(t, "127.0.0.1").String(),
	}
	p := start(t, s)
	b := browse(t, p.admin, 1300, 900, "net::ERR_")
	b.shows(t, "#link", "live")
	p.signal(syscall.SIGTERM)
	if status := p.waitExit(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	b.shows(t, "#notice", "No answer since")
	b.see(t, `document.title.startsWith("no answer")`)
	again := start(t, s)
	b.shows(t, "#link", "live")
	b.see(t, `document.getElementById("notice").hidden && document.title.startsWith("all is well")`)
	if status, _ := again.request(t, "POST", "/api/v1/backends/out/relay-a/drain"); status != 200 {
		t.Fatalf("drain: %d", status)
	}
	b.shows(t, "#verdict", "no relay takes sessions")
}

func TestDashboardAsksForTheToken(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	file := writeFile(t, "token", "open-sesame\n")
	for _, test := range []struct {
		name, host string
		toRead     bool // needs it
	}{{"loopback", "127.0.0.1", false}, {"off loopback", "0.0.0.0", true}} {
		t.Run(test.name, func(t *testing.T) {
			// Of a port that is held at one address only, another one's may be in use.
			free, err := net.Listen("tcp", test.host+":0")
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(free.Addr().String())
			if err := free.Close(); err != nil {
				t.Fatal(err)
			}
			s := site{pool: quick, backends: []string{backend("relay-a", relay.Addr())}, admin: "127.0.0.1:" + port}
			s.rest = fmt.Sprintf("admin: {address: \"%s:%s\", token_file: %q}\n", test.host, port, file)
			p := start(t, s)
			b := browse(t, p.admin, 1300, 900, "401")
			give := func(token string) {
				t.Helper()
				b.see(t, `document.getElementById("token").open`)
				b.enter(t, "#token-input", token+kb.Enter)
			}
			drain := func() {
				t.Helper()
				b.shows(t, "#verdict", "all 1 relay up")
				b.click(t, button("relay-a", "drain"))
				b.click(t, "#confirm-yes")
			}
			if !test.toRead {
				drain()
			}
			give("open-barley")
			b.shows(t, "#token-error", "the token is not the right one")
			give("open-sesame")
			if test.toRead {
				drain()
			}
			b.shows(t, row("relay-a"), "draining")
			b.see(t, `!document.querySelector("dialog[open]")`)
			// It is kept for the tab, and nowhere else.
			b.do(t, chromedp.Reload())
			b.shows(t, row("relay-a"), "draining")
			b.see(t, `!document.querySelector("dialog[open]") && localStorage.length === 0 && document.cookie === ""`)
			b.click(t, "#token-button")
			b.see(t, `sessionStorage.length === 0`)
		})
	}
}

// While sessions hold every descriptor, clients wait: that is not well, however
// many relays are up.
func TestDashboardSaysThatItIsFull(t *testing.T) {
	t.Parallel()
	_, p, b := twoRelays(t)
	word := eval[string](t, b, `(async () => {
		const { verdict } = await import("/dashboard/js/verdict.js");
		const state = await (await fetch("api/v1/status")).json();
		const before = verdict(state).word;
		state.sessions.descriptors = state.sessions.descriptor_limit - 1;
		return before + ", " + verdict(state).word;
	})()`)
	if word != "All is well, Full" {
		t.Errorf("with room and without it is said: %q", word)
	}
	if _, body := p.get(t, "/api/v1/status"); !strings.Contains(body, `"descriptor_limit": `) {
		t.Error("no limit is told")
	}
}

// Who shares limits with others sees who hears whom, and what is in force.
func TestDashboardShowsTheOtherBalancers(t *testing.T) {
	g := agreeing(t, 3, sharing(t, startMeter(t, 30)))
	b := browse(t, g.all[0].admin, 1300, 900)
	b.shows(t, "#verdict", "All is well")
	b.shows(t, "#cluster-said", "is one of 3 balancers; 2 of 2 others in reach")
	b.see(t, `document.querySelectorAll("#limit-table tbody tr").length === 0`)
	b.click(t, "#limits summary")
	b.shows(t, "#limit-table tbody", "out/relay\t30\t10")
	g.kill(t, 2)
	b.shows(t, "#cluster-said", "1 of 2 others in reach")
	b.shows(t, "#peer-table", "out of reach")
	b.shows(t, "#verdict", "is out of reach: its share of each limit stays with it; all 1 relay up")
	for _, theme := range []string{"light", "dark"} {
		b.prefer(t, theme)
		for _, text := range eval[[]string](t, b, tooFaint) {
			t.Errorf("%s: too faint: %s", theme, text)
		}
	}
	g.restart(t, 2)
	b.shows(t, "#verdict", "All is well")
}
