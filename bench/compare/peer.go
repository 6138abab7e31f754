package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"smtplb/bench/result"
)

// The ways from a client to its relays.
const (
	smtplb  = "smtplb"
	haproxy = "haproxy"
	nginx   = "nginx"
	iocopy  = "iocopy"
	floor   = "floor"
	direct  = "direct"
)

// PeerNames returns the names of all peers, in the order of a report's columns.
// The one named floor is measured only for CPU per session, where bars are held
// against it, unless Options.Peers names it.
func PeerNames() []string { return []string{smtplb, haproxy, nginx, iocopy, floor, direct} }

// peer is one of them, as it was found on this machine.
type peer struct {
	name    string
	version string
	missing string // why it cannot be measured, and what would bring it
	config  string // its file under peers; none: it has none
	module  string // site.StreamModule
	death   syscall.Signal
	open    int  // descriptors for each session; 0: two, and some for large messages
	gauge   bool // takes part only in CPU per session

	// args is the command line; config is the path of the file. Nil: there is
	// no process, clients connect to the relays.
	args func(s *site, config string) []string
}

// balances tells whether the peer chooses among relays.
func (p *peer) balances() bool { return p.config != "" }

// carries tells whether there is a process to measure.
func (p *peer) carries() bool { return p.args != nil }

// proxies tells whether it is measured in more than CPU per session.
func (p *peer) proxies() bool { return p.carries() && !p.gauge }

// compared tells the same of a way that need not be a process.
func (p *peer) compared() bool { return !p.gauge }

// report is the peer as the report shows it, with its files for a site.
func (p *peer) report(s site) (result.Peer, error) {
	r := result.Peer{Name: p.name, Version: p.version, Missing: p.missing}
	if p.config == "" || p.missing != "" {
		return r, nil
	}
	s.StreamModule = p.module
	file, err := s.render(p.config)
	r.Config = []result.ConfigFile{file}
	return r, err
}

// find looks for the peers that are wanted.
func find(ctx context.Context, o *Options) []*peer {
	makers := map[string]func(context.Context, *Options) *peer{
		smtplb: findSmtplb, haproxy: findHAProxy, nginx: findNginx, iocopy: newIocopy, floor: newFloor, direct: newDirect,
	}
	var found []*peer
	for _, name := range o.peers() {
		found = append(found, makers[name](ctx, o))
	}
	return found
}

func findSmtplb(ctx context.Context, o *Options) *peer {
	p := &peer{name: smtplb, config: "smtplb.yaml"}
	program := p.program(o.Smtplb, "make build makes bin/smtplb; --smtplb says where it is", beside())
	p.args = func(_ *site, config string) []string { return []string{program, "run", "--config", config} }
	p.ask(ctx, program, "version", 1)
	return p
}

// beside is the directory of the program that runs here: make build puts both
// into one.
func beside() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Dir(self)
}

func findHAProxy(ctx context.Context, o *Options) *peer {
	p := &peer{name: haproxy, config: "haproxy.cfg"}
	program := p.program(o.HAProxy, "Debian package haproxy; --haproxy says where it is")
	p.args = func(_ *site, config string) []string { return []string{program, "-db", "-f", config} }
	p.ask(ctx, program, "-v", 2)
	return p
}

func findNginx(ctx context.Context, o *Options) *peer {
	// The master takes its workers along where it is told, not where it is killed.
	p := &peer{name: nginx, config: "nginx.conf", death: syscall.SIGTERM}
	const get = "Debian packages nginx-light and libnginx-mod-stream; --nginx says where it is"
	program := p.program(o.Nginx, get)
	p.args = func(s *site, config string) []string {
		return []string{program, "-p", s.Dir, "-c", config, "-e", "stderr"}
	}
	built := p.ask(ctx, program, "-V", 2)
	switch {
	case p.missing != "":
	case strings.Contains(built, "--with-stream=dynamic"):
		p.module = streamModule(built)
		if _, err := os.Stat(p.module); err != nil {
			p.missing = fmt.Sprintf("no stream module: %v (%s)", err, get)
		}
	case !strings.Contains(built, "--with-stream"):
		p.missing = fmt.Sprintf("%s has no stream module (%s)", program, get)
	}
	return p
}

// streamModule is where nginx -V says that modules are.
func streamModule(built string) string {
	dir := "modules"
	for _, word := range strings.Fields(built) {
		if path, ok := strings.CutPrefix(word, "--modules-path="); ok {
			dir = path
		}
	}
	return filepath.Join(dir, "ngx_stream_module.so")
}

func newIocopy(_ context.Context, o *Options) *peer {
	p := baseline(iocopy, o.Iocopy, o.Version)
	p.open = 6 // a pipe for each direction, from beginning to end
	return p
}

func newFloor(_ context.Context, o *Options) *peer {
	p := baseline(floor, o.Floor, o.Version)
	p.gauge = len(o.Peers) == 0
	return p
}

// baseline is a command of ours that takes where to listen and one relay.
func baseline(name string, command []string, version string) *peer {
	p := &peer{name: name, version: version}
	if len(command) == 0 {
		p.missing = "no command to run it with"
	}
	p.args = func(s *site, _ string) []string {
		one := s.Services[0]
		return append(slices.Clone(command), one.Listen.String(), one.Relays[0].Address.String())
	}
	return p
}

func newDirect(context.Context, *Options) *peer { return &peer{name: direct} }

// program is the absolute path of the peer's program: the one that was asked
// for, else one of its name in a directory given, in PATH, or where Debian has
// servers. Where there is none, the peer is missing.
func (p *peer) program(asked, get string, dirs ...string) string {
	tries := []string{asked}
	if asked == "" {
		tries = nil
		for _, dir := range dirs {
			tries = append(tries, filepath.Join(dir, p.name))
		}
		tries = append(tries, p.name, "/usr/sbin/"+p.name, "/usr/local/sbin/"+p.name)
	}
	var err error
	for _, try := range tries {
		var path string
		path, err = exec.LookPath(try)
		if err == nil || errors.Is(err, exec.ErrDot) {
			path, err = filepath.Abs(path)
		}
		if err == nil {
			return path
		}
	}
	if asked == "" {
		p.missing = fmt.Sprintf("not found (%s)", get)
	} else {
		p.missing = fmt.Sprintf("not found: %v (%s)", err, get)
	}
	return p.name
}

// ask runs the program for its version, the word of that number in the first
// line that it says, and returns all of it. A program that cannot be run is
// missing.
func (p *peer) ask(ctx context.Context, program, arg string, word int) string {
	if p.missing != "" {
		return ""
	}
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, arg).CombinedOutput()
	text := strings.TrimSpace(string(out))
	first, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(first)
	switch {
	case err != nil:
		p.missing = fmt.Sprintf("%s %s: %v: %s", program, arg, err, first)
	case len(words) <= word:
		p.missing = fmt.Sprintf("%s %s says %q, which is no version", program, arg, first)
	default:
		p.version = strings.TrimPrefix(words[word], p.name+"/")
	}
	return text
}
