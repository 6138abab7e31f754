package socket

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr has room for the address that Accept returns or Connect is given.
type Addr struct {
	name unix.RawSockaddrAny
	size uint32
}

// Accept takes a connection off the queue, with the peer's address.
func (r *Addr) Accept(listener int) (fd int, peer netip.AddrPort, err error) {
	r.size = unix.SizeofSockaddrAny
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&r.name)),
		uintptr(unsafe.Pointer(&r.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, peer, errno
	}
	return int(n), r.get(), nil
}

// Connect begins a connection to address; zone is the number of the interface
// of a link-local one.
func (r *Addr) Connect(fd int, address netip.AddrPort, zone uint32) error {
	r.set(address, zone)
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&r.name)), uintptr(r.size))
	if errno != 0 {
		return errno
	}
	return nil
}

func (r *Addr) get() netip.AddrPort {
	switch r.name.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), swapped(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.name))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), swapped(sa.Port))
	default:
		return netip.AddrPort{}
	}
}

func (r *Addr) set(address netip.AddrPort, zone uint32) {
	if ip := address.Addr().Unmap(); ip.Is4() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(address.Port()), Addr: ip.As4()}
		r.size = unix.SizeofSockaddrInet4
		return
	}
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.name))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(address.Port()), Addr: address.Addr().As16(), Scope_id: zone}
	r.size = unix.SizeofSockaddrInet6
}

// swapped turns a port from this machine's byte order to the network's, or back.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}
