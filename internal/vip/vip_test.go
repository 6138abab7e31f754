package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// elsewhere runs a test in a network of its own. Without the right to make one
// there is nothing to see.
func elsewhere(t *testing.T, test func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the network with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			var lo netlink.Link
			if lo, err = netlink.LinkByName(device); err == nil {
				err = errors.Join(netlink.LinkSetUp(lo), test())
			}
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Log("no right to make a network; e2e has the same, and more")
	} else if err != nil {
		t.Fatal(err)
	}
}

// has tells how many of the addresses are up, and how many are taken in.
func has(t *testing.T, addrs []netip.Addr) (up, taken int) {
	t.Helper()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := netlink.AddrList(nil, family)
		if err != nil {
			t.Error(err)
		}
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL},
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		if err != nil {
			t.Error(err)
		}
		for _, want := range addrs {
			for i := range all {
				if all[i].IP.Equal(want.AsSlice()) {
					up++
				}
			}
			for i := range routes {
				if routes[i].Dst != nil && routes[i].Dst.IP.Equal(want.AsSlice()) && routes[i].Protocol == unix.RTPROT_STATIC {
					taken++
				}
			}
		}
	}
	return up, taken
}

func TestAddressesAreTakenInWhetherTheyAreShownOrNot(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}
	elsewhere(t, func() error {
		want := func(what string, up, taken int) {
			t.Helper()
			if u, a := has(t, addrs); u != up || a != taken {
				t.Errorf("%s: %d up and %d taken in, want %d and %d", what, u, a, up, taken)
			}
		}
		want("at first", 0, 0)
		errs := []error{Hide(addrs), Accept(addrs), Accept(addrs)}
		want("accepted", 0, 2)
		errs = append(errs, Show(addrs, 100*time.Second), Show(addrs, 100*time.Second))
		want("shown", 2, 2)
		errs = append(errs, Hide(addrs), Hide(addrs))
		want("hidden", 0, 2)
		errs = append(errs, Show(addrs[:1], 100*time.Second))
		want("one of them", 1, 2)
		return errors.Join(errs...)
	})
}

// Nobody has to be there to take them away.
func TestAddressesGoByThemselves(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}
	elsewhere(t, func() error {
		news, done := make(chan netlink.AddrUpdate, 100), make(chan struct{})
		defer close(done)
		if err := netlink.AddrSubscribe(news, done); err != nil {
			return err
		}
		if err := errors.Join(Accept(addrs), Show(addrs, time.Second)); err != nil {
			return err
		}
		for gone := 0; gone < len(addrs); {
			select {
			case u := <-news:
				if !u.NewAddr {
					gone++
				}
			case <-time.After(20 * time.Second):
				up, taken := has(t, addrs)
				return fmt.Errorf("%d are up and %d taken in, want 0 and 2", up, taken)
			}
		}
		if up, taken := has(t, addrs); up != 0 || taken != 2 {
			t.Errorf("%d are up and %d taken in, want 0 and 2", up, taken)
		}
		return nil
	})
}

func TestWithoutTheRightNothingIsShown(t *testing.T) {
	if unix.Geteuid() == 0 {
		return // it would be this machine's
	}
	err := Show([]netip.Addr{netip.MustParseAddr("192.0.2.25")}, time.Second)
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "192.0.2.25 on lo") {
		t.Error(err)
	}
}
