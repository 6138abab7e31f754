package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"smtplb/internal/smtptest"
)

// browser is a page in a Chromium of its own. Whatever the test does, the page
// must ask nobody but the server, and complain of nothing but what is forgiven.
type browser struct {
	ctx     context.Context
	forgive []string // parts of complaints that the test brings about

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// browse opens the dashboard of a server, in a window of that size.
func browse(t *testing.T, admin string, width, height int64, forgive ...string) *browser {
	t.Helper()
	b := &browser{forgive: forgive}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(find(t, "chromium")),
		chromedp.Flag("disable-dev-shm-usage", true)) // small in containers
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to run as root with it
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(leave)
	b.ctx = ctx
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.check(t, admin) })
	b.do(t, chromedp.EmulateViewport(width, height), chromedp.Navigate("http://"+admin+"/"))
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console %s %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		what := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			what += " " + e.ExceptionDetails.Exception.Description
		}
		b.complaints = append(b.complaints, "exception: "+what)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.complaints = append(b.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// check looks at what the page did besides.
func (b *browser) check(t *testing.T, admin string) {
	t.Helper()
	if t.Failed() { // not with the lock: the browser goes on telling
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
		t.Logf("the page, %v:\n%s", err, text[:min(len(text), 3000)])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		forgiven := false
		for _, part := range b.forgive {
			forgiven = forgiven || strings.Contains(complaint, part)
		}
		if !forgiven {
			t.Errorf("the browser complains: %s", complaint)
		}
	}
	if len(b.requests) == 0 {
		t.Error("no request was seen: nothing was checked")
	}
	for _, request := range b.requests {
		if u, err := url.Parse(request); err != nil || u.Host != admin && u.Scheme != "data" {
			t.Errorf("the page asks elsewhere: %s", request)
		}
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of an expression, which may be a promise.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// see waits until an expression holds. While the page is loaded anew there is
// nothing to ask.
func (b *browser) see(t *testing.T, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*patience)
	defer cancel()
	smtptest.Eventually(t, patience, func() bool {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")", chromedp.EvalAwaitPromise))
		return err == nil && is
	}, "in the page: %s", expression)
}

// shows waits until the text of an element has a part.
func (b *browser) shows(t *testing.T, selector, part string) {
	t.Helper()
	b.see(t, fmt.Sprintf("document.querySelector(%s)?.innerText.includes(%s)", quoted(selector), quoted(part)))
}

func (b *browser) click(t *testing.T, selector string) {
	t.Helper()
	b.do(t, chromedp.Click(chromedp.CSS(selector)))
}

func (b *browser) enter(t *testing.T, selector, text string) {
	t.Helper()
	b.do(t, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// prefer has the browser say which theme its user wants.
func (b *browser) prefer(t *testing.T, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// quoted is text as JavaScript writes it.
func quoted(text string) string {
	q, err := json.Marshal(text)
	if err != nil {
		panic(err) // no string is like that
	}
	return string(q)
}
