// Package route asks the kernel which way a packet would go.
//
//	err := route.Back(relay, client, route.Way{}) // nil: what the relay answers would be taken in here
//
// It changes nothing, sends nothing and needs no right. It knows ip rules and
// routes; what a firewall does to a packet, it takes on trust.
package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Way is how packets leave for a relay. Zero: as the kernel chooses.
type Way struct {
	Interface string
	Mark      uint32
}

// ErrAway says that the answers would go somewhere else.
var ErrAway = errors.New("no ip rule leads them to a local route")

// Back returns nil if what a relay answers to client, an address that is not
// this machine's, would be taken in by this machine: with no mark, or with any
// that an ip rule looks for, as the firewall is taken to set it.
func Back(relay netip.AddrPort, client netip.Addr, way Way) error {
	from := relay.Addr().Unmap().WithZone("")
	iif, here, err := out(from, way)
	if err != nil {
		return fmt.Errorf("the way to it: %w", err)
	}
	if here {
		return nil // its answers do not arrive by any interface
	}
	marks, err := marks(from)
	if err != nil {
		return fmt.Errorf("ip rules: %w", err)
	}
	lost := ErrAway
	for _, mark := range marks {
		r, err := ask(question{
			to: client.Unmap(), from: from, iif: iif, mark: mark,
			sport: relay.Port(), dport: 40000, // any that a client may have
		})
		switch {
		case err == nil && r.kind == unix.RTN_LOCAL:
			return nil
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL): // EINVAL since Linux 6.14, for other reasons too
			lost = fmt.Errorf("%w that takes them, perhaps for rp_filter or src_valid_mark", ErrAway)
		}
	}
	return lost
}

// out is the interface by which a relay is reached; here tells that it is on
// this machine.
func out(to netip.Addr, way Way) (index int, here bool, err error) {
	q := question{to: to, mark: way.Mark}
	if way.Interface != "" {
		i, err := net.InterfaceByName(way.Interface)
		if err != nil {
			return 0, false, err
		}
		q.oif = i.Index
	}
	r, err := ask(q)
	return r.oif, r.kind == unix.RTN_LOCAL, err
}

// marks are those that ip rules look for, and 0, which is none.
func marks(family netip.Addr) ([]uint32, error) {
	kind := netlink.FAMILY_V6
	if family.Is4() {
		kind = netlink.FAMILY_V4
	}
	rules, err := netlink.RuleList(kind)
	if err != nil {
		return nil, err
	}
	all := []uint32{0}
	for i := range rules {
		if m := rules[i].Mark; m != 0 {
			all = append(all, m)
		}
	}
	return all, nil
}

// question is a packet to find the way of. What is zero is not said.
type question struct {
	to, from     netip.Addr
	iif, oif     int
	mark         uint32
	sport, dport uint16 // of TCP
}

// answer is what becomes of it.
type answer struct {
	kind uint8 // unix.RTN_LOCAL: this machine takes it in
	oif  int
}

// ask asks the kernel, as `ip route get` does, which cannot say ports.
func ask(q question) (answer, error) {
	m := &nl.RtMsg{}
	m.Family, m.Dst_len = unix.AF_INET6, 128
	if q.to.Is4() {
		m.Family, m.Dst_len = unix.AF_INET, 32
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	req.AddData(m)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, q.to.AsSlice()))
	if q.from.IsValid() {
		m.Src_len = m.Dst_len
		req.AddData(nl.NewRtAttr(unix.RTA_SRC, q.from.AsSlice()))
	}
	number := func(kind, n int) {
		if n != 0 {
			req.AddData(nl.NewRtAttr(kind, nl.Uint32Attr(uint32(n)))) //nolint:gosec // an index or a mark
		}
	}
	number(unix.RTA_IIF, q.iif)
	number(unix.RTA_OIF, q.oif)
	number(unix.RTA_MARK, int(q.mark))
	if q.sport != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_IP_PROTO, []byte{unix.IPPROTO_TCP}))
		req.AddData(nl.NewRtAttr(unix.RTA_SPORT, nl.BEUint16Attr(q.sport)))
		req.AddData(nl.NewRtAttr(unix.RTA_DPORT, nl.BEUint16Attr(q.dport)))
	}
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return answer{}, err
	}
	if len(messages) == 0 || len(messages[0]) < unix.SizeofRtMsg {
		return answer{}, errors.New("netlink: no answer")
	}
	got := answer{kind: nl.DeserializeRtMsg(messages[0]).Type}
	attrs, err := nl.ParseRouteAttr(messages[0][unix.SizeofRtMsg:])
	if err != nil {
		return answer{}, err
	}
	for i := range attrs {
		if attrs[i].Attr.Type == unix.RTA_OIF && len(attrs[i].Value) >= 4 {
			got.oif = int(nl.NativeEndian().Uint32(attrs[i].Value))
		}
	}
	return got, nil
}
