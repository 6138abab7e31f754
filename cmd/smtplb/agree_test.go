package main

import (
	"encoding/base64"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/cluster"
	"smtplb/internal/config"
	"smtplb/internal/smtptest"
)

// agreeing is a daemon without pools that shares limits with a peer that is not there; its address is taken until free is called.
func agreeing(t *testing.T) (d *daemon, bind netip.AddrPort, free func()) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	bind = taken.Addr().(*net.TCPAddr).AddrPort()
	a, err := newAgreement(&config.Cluster{Bind: bind, Peers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.9:1")}, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	return &daemon{log: zap.NewNop(), cluster: a, pools: map[string]*relays{}}, bind, func() { _ = taken.Close() }
}

// give has a daemon give its agreement to another process.
func give(t *testing.T, d *daemon) {
	t.Helper()
	files, err := d.cluster.files()
	if err != nil {
		t.Fatal(err)
	}
	closeFiles(files)
	t.Cleanup(func() { _ = d.cluster.elders.own.file.Close() })
	if given, err := d.giveAgreement(); err != nil || given == nil {
		t.Fatal(given, err)
	}
}

// A process that was replaced must not bind the address, or go by limits that are another's to divide.
func TestWhoIsReplacedTriesNoMore(t *testing.T) {
	before := goleak.IgnoreCurrent()
	d, _, _ := agreeing(t)
	agreeInVain(t, d)
	give(t, d)
	goleak.VerifyNone(t, before)
}

func agreeInVain(t *testing.T, d *daemon) {
	t.Helper()
	err := d.agree(nil)
	if err == nil {
		t.Fatal("an address that is taken is bound")
	}
	d.agreeLater(err)
}

// The process that was to take over may have the address for a moment longer.
func TestAnAgreementIsTakenBackOnceTheAddressIsFree(t *testing.T) {
	d, bind, free := agreeing(t)
	if d.agree(nil) == nil {
		t.Fatal("an address that is taken is bound")
	}
	give(t, d)
	d.takeBack()
	free()
	smtptest.Eventually(t, 10*time.Second, func() bool {
		c, err := net.Dial("tcp", bind.String())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, "the address is bound")
	d.cluster.giveUp()
	if err := d.cluster.node.Close(false); err != nil {
		t.Error(err)
	}
}

// limited is a pool of one backend, of whose 20 sessions another balancer has half.
func limited(t *testing.T) *relays {
	t.Helper()
	pool, err := balancer.New(balancer.Config{
		Name: "out", Backends: []balancer.BackendConfig{{Name: "a", Weight: 1, MaxSessions: 20}}, Together: balancer.Together{Balancers: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool.SetQuotas(time.Now(), []balancer.Quota{{Backend: 0, Sessions: 10, Then: 10}})
	return &relays{name: "out", balancer: pool}
}

// fill begins sessions until there is no room.
func fill(r *relays) (leases []*balancer.Lease) {
	for {
		lease, err := r.balancer.Acquire(time.Now(), nil)
		if err != nil {
			return leases
		}
		leases = append(leases, &lease)
	}
}

// Sessions of a pool that a reload took out are at the relay still: they count, also where the pool is back.
func TestSessionsOfAPoolThatWasTakenOutCount(t *testing.T) {
	d, _, _ := agreeing(t)
	d.since = map[string]time.Time{}
	was, is := limited(t), limited(t)
	d.replacePools(map[string]*relays{"out": was})
	leases := fill(was)
	counts := func(when string, want int) {
		t.Helper()
		ceilings, _ := d.readLimits(time.Now())
		if len(ceilings) != 1 || ceilings[0].Here != want || want == 0 || ceilings[0].Share != 10 {
			t.Fatalf("%s: %+v, want %d", when, ceilings, want)
		}
	}
	counts("at work", 10)
	d.replacePools(map[string]*relays{})
	counts("out", 10)
	leases[0].Release(time.Now())
	d.replacePools(map[string]*relays{"out": is})
	counts("back", 9)
	here := d.applyLimits(time.Now(), []cluster.Grant{{Key: "out/a", Sessions: 12, Then: 10}}, nil)
	if n := len(fill(is)); here["out/a"] != 9 || n != 3 {
		t.Errorf("%d run and %d may be added, want 9 and 3", here["out/a"], n)
	}
	if n := len(fill(was)); n != 0 {
		t.Errorf("%d sessions more where no other is to begin", n)
	}
	if c := d.claim(nil, false); c["out/a"] != 12 {
		t.Errorf("%v is claimed, want 12", c)
	}
	for _, l := range leases[1:] {
		l.Release(time.Now())
	}
	counts("for those that are being set up", 3)
	if d.readLimits(time.Now().Add(time.Hour)); len(d.retired) != 0 {
		t.Error("it is never forgotten")
	}
}

// A reload that is refused puts a pool back.
func TestAPoolThatIsPutBackIsNotRetired(t *testing.T) {
	d, _, _ := agreeing(t)
	d.since = map[string]time.Time{}
	pools := map[string]*relays{"out": limited(t)}
	d.replacePools(pools)
	d.replacePools(map[string]*relays{})
	d.replacePools(pools)
	if len(d.retired) != 0 {
		t.Errorf("%d pools are retired", len(d.retired))
	}
}

// A backend has another relay under its name: the sessions at the one before count.
func TestSessionsOfABackendThatWasTakenOutCount(t *testing.T) {
	d, _, _ := agreeing(t)
	d.since = map[string]time.Time{}
	r := limited(t)
	d.replacePools(map[string]*relays{"out": r})
	leases := fill(r)
	change := func(names ...string) {
		t.Helper()
		c := balancer.Config{Name: "out", Together: balancer.Together{Balancers: 2}}
		for _, name := range names {
			c.Backends = append(c.Backends, balancer.BackendConfig{Name: name, Key: name, Weight: 1, MaxSessions: 20})
		}
		if err := r.balancer.Reconfigure(time.Now(), c); err != nil {
			t.Fatal(err)
		}
	}
	change("b")
	elders := &elder{name: "elder", claims: claimed{"out/a": 3, "out/c": 4}}
	d.cluster.elders.all["elder"] = elders
	elderOf := func() (sum int) {
		ceilings, _ := d.readLimits(time.Now())
		for _, c := range ceilings {
			sum += c.Elder
		}
		return sum
	}
	if n := elderOf(); n != 3 {
		t.Errorf("%d are claimed, want 3", n)
	}
	for _, l := range leases {
		l.Release(time.Now())
	}
	if n := elderOf(); n != 3 {
		t.Errorf("%d are claimed without a place, want 3", n)
	}
	elders.claims = nil
	if n := elderOf(); n != 0 || len(d.cluster.known) != 1 {
		t.Errorf("%d are claimed in the end, %d limits are known", n, len(d.cluster.known))
	}
}
