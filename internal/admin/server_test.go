package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

func TestListenSaysAllThatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name   string
		change func(*Server)
		want   []string
	}{
		{"no address", func(s *Server) { s.Address = netip.AddrPort{} }, []string{"no address", "127.0.0.1:9925"}},
		{"off loopback without a token", func(s *Server) { s.Address = netip.MustParseAddrPort("192.0.2.1:9925") },
			[]string{"192.0.2.1:9925", "no token", "drain every relay"}},
		{"everywhere without a token", func(s *Server) { s.Address = netip.MustParseAddrPort("[::]:9925") }, []string{"no token"}},
		{"a token of two lines", func(s *Server) { s.Token = "se\ncret" }, []string{"token", "printable"}},
		{"a token with a space", func(s *Server) { s.Token = "my secret" }, []string{"token", "without spaces"}},
		{"a token that is not ASCII", func(s *Server) { s.Token = "gehe\u00EDm" }, []string{"token", "ASCII"}},
		{"TLS without a certificate", func(s *Server) { s.TLS = &tls.Config{} }, []string{"certificate"}},
		{"two at once", func(s *Server) { s.Address, s.Token = netip.AddrPort{}, "a b" }, []string{"no address", "without spaces"}},
		{"a port that is taken", func(s *Server) { s.Address = taken.Addr().(*net.TCPAddr).AddrPort() },
			[]string{taken.Addr().String(), "in use"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			smtptest.CheckDescriptors(t)
			r := newRig(t)
			test.change(r.Server)
			err := r.Listen()
			if err == nil {
				_ = r.Shutdown(t.Context())
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), "gehe") {
				t.Errorf("error %q gives the token away", err)
			}
		})
	}
}

func TestTheZeroServerHasNothingToTell(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r := &rig{Server: &Server{Address: netip.MustParseAddrPort("127.0.0.1:0")}}
	url, client := r.running(t), newClient(t)
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ready\n", "/metrics": "smtplb_sessions_open 0", "/api/v1/status": `"pools": []`,
	} {
		if status, body := get(t, client, url+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
}

func TestAServerServesOnce(t *testing.T) {
	r := newRig(t)
	if got := r.Addr(); got.IsValid() {
		t.Errorf("Addr before Listen: %v", got)
	}
	if err := r.Serve(); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve before Listen: %v", err)
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := r.Listen(); err == nil {
		t.Error("it may listen twice")
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown before Serve: %v", err)
	}
	if err := r.Serve(); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if err := r.Listen(); err == nil {
		t.Error("it may listen after Shutdown")
	}
	again, err := net.Listen("tcp", r.Addr().String())
	if err != nil {
		t.Fatalf("Shutdown left the port bound: %v", err)
	}
	_ = again.Close()
}

// slow is a server whose answers wait in Ready until they are let go.
func slow(t *testing.T) (r *rig, asked, letGo chan struct{}) {
	t.Helper()
	r, asked, letGo = newRig(t), make(chan struct{}), make(chan struct{})
	r.Ready = func() (bool, string) {
		asked <- struct{}{}
		<-letGo
		return true, ""
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	return r, asked, letGo
}

func TestShutdownWaitsForAnswersUnderWay(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r, asked, letGo := slow(t)
	served, answered, shut := make(chan error, 1), make(chan int, 1), make(chan error, 1)
	go func() { served <- r.Serve() }()
	client := newClient(t)
	go func() {
		status, _ := get(t, client, "http://"+r.Addr().String()+"/readyz")
		answered <- status
	}()
	<-asked
	go func() { shut <- r.Shutdown(context.Background()) }()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	select {
	case err := <-shut:
		t.Errorf("Shutdown returned before the answer: %v", err)
	default:
	}
	close(letGo)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the answer under way: %d", status)
	}
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownCutsWhenItsTimeIsOver(t *testing.T) {
	smtptest.CheckDescriptors(t)
	r, asked, letGo := slow(t)
	served, failed := make(chan error, 1), make(chan error, 1)
	go func() { served <- r.Serve() }()
	client := newClient(t)
	go func() {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+r.Addr().String()+"/readyz", nil)
		if err == nil {
			var answer *http.Response
			if answer, err = client.Do(request); err == nil {
				answer.Body.Close()
			}
		}
		failed <- err
	}()
	<-asked
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Shutdown(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the client got an answer that was not finished")
	}
	close(letGo)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestHTTPS(t *testing.T) {
	smtptest.CheckDescriptors(t)
	other := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1, and a client that trusts it
	defer other.Close()
	r := newRig(t)
	r.TLS = &tls.Config{Certificates: other.TLS.Certificates, MinVersion: tls.VersionTLS12}
	url := r.running(t)
	client := other.Client()
	defer client.CloseIdleConnections()
	if status, body := get(t, client, strings.Replace(url, "http:", "https:", 1)+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	if status, _ := get(t, newClient(t), url+"/healthz"); status != http.StatusBadRequest {
		t.Errorf("plain HTTP on the port of HTTPS: %d", status)
	}
}

func TestReadyzSaysWhyNot(t *testing.T) {
	for _, test := range []struct {
		ready  func() (bool, string)
		status int
		text   string
	}{
		{nil, 200, "ready\n"},
		{func() (bool, string) { return true, "" }, 200, "ready\n"},
		{func() (bool, string) { return false, "draining" }, 503, "not ready: draining\n"},
		{func() (bool, string) { return false, "" }, 503, "not ready: no reason given\n"},
	} {
		r := newRig(t)
		r.Ready = test.ready
		answer := r.ask(t, "GET", "/readyz")
		if answer.Code != test.status || answer.Body.String() != test.text {
			t.Errorf("%d %q, want %d %q", answer.Code, answer.Body, test.status, test.text)
		}
	}
}

func TestEveryRelayDownIsReadyAllTheSame(t *testing.T) {
	r := newRig(t)
	for i := range len(r.outbound.Backends()) {
		r.outbound.Disable(r.now(), i)
	}
	if answer := r.ask(t, "GET", "/readyz"); answer.Code != http.StatusOK {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}
