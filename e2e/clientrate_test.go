package e2e

import (
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// Who connects too often is told to come again, and others do not notice. Behind
// a proxy it is the client that counts.
func TestClientThatConnectsTooOftenComesAgain(t *testing.T) {
	t.Parallel()
	relay := smtptest.Start(t, smtptest.Script{})
	p := start(t, site{
		listener: "max_rate_per_client: {per_minute: 1, burst: 2}, accept_proxy: [127.0.0.3], allow: [127.0.0.0/8, 10.9.0.0/16]",
		backends: []string{backend("relay-a", relay.Addr())},
	})
	for _, step := range []struct {
		from, header string
		in           bool
	}{
		{"127.0.0.1", "", true}, {"127.0.0.1", "", true}, {"127.0.0.1", "", false}, {"127.0.0.1", "", false},
		{"127.0.0.2", "", true},
		{theProxy, headV1("10.9.0.1"), true}, {theProxy, headV1("10.9.0.1"), true}, {theProxy, headV1("10.9.0.1"), false},
		{theProxy, headV1("10.9.0.2"), true},
	} {
		answer, err := push(step.from, p.address, step.header)
		if err != nil || strings.HasPrefix(answer, "220 ") != step.in ||
			!step.in && (!strings.HasPrefix(answer, "421 4.7.0 ") || !strings.Contains(answer, "too many connections from 1")) {
			t.Errorf("%s with %q read %q, %v; want it let in: %v", step.from, step.header, answer, err, step.in)
		}
	}
	limited := 0
	for _, s := range p.sessions(t, 9) {
		if s.End == "client_limit" {
			limited++
		}
	}
	if limited != 3 {
		t.Errorf("%d sessions ended as client_limit, want 3", limited)
	}
}
