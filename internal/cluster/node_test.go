package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smtplb/internal/smtptest"
)

func TestMain(m *testing.M) {
	// memberlist closes its queue without waiting for who reads it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/memberlist.(*Memberlist).packetHandler"))
}

// site is a balancer with one ceiling: what it uses, and what it may.
type site struct {
	node *Node

	mu     sync.Mutex
	use    int
	limit  int
	grant  Grant
	events []Event
	news   []TierNews
	tiers  []TierUse
}

// kept is what these balancers lend to nobody.
func kept(share int) int { return min(share/2, max(1, share/4)) }

func (s *site) read(time.Time) ([]Ceiling, []TierUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := s.limit / (len(s.node.config.Peers) + 1)
	return []Ceiling{{Key: key, Limit: s.limit, Share: share, Keep: kept(share), Here: s.use, Busy: s.use > 0}}, slices.Clone(s.tiers)
}

func (s *site) apply(_ time.Time, grants []Grant, news []TierNews) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant = grants[0]
	for _, n := range news {
		if n.Sessions > 0 {
			s.news = append(s.news, n)
		}
	}
	return map[string]int{key: s.use}
}

func (s *site) told(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *site) may() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.Sessions
}

func (s *site) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// heard tells whether it was told of something with that text.
func (s *site) heard(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.events, func(e Event) bool { return strings.Contains(e.Peer+": "+e.What, text) })
}

// freeAddresses are addresses of loopback at which nothing listens, TCP or UDP.
func freeAddresses(t testing.TB, n int) (all []netip.AddrPort) {
	t.Helper()
	for len(all) < n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", len(all)+1))
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		u, err := net.ListenPacket("udp", at.String())
		if err == nil {
			all = append(all, at)
			_ = u.Close()
		}
		_ = l.Close()
	}
	return all
}

// config is a balancer's of those at all addresses.
func config(all []netip.AddrPort, i int) Config {
	peers := slices.Delete(slices.Clone(all), i, i+1)
	return Config{Bind: all[i], Peers: peers, Key: []byte("0123456789abcdef"), Hold: time.Minute}
}

func newSite(t testing.TB, c Config, limit int) *site {
	t.Helper()
	s := &site{limit: limit}
	c.Read, c.Apply, c.Told = s.read, s.apply, s.told
	node, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.node = node
	return s
}

func openSite(t testing.TB, c Config, limit int) *site {
	t.Helper()
	s := newSite(t, c, limit)
	if err := s.node.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.node.Close(false) })
	return s
}

// eventually waits for what must come.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	smtptest.Eventually(t, 30*time.Second, ok, "%s", what)
}

func TestNodesLendOverTheNetwork(t *testing.T) {
	all := freeAddresses(t, 3)
	var sites []*site
	for i := range all {
		c := config(all, i)
		c.Journal = filepath.Join(t.TempDir(), "cluster.json")
		sites = append(sites, openSite(t, c, 30))
	}
	if n := sites[0].may(); n != 10 {
		t.Errorf("%d at the start, want the share of 10", n)
	}
	sites[0].set(func() { sites[0].use = 10 })
	eventually(t, "more than the share", func() bool { return sites[0].may() > 10 })
	sites[0].set(func() { sites[0].use = 18 })
	eventually(t, "all but what the others keep", func() bool { return sites[0].may() == 26 })
	sites[0].set(func() { sites[0].use = 0 })
	sites[1].set(func() { sites[1].use = 9 })
	eventually(t, "the share is back, and more", func() bool { return sites[1].may() > 12 && sites[0].may() <= 10 })
	eventually(t, "it is seen", func() bool {
		st := sites[1].node.Status()
		return len(st.Peers) == 2 && st.Peers[0].Reach == InReach && len(st.Ceilings) == 1 && st.Ceilings[0].Borrowed > 0 && st.Ceilings[0].Share == 10
	})
	if err := sites[2].node.Close(true); err != nil {
		t.Error(err)
	}
	eventually(t, "it has left", func() bool { return sites[0].heard(all[2].String() + ": left") })
	noted, err := os.ReadFile(sites[0].node.config.Journal)
	if err != nil || !strings.Contains(string(noted), all[1].String()) {
		t.Errorf("noted: %s, %v", noted, err)
	}
}

// What one gives to a tier the others know, once.
func TestNodesTellOfTiers(t *testing.T) {
	all := freeAddresses(t, 2)
	a, b := openSite(t, config(all, 0), 2), openSite(t, config(all, 1), 2)
	for _, s := range []*site{a, b} {
		s.set(func() { s.tiers = []TierUse{{Pool: "out", Tier: 1, Sessions: 5}} })
	}
	eventually(t, "they know each other", func() bool { return a.heard("in reach") && b.heard("in reach") })
	eventually(t, "the first count is known", func() bool {
		b.node.mu.Lock()
		defer b.node.mu.Unlock()
		return len(b.node.exchange.heard) == 1
	})
	a.set(func() { a.tiers[0].Sessions, a.tiers[0].Last = 8, time.Now() })
	eventually(t, "three more", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.news) > 0
	})
	if n := b.news[0]; n.Sessions != 3 || n.Pool != "out" || n.Tier != 1 || n.Last.IsZero() {
		t.Errorf("news %+v", n)
	}
}

func TestNodesThatDoNotFitAreToldOf(t *testing.T) {
	all := freeAddresses(t, 4)
	a := openSite(t, config(all[:2], 0), 10)
	b := openSite(t, config(all[:3], 1), 12) // another limit, and a third balancer
	eventually(t, "another list", func() bool { return a.heard("it has other balancers in its file") })
	eventually(t, "another limit", func() bool { return b.heard("max_sessions is 10 there and 12 here") })

	other := config(all, 2)
	other.Peers = all[:2]
	openSite(t, other, 10)
	eventually(t, "a stranger", func() bool { return a.heard("is not among peers") })

	wrong := config([]netip.AddrPort{all[3], all[0]}, 0)
	wrong.Key = []byte("fedcba9876543210")
	c := openSite(t, wrong, 10)
	eventually(t, "another key", func() bool { return a.heard("has another key") && c.heard("has another key") })
	raw, err := net.Dial("udp", all[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	eventually(t, "what is not sealed", func() bool {
		_, _ = raw.Write([]byte("\x08hello, balancer, have some slots"))
		return a.heard("is refused")
	})
	if a.may() > 5 || c.may() > 5 {
		t.Errorf("%d and %d may run, of shares of 5", a.may(), c.may())
	}
}

func TestAnAddressThatCannotBeHad(t *testing.T) {
	all := freeAddresses(t, 2)
	openSite(t, config(all, 0), 10)
	again := newSite(t, config(all, 0), 10)
	if err := again.node.Open(); err == nil || !strings.Contains(err.Error(), "cluster.bind: "+all[0].String()+": address already in use: another program has it") {
		t.Errorf("taken: %v", err)
	}
	if again.may() == 0 {
		t.Error("nothing holds, though the address cannot be had")
	}
	foreign := config(all, 1)
	foreign.Bind = netip.MustParseAddrPort("192.0.2.1:7946")
	if err := newSite(t, foreign, 10).node.Open(); err == nil || !strings.Contains(err.Error(), "this machine does not have it") {
		t.Errorf("foreign: %v", err)
	}
}

// What was closed may be opened again, with all that is known; another process goes on from what is handed over.
func TestANodeGoesOnWhereItWas(t *testing.T) {
	all := freeAddresses(t, 2)
	a, b := openSite(t, config(all, 0), 20), openSite(t, config(all, 1), 20)
	a.set(func() { a.use = 9 })
	eventually(t, "more than the share", func() bool { return a.may() > 12 })
	if err := b.node.Close(false); err != nil {
		t.Fatal(err)
	}
	lent := b.node.HandOver().Lent[key][all[0].String()]
	if err := b.node.Open(); err != nil || lent == 0 {
		t.Fatalf("%v, %d lent", err, lent)
	}
	if n := b.may(); n > 10-lent {
		t.Errorf("%d may run where %d of 10 are lent", n, lent)
	}
	if err := b.node.Close(false); err != nil {
		t.Fatal(err)
	}
	handed := b.node.HandOver()
	c := config(all, 1)
	c.Before = &handed
	next := openSite(t, c, 20)
	if n := next.may(); n > 10-lent {
		t.Errorf("%d may run in the next process, where %d of 10 are lent", n, lent)
	}
	a.set(func() { a.use = 0 })
	eventually(t, "its share is back", func() bool { return next.may() >= 10 })
}

func TestAJournalThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"{", `{"lent":{"a":{"b":-1}}}`, `{"lent":{"a":{"b":99999999}}}`} {
		c := config(freeAddresses(t, 2), 0)
		c.Journal = filepath.Join(t.TempDir(), "cluster.json")
		if err := os.WriteFile(c.Journal, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := New(c)
		if err == nil || n == nil || n.book.knows {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A process has a higher number than the one before, whatever the clock says.
func TestProcessesAreInOrder(t *testing.T) {
	c := config(freeAddresses(t, 2), 0)
	c.Before = &Handed{Inc: 1 << 63}
	n, err := New(c)
	if err != nil || n.book.inc != 1<<63+1 {
		t.Errorf("%d, %v", n.book.inc, err)
	}
}

// What has changed where limits are read holds when Refresh returns, and not before Open or after Close.
func TestRefresh(t *testing.T) {
	s := newSite(t, config(freeAddresses(t, 2), 0), 10)
	if s.node.Refresh(); s.may() != 0 {
		t.Error("something holds before Open")
	}
	if err := s.node.Open(); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.limit = 80 })
	s.node.Refresh()
	if n := s.may(); n != 10 { // a quarter of 40, as nobody has said what is lent
		t.Errorf("%d may run", n)
	}
	if err := s.node.Close(false); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.limit = 10 })
	if s.node.Refresh(); s.may() != 10 {
		t.Error("it holds after Close")
	}
}

// That nobody knows what was lent is not forgotten by the next process.
func TestWhatIsNotKnownIsNotKnownByTheNextProcess(t *testing.T) {
	all := freeAddresses(t, 2)
	c := config(all, 0)
	c.Journal = filepath.Join(t.TempDir(), "cluster.json")
	if err := os.WriteFile(c.Journal, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{limit: 40}
	c.Read, c.Apply, c.Told = s.read, s.apply, s.told
	s.node, _ = New(c)
	if err := s.node.Open(); err != nil {
		t.Fatal(err)
	}
	if err := s.node.Close(false); err != nil || s.may() != 5 {
		t.Fatalf("%v: %d may run", err, s.may())
	}
	restarted := openSite(t, c, 40)
	if n := restarted.may(); n != 5 {
		t.Errorf("%d may run after a restart, want a quarter of 20", n)
	}
	if err := restarted.node.Close(false); err != nil {
		t.Fatal(err)
	}
	handed := restarted.node.HandOver()
	upgraded := c
	upgraded.Before = &handed
	next := openSite(t, upgraded, 40)
	if n := next.may(); n != 5 {
		t.Errorf("%d may run after an upgrade, want a quarter of 20", n)
	}
	openSite(t, config(all, 1), 40)
	eventually(t, "all of its share, as the peer has said what it holds", func() bool { return next.may() >= 20 })
	if err := next.node.Close(false); err != nil {
		t.Fatal(err)
	}
	if n := openSite(t, c, 40).may(); n < 15 {
		t.Errorf("%d may run after another restart", n)
	}
}
