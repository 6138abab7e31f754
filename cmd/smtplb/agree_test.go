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
