package egress

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrorsOfConnectAreBlamedOnWhomeverTheyAreOf(t *testing.T) {
	for err, ours := range map[unix.Errno]bool{
		unix.EADDRNOTAVAIL: true, // every local port is used for this destination
		unix.EADDRINUSE:    true,
		unix.EAGAIN:        true,
		unix.EMFILE:        true,
		unix.ENOBUFS:       true,
		unix.EPERM:         true, // a firewall of our own
		unix.EACCES:        true,
		unix.ECONNREFUSED:  false,
		unix.ECONNRESET:    false,
		unix.ETIMEDOUT:     false,
		unix.EHOSTUNREACH:  false,
		unix.ENETUNREACH:   false,
	} {
		if got := Ours(err); got != ours {
			t.Errorf("%v: our own fault is %v, want %v", err, got, ours)
		}
	}
}

func TestFaultsAreNamedInWords(t *testing.T) {
	for _, test := range []struct {
		fault *Fault
		err   unix.Errno
		want  string
	}{
		{Unconnected(unix.EADDRNOTAVAIL), unix.EADDRNOTAVAIL, "connect: no local port is free for this relay: cannot assign requested address"},
		{Unconnected(unix.EPERM), unix.EPERM, "connect: this machine's own firewall forbids it: operation not permitted"},
		{Unconnected(unix.ENOBUFS), unix.ENOBUFS, "connect: no buffer space available"},
		{Unable("source 192.0.2.7", unix.EINVAL), unix.EINVAL, "source 192.0.2.7: invalid argument"},
		{Unable("source 192.0.2.7", unix.EADDRNOTAVAIL), unix.EADDRNOTAVAIL, "source 192.0.2.7: this machine has no such address: cannot assign requested address"},
		{Unable("fwmark 7", unix.EPERM), unix.EPERM, "fwmark 7: needs the capability CAP_NET_RAW or CAP_NET_ADMIN: operation not permitted"},
	} {
		if test.fault.Error() != test.want || !errors.Is(test.fault, test.err) {
			t.Errorf("got %q, want %q", test.fault, test.want)
		}
	}
}

func TestWayThatIsNotThere(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := (Way{}).Prepare(fd); err != nil {
		t.Errorf("no way of its own: %v", err)
	}
	var fault *Fault
	if err := (Way{Interface: "none0"}).Prepare(fd); !errors.As(err, &fault) {
		t.Errorf("an interface that is not there: %v", err)
	}
}

// A port is chosen at connect, so that two sockets of one address need not
// have two.
func TestLatePort(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	LatePort(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr("127.0.0.1").As4()}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if port := name.(*unix.SockaddrInet4).Port; port != 0 {
		t.Errorf("port %d before connect", port)
	}
}
