package resolve

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxFile bounds what is read of a file of the system's.
const maxFile = 4 << 20

// file is a file of the system's, read again when it has changed.
type file[T any] struct {
	path  string
	parse func([]byte) T

	mu       sync.Mutex
	modified time.Time
	size     int64
	known    bool
	value    T
}

// get is what the file says now; nothing where there is none.
func (f *file[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		f.known = false
		return f.parse(nil)
	}
	if f.known && info.ModTime().Equal(f.modified) && info.Size() == f.size {
		return f.value
	}
	in, err := os.Open(f.path)
	if err != nil {
		f.known = false
		return f.parse(nil)
	}
	defer func() { _ = in.Close() }() // nothing was written that could be lost
	data, err := io.ReadAll(io.LimitReader(in, maxFile))
	if err != nil {
		f.known = false
		return f.parse(nil)
	}
	f.modified, f.size, f.known, f.value = info.ModTime(), info.Size(), true, f.parse(data)
	return f.value
}

// parseHosts reads a hosts(5) file: the addresses of each name, in lower case.
func parseHosts(data []byte) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	for line := range bytes.Lines(data) {
		text, _, _ := bytes.Cut(line, []byte("#"))
		words := strings.Fields(string(text))
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		for _, name := range words[1:] {
			name = plain(name)
			hosts[name] = append(hosts[name], addr.Unmap())
		}
	}
	return hosts
}

// plain is a name as it is compared and shown: in lower case, without the final
// dot.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// parseResolvConf reads a resolv.conf(5) file. Without a server in it this machine
// is asked, as that page has it.
func parseResolvConf(data []byte) *dns.ClientConfig {
	cfg, err := dns.ClientConfigFromReader(bytes.NewReader(data))
	if err != nil {
		cfg = &dns.ClientConfig{Ndots: 1}
	}
	if len(cfg.Servers) == 0 {
		cfg.Servers = []string{"127.0.0.1"}
	}
	return cfg
}

// servers are those of the file that are addresses, three at most as resolv.conf(5)
// has it.
func servers(cfg *dns.ClientConfig, port uint16) (all []netip.AddrPort) {
	const most = 3
	for _, text := range cfg.Servers {
		if addr, err := netip.ParseAddr(text); err == nil && len(all) < most {
			all = append(all, netip.AddrPortFrom(addr, port))
		}
	}
	return all
}
