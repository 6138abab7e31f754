package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"smtplb/internal/smtptest"
)

// get returns what the admin address answers.
func (p *process) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	return p.request(t, http.MethodGet, path)
}

func (p *process) request(t *testing.T, method, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.admin+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(text)
}

// A person takes a relay out and brings it back, and Prometheus sees it.
func TestRelayIsDrainedAndEnabled(t *testing.T) {
	t.Parallel()
	relayA, relayB := smtptest.Start(t, smtptest.Script{}), smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: quick, backends: []string{backend("relay-a", relayA.Addr()), backend("relay-b", relayB.Addr())}})
	ended := 0
	visits := func(want map[string]int) {
		t.Helper()
		for range 4 {
			if err := visit(p.address); err != nil {
				t.Fatal(err)
			}
			ended++
			p.sessions(t, ended) // one at a time
		}
		if got := shares(p.sessions(t, ended)[ended-4:]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sessions %v, want %v", got, want)
		}
	}
	visits(map[string]int{"relay-a": 2, "relay-b": 2})
	if status, body := p.request(t, http.MethodPost, "/api/v1/backends/out/relay-a/drain"); status != http.StatusOK {
		t.Fatalf("drain: %d %s", status, body)
	}
	p.waitState(t, "relay-a", "draining", 1)
	visits(map[string]int{"relay-b": 4})
	if status, body := p.request(t, http.MethodPost, "/api/v1/backends/out/relay-x/drain"); status != http.StatusNotFound || !strings.Contains(body, "relay-a") {
		t.Errorf("drain of nobody: %d %s, want the near names", status, body)
	}
	_, metrics := p.get(t, "/metrics")
	for _, line := range []string{
		`smtplb_backend_state{backend="relay-a",pool="out",state="draining"} 1`,
		`smtplb_backend_established_total{backend="relay-b",pool="out"} 6`,
		`smtplb_backend_attempts_total{backend="relay-a",outcome="ok",pool="out"} 2`,
		`smtplb_tier_idle_seconds{pool="out",tier="0"} `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics without %s", line)
		}
	}
	if status, body := p.request(t, http.MethodPost, "/api/v1/backends/out/relay-a/enable"); status != http.StatusOK {
		t.Fatalf("enable: %d %s", status, body)
	}
	p.waitState(t, "relay-a", "up", 1)
	visits(map[string]int{"relay-a": 3, "relay-b": 1}) // its turn comes first, and what it missed is not made up for
	var status struct {
		Pools []struct {
			Name string
		}
	}
	if _, body := p.get(t, "/api/v1/status"); json.Unmarshal([]byte(body), &status) != nil || len(status.Pools) != 1 || status.Pools[0].Name != "out" {
		t.Errorf("status %s", body)
	}
}

// Ready says whether clients are accepted, to the end of a drain; that no relay
// is up is no reason to send them to the other balancer.
func TestReadyUntilItDrains(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{pool: quick, backends: []string{backend("relay-a", relay.Addr())}})
	client := smtptest.Dial(t, p.address)
	if _, err := client.Greeting(); err != nil {
		t.Fatal(err)
	}
	relay.StopListening()
	p.waitState(t, "relay-a", "down", 1)
	if status, body := p.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("with all relays down: %d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	smtptest.Eventually(t, patience, func() bool {
		status, _ := p.get(t, "/readyz")
		return status == http.StatusServiceUnavailable
	}, "not ready while it drains")
	if status, _ := p.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz while it drains: %d", status)
	}
	client.Close()
	if status := p.waitExit(t); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
}
