// Package vip has addresses be this machine's: those that several balancers
// share, and that routers are told of while they are up.
//
//	err := vip.Accept(vips) // packets for them are taken in from now on
//	...
//	err = vip.Show(vips, 2*time.Second) // again and again, while all is well
//	...
//	err = vip.Hide(vips)
//
// The two are apart so that what is under way goes on when no more is wanted: a
// routing daemon announces what is shown, and sessions need only what is accepted.
// It takes root, or CAP_NET_ADMIN.
package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// device is where addresses are that are of no link.
const device = "lo"

// Accept has the kernel take in packets for addresses, whether they are shown or
// not. It stays so after this process. What is so already is no error.
func Accept(addrs []netip.Addr) error {
	lo, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	for _, a := range addrs {
		err := netlink.RouteReplace(&netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: host(a), Scope: netlink.SCOPE_HOST,
			Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_STATIC,
		})
		if err != nil {
			return fmt.Errorf("accept %s: %w", a, err)
		}
	}
	return nil
}

// Show has addresses be up for a time, of whole seconds: the kernel takes them
// away then, or up to a second later, whatever has become of this process. Where
// they are up, their time begins anew.
func Show(addrs []netip.Addr, lease time.Duration) error {
	return each(addrs, func(lo netlink.Link, a *netlink.Addr) error {
		a.ValidLft = int(lease / time.Second)
		a.PreferedLft = a.ValidLft
		return netlink.AddrReplace(lo, a)
	})
}

// Hide takes addresses down. Those that are not up are no error.
func Hide(addrs []netip.Addr) error {
	return each(addrs, func(lo netlink.Link, a *netlink.Addr) error {
		if err := netlink.AddrDel(lo, a); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		return nil
	})
}

func each(addrs []netip.Addr, do func(netlink.Link, *netlink.Addr) error) error {
	lo, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	var errs []error
	for _, a := range addrs {
		err := do(lo, &netlink.Addr{IPNet: host(a), Flags: unix.IFA_F_NODAD})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s on %s: %w", a, device, err))
		}
	}
	return errors.Join(errs...)
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}
