package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/internal/smtptest"
)

// syn is a packet that asks for a connection: IPv4 (RFC 791) and TCP (RFC 9293,
// section 3.1), without options.
func syn(from, to netip.AddrPort, sequence uint32) []byte {
	const ip, tcp = 20, 20
	p := make([]byte, ip+tcp)
	p[0], p[8], p[9] = 4<<4|ip/4, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], ip+tcp)
	source, dest := from.Addr().As4(), to.Addr().As4()
	copy(p[12:], source[:])
	copy(p[16:], dest[:])
	binary.BigEndian.PutUint16(p[10:], checksum(p[:ip]))
	t := p[ip:]
	binary.BigEndian.PutUint16(t, from.Port())
	binary.BigEndian.PutUint16(t[2:], to.Port())
	binary.BigEndian.PutUint32(t[4:], sequence)
	t[12], t[13] = tcp/4<<4, 2 // SYN
	binary.BigEndian.PutUint16(t[14:], 64240)
	pseudo := append(append(source[:], dest[:]...), 0, unix.IPPROTO_TCP, 0, tcp)
	binary.BigEndian.PutUint16(t[16:], checksum(append(pseudo, t...)))
	return p
}

// checksum is the internet's, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// floodOfSYNs sends n of them, each from another address and port of a network
// that nobody is at, and every now and then lets others send.
func (s *space) floodOfSYNs(network netip.Prefix, to netip.AddrPort, n int) error {
	fd, err := inside(s, func() (int, error) { return unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW) })
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	base := binary.BigEndian.Uint32(network.Masked().Addr().AsSlice())
	dest := &unix.SockaddrInet4{Addr: to.Addr().As4()}
	for i := range uint32(n) {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], base+i%(1<<(32-network.Bits())))
		from := netip.AddrPortFrom(netip.AddrFrom4(address), uint16(1024+i%60000))
		if err := unix.Sendto(fd, syn(from, to, i*2654435761), 0, dest); err != nil && err != unix.ENOBUFS {
			return err
		}
		if i%1000 == 999 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// kernelCount is a counter of the namespace's TCP, by its name in netstat(8).
func (s *space) kernelCount(name string) int {
	s.t.Helper()
	text, err := inside(s, func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/netstat") })
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	heads, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, head := range heads {
		if head == name {
			n, err := strconv.Atoi(values[i])
			if err != nil {
				s.t.Fatal(err)
			}
			return n
		}
	}
	s.t.Fatalf("no counter %s in %v", name, heads)
	return 0
}

// A flood of SYNs from addresses that are on the list, though nobody is there: it
// fills the kernel's queue so that cookies are sent, and costs the process
// nothing. All mail that comes meanwhile gets through.
func TestFloodOfSYNsHoldsNothing(t *testing.T) {
	t.Parallel()
	const forged, most = 60000, 2000 // most: mails while it lasts
	clients, lb := newSpace(t, "clients"), newSpace(t, "lb")
	join(clients, "lan", lb, "lan")
	clients.address("lan", "10.10.0.11/24")
	lb.address("lan", "10.10.0.25/24")
	lb.sh("ip route add 198.18.0.0/15 via 10.10.0.11") // for benchmarks, RFC 2544: nobody's
	relay := lb.relay("127.0.0.2:25", smtptest.Script{})
	p := lb.balancer(fmt.Sprintf(`
listeners: [{name: smarthost, address: "10.10.0.25:25", pool: out, allow: ["10.10.0.0/24", "198.18.0.0/15"]}]
pools: [{name: out, backends: [{name: relay-a, address: %q}]}]
`, relay.Addr()))
	if err := clients.send("10.10.0.11", "10.10.0.25:25", "before"); err != nil {
		t.Fatal(err)
	}
	p.sessions(t, 1)
	before := p.descriptors(t)

	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := clients.floodOfSYNs(netip.MustParsePrefix("198.18.0.0/15"), netip.MustParseAddrPort("10.10.0.25:25"), forged); err != nil {
			t.Error(err)
		}
	}()
	mails, held := 0, 0
	for flooding := true; flooding && mails < most; mails++ {
		if err := clients.send("10.10.0.11", "10.10.0.25:25", fmt.Sprint("during-", mails)); err != nil {
			t.Errorf("mail %d: %v", mails, err)
		}
		held = max(held, p.descriptors(t))
		select {
		case <-over:
			flooding = false
		default:
		}
	}
	<-over
	if err := clients.send("10.10.0.11", "10.10.0.25:25", "after"); err != nil {
		t.Error(err)
	}
	const own = 8 // of the session under way, and of a check
	if held > before+own {
		t.Errorf("%d descriptors at most, %d before the flood", held, before)
	}
	if n := len(p.sessions(t, mails+2)); n != mails+2 {
		t.Errorf("%d sessions, want %d: nobody else was there", n, mails+2)
	}
	if got := len(relay.Messages()); got != mails+2 {
		t.Errorf("%d messages, want %d", got, mails+2)
	}
	if n := lb.kernelCount("TCPReqQFullDoCookies"); n == 0 {
		t.Error("the kernel sent no cookie: this was no flood")
	} else {
		t.Logf("%d of %d SYNs were answered by cookies; %d mails meanwhile, %d descriptors at most (%d before)", n, forged, mails, held, before)
	}
}
