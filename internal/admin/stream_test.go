package admin

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

// watching opens the stream of a server and returns its events' names.
func watching(t *testing.T, url string) (events *bufio.Scanner, closeIt func()) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := newClient(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %q", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	events = bufio.NewScanner(answer.Body)
	events.Buffer(nil, 1<<20)
	return events, func() { answer.Body.Close() }
}

// next is the name of the next event.
func next(events *bufio.Scanner) string {
	for events.Scan() {
		if name, ok := strings.CutPrefix(events.Text(), "event: "); ok {
			return name
		}
	}
	return ""
}

// The server's deadlines are for answers that end: a stream outlives them.
func TestAStreamOutlivesTheDeadlines(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r := newRig(t)
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	r.http.ReadTimeout, r.http.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	events, _ := watching(t, "http://"+r.Addr().String())
	for _, want := range []string{"history", "state", "change", "change"} { // two seconds
		if got := next(events); got != want && got != "step" {
			t.Errorf("event %q, want %q: %v", got, want, events.Err())
		}
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown with a watcher: %v", err)
	}
	for next(events) != "" { // to its end
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestWatchersLeaveRoomForOthers(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r := newRig(t)
	url := r.running(t)
	var leave func()
	for range maxWatchers {
		events, closeIt := watching(t, url)
		if next(events) != "history" {
			t.Fatal("no history")
		}
		leave = closeIt
	}
	client := newClient(t)
	if status, body := get(t, client, url+"/api/v1/stream"); status != http.StatusServiceUnavailable || !strings.Contains(body, "as many watch") {
		t.Errorf("one more: %d %s", status, body)
	}
	if status, _ := get(t, client, url+"/healthz"); status != http.StatusOK {
		t.Errorf("another request meanwhile: %d", status)
	}
	leave()
	smtptest.Eventually(t, 10*time.Second, func() bool {
		r.feed.mu.Lock()
		defer r.feed.mu.Unlock()
		return len(r.feed.watchers) == maxWatchers-1
	}, "the one who left is forgotten")
	if events, _ := watching(t, url); next(events) != "history" {
		t.Error("no room after one has left")
	}
}

func TestTheStreamIsForReaders(t *testing.T) {
	r := newRig(t)
	r.Token = token
	if answer := r.ask(t, "GET", "/api/v1/stream", header("Authorization", "Bearer wrong")); answer.Code != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", answer.Code)
	}
	if answer := r.ask(t, "GET", "/api/v1/stream", host("evil.example")); answer.Code != http.StatusForbidden {
		t.Errorf("another Host: %d", answer.Code)
	}
	r.Token = ""
	r.feed.close()
	if answer := r.ask(t, "GET", "/api/v1/stream"); answer.Code != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d", answer.Code)
	}
}
