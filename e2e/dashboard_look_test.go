package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"smtplb/internal/smtptest"
)

// everyState is a balancer whose relays are in all the states that last, with
// names as long as they get.
func everyState(t *testing.T) *process {
	t.Helper()
	relay := func(s smtptest.Script) *smtptest.Relay { return smtptest.Start(t, s) }
	gone := relay(smtptest.Script{})
	gone.StopListening()
	p := start(t, site{pool: quick, backends: []string{
		backend("relay-with-a-name-that-is-long-and-has-no-spaces.mail.example.com", relay(smtptest.Script{}).Addr(), "site: headquarters"),
		backend("relay-busy", relay(smtptest.Script{Greeting: "421 relay.test too busy, come again later\r\n"}).Addr()),
		backend("relay-down", gone.Addr()),
		backend("relay-draining", relay(smtptest.Script{}).Addr()),
		backend("relay-disabled", relay(smtptest.Script{}).Addr(), "priority: 1"),
	}})
	for name, verb := range map[string]string{"relay-draining": "drain", "relay-disabled": "disable"} {
		if status, body := p.request(t, "POST", "/api/v1/backends/out/"+name+"/"+verb); status != 200 {
			t.Fatalf("%s: %d %s", verb, status, body)
		}
	}
	p.waitState(t, "relay-down", "down", 1)
	p.waitState(t, "relay-busy", "busy", 1)
	return p
}

// tooFaint lists the texts on the page whose contrast to what lies behind them
// is below 4.5 to 1, as WCAG 2.2, 1.4.3 counts it.
const tooFaint = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
	const rgba = (color) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = color;
		canvas.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const ground = (element) => {
		const layers = [];
		for (let e = element; e; e = e.parentElement) {
			layers.unshift(rgba(getComputedStyle(e).backgroundColor));
			if (layers[0][3] === 1) break;
		}
		return layers.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
	};
	const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => {
		const v = c[i] / 255;
		return sum + part * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
	}, 0);
	const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
	const bad = [];
	let checked = 0;
	const look = (element, color, text) => {
		if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) return;
		const behind = ground(element);
		const c = contrast(over(rgba(color), behind), behind);
		checked++;
		if (c < 4.5) bad.push(text.trim().slice(0, 40) + " " + c.toFixed(2));
	};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let node; (node = walker.nextNode());) {
		if (node.data.trim() && !["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.parentElement.tagName)) look(node.parentElement, getComputedStyle(node.parentElement).color, node.data);
	}
	for (const input of document.querySelectorAll("input[placeholder]")) look(input, getComputedStyle(input, "::placeholder").color, input.placeholder);
	return checked < 40 ? ["only " + checked + " texts were found"] : bad;
})()`

func TestDashboardCanBeReadInBothThemes(t *testing.T) {
	t.Parallel()
	b := browse(t, everyState(t).admin, 1300, 900)
	b.shows(t, "#event-list", "relay-busy")
	grounds := map[string]bool{}
	for _, theme := range []string{"light", "dark"} {
		b.prefer(t, theme)
		for _, dialog := range []string{"", "confirm", "token"} {
			if dialog != "" {
				b.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.getElementById(%q).showModal()`, dialog)))
			}
			for _, text := range eval[[]string](t, b, tooFaint) {
				t.Errorf("%s %s: too faint: %s", theme, dialog, text)
			}
			if dialog != "" {
				b.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.getElementById(%q).close()`, dialog)))
			}
		}
		grounds[eval[string](t, b, `getComputedStyle(document.body).backgroundColor`)] = true
	}
	if len(grounds) != 2 {
		t.Errorf("the themes have the grounds %v", grounds)
	}
	// The switch goes from the system's to light to dark, and is remembered.
	b.prefer(t, "light")
	light := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`)
	b.click(t, "#theme-button")
	b.click(t, "#theme-button")
	b.shows(t, "#theme-button", "dark")
	b.do(t, chromedp.Reload())
	b.shows(t, "#theme-button", "dark")
	if dark := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); dark == light {
		t.Errorf("chosen dark, and it is %s as before", dark)
	}
	if moving := eval[string](t, b, `getComputedStyle(document.querySelector(".dot")).animationName`); moving != "none" {
		t.Errorf("who wants no motion gets %s", moving)
	}
}

// Pools that are well are closed where there are many, and what is closed has no
// rows. A relay is found in all of them.
func TestDashboardOfManyRelays(t *testing.T) {
	t.Parallel()
	everywhere, err := smtptest.Listen("0.0.0.0:0", smtptest.Script{}) // all of 127.0.0.0/8 is one relay
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(everywhere.Close)
	backends := func(pool int) (all []string) {
		for i := range 30 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(1 + pool), byte(1 + i)}), everywhere.Addr().Port())
			all = append(all, backend(fmt.Sprintf("relay-%d-%02d", pool, i), at))
		}
		return all
	}
	s := site{backends: backends(0)}
	for pool := 1; pool < 6; pool++ {
		s.rest += fmt.Sprintf("  - name: more-%d\n    backends:\n      - %s\n", pool, strings.Join(backends(pool), "\n      - "))
	}
	p := start(t, s)
	b := browse(t, p.admin, 1300, 900)
	b.shows(t, "#verdict", "all 180 relays up")
	const rows, shown = `document.querySelectorAll(".relays tbody tr").length`, `[...document.querySelectorAll(".relays tbody tr")].filter((r) => r.checkVisibility())`
	if n := eval[int](t, b, rows); n != 0 {
		t.Errorf("%d rows in pools that are closed", n)
	}
	b.click(t, `details[data-pool="more-2"] summary`)
	b.see(t, rows+" === 30")
	b.click(t, `details[data-pool="more-2"] summary`)
	b.see(t, rows+" === 0")
	b.enter(t, "#relay-filter", "RELAY-3-07")
	b.see(t, shown+`.map((r) => r.dataset.backend).join() === "relay-3-07"`)
	b.enter(t, "#relay-filter", strings.Repeat(kb.Backspace, len("RELAY-3-07")))
	b.see(t, rows+" === 0")
	b.click(t, "#only-bad")
	b.shows(t, "#no-pools", "Every relay is up.")
	if status, body := p.request(t, "POST", "/api/v1/backends/more-4/relay-4-11/drain"); status != 200 {
		t.Fatalf("drain: %d %s", status, body)
	}
	b.see(t, shown+`.map((r) => r.dataset.backend).join() === "relay-4-11"`)
}

func TestDashboardFitsAPhone(t *testing.T) {
	t.Parallel()
	p := everyState(t)
	client := smtptest.Dial(t, p.address)
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	b := browse(t, p.admin, 360, 800)
	b.shows(t, "#event-list", "relay-busy")
	b.do(t, chromedp.ScrollIntoView(chromedp.CSS("#session-search")))
	b.see(t, `document.querySelectorAll("#session-table tbody tr").length === 1`)
	wide := `[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest(".unseen, .skip, thead") &&
		e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + "." + e.className + " " + e.id)`
	for _, width := range []int64{360, 800, 1100} {
		b.do(t, chromedp.EmulateViewport(width, 800))
		b.see(t, fmt.Sprintf("innerWidth === %d", width))
		if got := eval[int64](t, b, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("at %d the page is %d wide: %v", width, got, eval[[]string](t, b, wide))
		}
	}
	b.do(t, chromedp.EmulateViewport(360, 800))
	b.click(t, button("relay-draining", "enable"))
	b.see(t, `document.getElementById("confirm").open && document.getElementById("confirm").getBoundingClientRect().right <= innerWidth`)
}
