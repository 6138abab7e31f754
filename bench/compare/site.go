package compare

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"

	"golang.org/x/sys/unix"

	"smtplb/bench/result"
)

// configs are the peers' configuration files, to be filled in from a site.
//
//go:embed peers
var configs embed.FS

// site is what a balancer is set up for. All peers get the same.
type site struct {
	Workers  int  // threads, processes or loops that move bytes
	Sessions int  // at one time, at most
	Quiet    bool // no line for each session, where there is a choice
	Services []service

	// Filled in for each start.
	Dir          string         // the balancer's own
	Admin        netip.AddrPort // for a balancer that listens there, asked or not
	StreamModule string         // nginx's, where it is to be loaded
}

// service is one address that clients connect to, and the relays behind it.
type service struct {
	Name   string
	Listen netip.AddrPort // filled in for each start
	Relays []relay
}

type relay struct {
	Name    string
	Address netip.AddrPort
	Weight  int
}

// Connections is what Sessions need: two each, and some for listeners, checks
// and the like.
func (s site) Connections() int { return 2*s.Sessions + 500 }

// Descriptors is Connections, and pipes for large messages.
func (s site) Descriptors() int { return s.Connections() + s.Sessions/2 }

// mostSessions is how many sessions a process can hold that takes so many
// descriptors for each: how many it may have it inherits from here.
func mostSessions(each float64) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	others := site{}.Descriptors()
	return int((float64(min(limit.Max, 1<<20)) - float64(others)) / each), nil
}

// usually is how many descriptors a session takes: see site.Descriptors.
const usually = 2.5

// render fills in a configuration file, which is named as its template is.
func (s site) render(name string) (result.ConfigFile, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(configs, "peers/"+name)
	if err != nil {
		return result.ConfigFile{}, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, s); err != nil {
		return result.ConfigFile{}, err
	}
	return result.ConfigFile{Name: name, Text: text.String()}, nil
}

// write renders a file into the site's directory and returns its path.
func (s site) write(name string) (string, error) {
	file, err := s.render(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, name)
	return path, os.WriteFile(path, []byte(file.Text), 0o644)
}

// balancerNet holds the addresses that balancers listen on. Loopback clients
// connect from 127.0.0.1, so no port of these is ever taken by a client.
const balancerNet = "127.0.66.%d"

// shownAddress stands for one that is chosen at the start.
func shownAddress(host int) netip.AddrPort {
	const port = 2525
	return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(balancerNet, host)), port)
}

// addresses finds n free ones. Each is an IP of its own, as far as they go:
// the more of them, the fewer sessions for each have to share the ephemeral
// ports.
func addresses(n int) ([]netip.AddrPort, error) {
	const hosts = 200
	found := make([]netip.AddrPort, n)
	var held []*net.TCPListener
	defer func() { // only when all are found, so that no two are the same
		for _, ln := range held {
			ln.Close()
		}
	}()
	for i := range found {
		ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf(balancerNet, 1+i%hosts))})
		if err != nil {
			return nil, err
		}
		held = append(held, ln)
		found[i] = netip.MustParseAddrPort(ln.Addr().String())
	}
	return found, nil
}
