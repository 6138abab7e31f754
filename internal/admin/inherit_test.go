package admin

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Two servers have one socket for a moment, as an upgrade needs it: the second
// answers when the first has stopped.
func TestSocketGoesToAnotherServer(t *testing.T) {
	first := &Server{Address: netip.MustParseAddrPort("127.0.0.1:0"), Version: "first"}
	if _, err := first.Socket(); err == nil {
		t.Error("a socket before Listen: no error")
	}
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- first.Serve() }()
	address := first.Addr()

	fd, err := first.Socket()
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: want FD_CLOEXEC", flags, err)
	}
	file := os.NewFile(uintptr(fd), "admin")
	listener, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	second := &Server{Address: first.Address, Inherited: listener, Version: "second"}
	if err := second.Listen(); err != nil {
		t.Fatal(err)
	}
	go func() { served <- second.Serve() }()
	if second.Addr() != address {
		t.Errorf("listens on %s, want %s", second.Addr(), address)
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("answer %s", answer.Status)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
}
