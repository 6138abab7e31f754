package socket_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"smtplb/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a listening socket of the kernel's choice on a loopback address.
func server(t *testing.T, address string) (fd int, at netip.AddrPort) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no loopback of this family: %v", err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(); _ = ln.Close() })
	fd = int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil { // Fd made it blocking
		t.Fatal(err)
	}
	return fd, netip.MustParseAddrPort(ln.Addr().String())
}

// pair is both ends of a connection, non-blocking and raw; the test closes them.
func pair(t *testing.T, listener int, at netip.AddrPort) (client, accepted int, peer netip.AddrPort) {
	t.Helper()
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	client, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	var addr socket.Addr
	if err := addr.Connect(client, at, 0); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	await(t, listener, unix.POLLIN)
	accepted, peer, err = addr.Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	return client, accepted, peer
}

func await(t *testing.T, fd int, events int16) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	if n, err := unix.Poll(fds, int(10*time.Second/time.Millisecond)); n != 1 {
		t.Fatalf("descriptor %d: poll gives %d, %v", fd, n, err)
	}
}

func TestBytesAndAddressesArrive(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			listener, at := server(t, address)
			client, accepted, peer := pair(t, listener, at)
			defer socket.CloseBoth(client, accepted)
			own, err := unix.Getsockname(client)
			if err != nil {
				t.Fatal(err)
			}
			if want := addrPort(own); peer != want {
				t.Errorf("accepted from %v, want %v", peer, want)
			}
			if _, _, err := new(socket.Addr).Accept(listener); err != unix.EAGAIN {
				t.Errorf("accept from an empty queue: %v, want EAGAIN", err)
			}
			var b [16]byte
			if _, err := socket.Read(accepted, b[:]); err != unix.EAGAIN {
				t.Errorf("read of nothing: %v, want EAGAIN", err)
			}
			if n, err := socket.Write(client, []byte("hello")); n != 5 || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
			await(t, accepted, unix.POLLIN)
			if n, err := socket.Peek(accepted, b[:]); string(b[:max(n, 0)]) != "hello" || err != nil {
				t.Errorf("peek: %q, %v", b[:n], err)
			}
			if n, err := socket.Read(accepted, b[:2]); string(b[:n]) != "he" || err != nil {
				t.Errorf("read: %q, %v", b[:n], err)
			}
			if n, err := socket.Read(accepted, b[:]); string(b[:n]) != "llo" || err != nil {
				t.Errorf("read on: %q, %v", b[:n], err)
			}
		})
	}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func TestClosingTellsThePeer(t *testing.T) {
	tests := []struct {
		name  string
		close func(fd int)
		want  error // of the peer's read
	}{
		{"an end", socket.Close, nil},
		{"a reset", socket.CloseReset, unix.ECONNRESET},
		{"both, one of them not there", func(fd int) { socket.CloseBoth(-1, fd) }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			listener, at := server(t, "127.0.0.1:0")
			client, accepted, _ := pair(t, listener, at)
			defer socket.Close(client)
			test.close(accepted)
			await(t, client, unix.POLLIN)
			var b [1]byte
			if n, err := socket.Read(client, b[:]); n != 0 || !errors.Is(err, test.want) {
				t.Errorf("the peer reads %d, %v; want 0, %v", n, err, test.want)
			}
			if _, err := socket.Write(accepted, b[:]); err != unix.EBADF {
				t.Errorf("the closed descriptor gives %v, want EBADF", err)
			}
		})
	}
}

// Neighbours go by one call, others by two; nothing between them is touched.
func TestCloseBothClosesTwo(t *testing.T) {
	listener, at := server(t, "127.0.0.1:0")
	first, second, _ := pair(t, listener, at)
	third, fourth, _ := pair(t, listener, at)
	fds := []int{first, second, third, fourth}
	open := func() (n int) {
		for _, fd := range fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				n++
			}
		}
		return n
	}
	socket.CloseBoth(fourth, first)
	if n := open(); n != 2 {
		t.Errorf("%d of 4 descriptors open, want the 2 in between", n)
	}
	socket.CloseBoth(third, second)
	if n := open(); n != 0 {
		t.Errorf("%d descriptors open at the end", n)
	}
}
