package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smtplb/balancer"
	"smtplb/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server over two pools, with a clock that stands still.
type rig struct {
	*Server
	outbound, bulk *balancer.Pool

	mu     sync.Mutex
	clock  time.Time
	errors []error
}

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{clock: start}
	r.outbound = newPool(t, balancer.Config{
		Name: "outbound", Warm: balancer.Warm{Share: 0.05}, Backends: []balancer.BackendConfig{
			{Name: "relay-a", Site: "hq", Weight: 2, MaxSessions: 50},
			{Name: "relay-b", Site: "hq", Weight: 1},
			{Name: "relay-dr", Site: "dr", Weight: 1, Priority: 1},
		},
	})
	r.bulk = newPool(t, balancer.Config{Name: "bulk", Backends: []balancer.BackendConfig{
		{Name: "farm/10.0.0.1", Weight: 1}, {Name: "[::1]:25", Weight: 1},
	}})
	r.Server = &Server{
		Address: netip.MustParseAddrPort("127.0.0.1:0"), Version: "v1.2.3", StartedAt: start.Add(-time.Hour),
		Pools: func() []Pool {
			return []Pool{
				{Balancer: r.outbound, Addresses: []string{"10.0.0.1:25", "10.0.0.2:25"}, WarmShare: 0.05},
				{Balancer: r.bulk, Since: start.Add(-time.Minute)},
			}
		},
		Names: func() []Name {
			return []Name{{Name: "farm.example.com:25", Relays: 2, Answered: start, Failures: map[string]uint64{"timeout": 0}}}
		},
		OnError: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.errors = append(r.errors, err)
		},
		now: func() time.Time {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.clock
		},
	}
	return r
}

func newPool(t testing.TB, cfg balancer.Config) *balancer.Pool {
	t.Helper()
	p, err := balancer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// later moves the clock on.
func (r *rig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

// complaints are the errors that were reported so far.
func (r *rig) complaints() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errors...)
}

// established runs a session of outbound on whoever's turn it is.
func (r *rig) established(t *testing.T, greeting time.Duration) (backend string) {
	t.Helper()
	lease, err := r.outbound.Acquire(r.now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	backend = lease.Backend().Name()
	lease.Established(r.now(), greeting)
	lease.Release(r.now())
	return backend
}

// ask answers one request without a network. Host is one of loopback.
func (r *rig) ask(t *testing.T, method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r.began = r.StartedAt
	if r.feed == nil {
		r.feed = newFeed(r.Server)
	}
	handler, err := r.handler()
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	request.Host = "127.0.0.1:9925"
	for _, c := range change {
		c(request)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// read decodes an answer that must be JSON without unknown fields.
func read[T any](t *testing.T, answer *httptest.ResponseRecorder) (v T) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(answer.Body.String()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, answer.Body)
	}
	return v
}

// running is a server that answers on a real port, and is stopped at the end.
func (r *rig) running(t *testing.T) (url string) {
	t.Helper()
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + r.Addr().String()
}

// get asks over the network.
func get(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// counts are what the proxy would say.
func counts() proxy.Stats {
	return proxy.Stats{
		Accepted: 12, Open: 3, Hedging: 1, Hedged: 2, Descriptors: 7, DescriptorLimit: 900, BytesUp: 1000, BytesDown: 200,
		Late: proxy.Lateness{Times: 3, Sum: 6 * time.Second, Within: map[time.Duration]int64{10 * time.Millisecond: 1, time.Second: 2}},
		Ends: map[proxy.End]int64{proxy.ClientClosed: 8, proxy.NoBackend: 1},
	}
}
