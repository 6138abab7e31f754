package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"smtplb/bench/compare/proc"
)

// instance is a peer that clients can connect to.
type instance struct {
	peer    *peer
	site    site
	process *proc.Process // nil: there is none
}

// start starts a peer on the CPUs given and returns when each of its services
// hands on a relay's greeting, which the relays must be ready to give. Whoever
// calls it must call stop.
//
// The addresses are free when they are chosen; a connection of somebody's may
// have got one a moment later. So a peer that does not start is tried again.
func (p *peer) start(ctx context.Context, s site, cpus proc.CPUs) (i *instance, err error) {
	if !p.carries() {
		return &instance{peer: p, site: s}, nil
	}
	for range startTries {
		if i, err = p.startOnce(ctx, s, cpus); err == nil {
			return i, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("%s: %w", p.name, err)
}

const startTries = 3

func (p *peer) startOnce(ctx context.Context, s site, cpus proc.CPUs) (*instance, error) {
	i, err := p.launch(s, cpus)
	if err != nil {
		return nil, err
	}
	for _, one := range i.site.Services {
		if err := i.ready(ctx, one.Listen); err != nil {
			return nil, errors.Join(err, i.stop())
		}
	}
	return i, nil
}

func (p *peer) launch(s site, cpus proc.CPUs) (*instance, error) {
	free, err := addresses(len(s.Services) + 1)
	if err != nil {
		return nil, err
	}
	s.Admin = free[len(s.Services)]
	s.Services = append([]service(nil), s.Services...)
	for i := range s.Services {
		s.Services[i].Listen = free[i]
	}
	s.StreamModule = p.module
	if s.Dir, err = os.MkdirTemp("", "smtpbench-"+p.name+"-"); err != nil {
		return nil, err
	}
	i := &instance{peer: p, site: s}
	config := ""
	if p.config != "" {
		if config, err = s.write(p.config); err != nil {
			return nil, errors.Join(err, i.stop())
		}
	}
	i.process, err = proc.Start(proc.Command{Args: p.args(&s, config), CPUs: cpus, Dir: s.Dir, Death: p.death})
	if err != nil {
		return nil, errors.Join(err, i.stop())
	}
	return i, nil
}

const (
	startPatience = 20 * time.Second      // for a service to hand on a greeting
	greetPatience = 2 * time.Second       // for one try
	between       = 20 * time.Millisecond // tries
)

// ready waits until a client that connects is greeted with a 220.
func (i *instance) ready(ctx context.Context, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		err := greeted(ctx, at)
		if err == nil {
			return nil
		}
		select {
		case <-i.process.Exited():
			return i.process.Failure()
		case <-ctx.Done():
			return fmt.Errorf("no greeting within %v: %w", startPatience, err)
		case <-tick.C:
		}
	}
}

// greeted opens a session, reads the greeting and takes its leave.
func greeted(ctx context.Context, at netip.AddrPort) error {
	dialer := net.Dialer{Timeout: greetPatience}
	conn, err := dialer.DialContext(ctx, "tcp4", at.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(greetPatience)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "220") {
		return fmt.Errorf("greeting %q", strings.TrimSpace(line))
	}
	if _, err := conn.Write([]byte("QUIT\r\n")); err != nil {
		return err
	}
	_, err = in.ReadString('\n') // so that the session is over, for whoever counts
	return err
}

// targets are the addresses that clients of a service connect to.
func (i *instance) targets(number int) []netip.AddrPort {
	one := i.site.Services[number]
	if i.process != nil {
		return []netip.AddrPort{one.Listen}
	}
	var all []netip.AddrPort
	for _, r := range one.Relays {
		all = append(all, r.Address)
	}
	return all
}

// failure is why the process ended by itself; nil while it runs.
func (i *instance) failure() error {
	if i.process == nil {
		return nil
	}
	return i.process.Failure()
}

// stop ends the process, if there is one, and removes its files.
func (i *instance) stop() error {
	var err error
	if i.process != nil {
		err = i.process.Stop()
	}
	if i.site.Dir != "" {
		err = errors.Join(err, os.RemoveAll(i.site.Dir))
	}
	return err
}
