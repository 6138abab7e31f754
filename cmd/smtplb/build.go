package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"smtplb/balancer"
	"smtplb/internal/config"
	"smtplb/probes"
	"smtplb/proxy"
)

// plan is a pool as it is configured, its names looked up: nothing of it runs.
type plan struct {
	probe    config.Probe
	timeouts proxy.Timeouts
	policy   balancer.Config
	targets  []probes.Target   // of the checks
	found    map[string]string // backends found under names, "relay-a/10.0.0.1:25", and what was found of each but that
}

// planPool makes a plan of a pool's configuration and finds what is wrong with
// it. find tells what there is under a name; a pool of which nothing is found has
// no backends.
func planPool(cfg *config.Pool, find finder) (*plan, error) {
	p := &plan{probe: cfg.Probe, timeouts: timeouts(cfg.Timeouts), found: map[string]string{}}
	var backends []balancer.BackendConfig
	places, errs := locatePool(cfg, find)
	for i := range places {
		at := &places[i]
		t := target(&at.backend, at.address)
		backends = append(backends, balancer.BackendConfig{
			Name: at.name, Site: at.backend.Site, Weight: at.backend.Weight, Priority: at.backend.Priority, MaxSessions: at.backend.MaxSessions,
			Key: identity(t), Data: t,
		})
		p.targets = append(p.targets, probeTarget(cfg, at))
		errs = append(errs, t.Check(), p.targets[len(p.targets)-1].Validate())
		if at.host != "" {
			p.found[at.backend.Name+"/"+at.address.String()] = at.found
		}
	}
	p.policy = policy(cfg, backends)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := p.policy.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

// identity is what makes a backend the relay that it is, whatever its name: where
// it is, by which way it is reached, and whom it sees there.
func identity(t *proxy.Target) string {
	return fmt.Sprint(t.Address, " ", t.Source, " ", t.Interface, " ", t.Mark, " ", t.Transparent)
}

// news is who hears of what changes in a pool.
type news struct {
	change     func(balancer.Change)
	tierChange func(balancer.TierChange)
	unchecked  func(pool, backend, why string) // a check says nothing: this machine cannot make it
}

// policy is a pool's configuration in the terms of the balancer.
func policy(cfg *config.Pool, backends []balancer.BackendConfig) balancer.Config {
	warm, ramp := &cfg.Failover.KeepWarm, &cfg.Failover.Ramp
	c := balancer.Config{
		Name: cfg.Name, Backends: backends, Rise: cfg.Probe.Rise, Fall: cfg.Probe.Fall,
		Failures: cfg.Passive.Failures, Eject: cfg.Passive.Eject, MaxEject: cfg.Passive.MaxEject,
		MinHealthy: cfg.Failover.MinHealthy, FailbackDelay: cfg.Failover.FailbackDelay, SlowStart: cfg.SlowStart,
		Warm: balancer.Warm{Share: warm.Share.Fraction(), MinPerHour: warm.MinPerHour, MaxSessions: warm.MaxSessions},
		Ramp: balancer.Ramp{Over: ramp.Over, Start: ramp.Start.Fraction()},
	}
	switch hedge := cfg.Timeouts.Hedge; {
	case hedge.Auto:
		c.Hedge = 0
	case hedge.After > 0:
		c.Hedge = hedge.After
	default:
		c.Hedge = -1 // never
	}
	return c
}

func target(b *config.Backend, address netip.AddrPort) *proxy.Target {
	t := &proxy.Target{Address: address, Source: b.Source, Interface: b.Interface, Mark: b.FWMark, Transparent: b.Transparent}
	switch b.ProxyProtocol {
	case config.ProxyV1:
		t.ProxyProtocol = 1
	case config.ProxyV2:
		t.ProxyProtocol = 2
	}
	return t
}

// probeTarget is where a backend is checked: where its sessions go, unless
// probe.address says another host or port. There the PROXY header of the
// sessions is not expected. Of a transparent one the check comes from this
// machine's own address.
func probeTarget(cfg *config.Pool, p *place) probes.Target {
	b := &p.backend
	t := probes.Target{
		Name: p.name, Address: p.address.String(), ProxyProtocol: string(b.ProxyProtocol),
		HELO: cfg.Probe.HELO, STARTTLS: cfg.Probe.STARTTLS, MailFrom: cfg.Probe.MailFrom, RcptTo: cfg.Probe.RcptTo,
		Timeout: cfg.Probe.Timeout, ConnectTimeout: cfg.Timeouts.Connect,
		Source: b.Source, Interface: b.Interface, FWMark: b.FWMark,
		ServerName: p.host,
	}
	if other := cfg.Probe.Address; other.Port != 0 {
		if other.Host == "" {
			other.Host = p.address.Addr().String()
		} else {
			t.ServerName = ""
		}
		t.Address, t.ProxyProtocol = other.String(), ""
	}
	return t
}

// check is the dialogue of a probe type.
func check(kind config.ProbeType) probes.Func {
	switch kind {
	case config.ProbeSMTPS:
		return probes.SMTPS
	case config.ProbeTCP:
		return probes.TCP
	default:
		return probes.SMTP
	}
}

// verdict is what a check's result means to the balancer.
func verdict(r *probes.Result) balancer.Verdict {
	switch {
	case r.OK:
		return balancer.VerdictGood
	case r.Busy():
		return balancer.VerdictBusy
	default:
		return balancer.VerdictFailed
	}
}

func timeouts(t config.Timeouts) proxy.Timeouts {
	return proxy.Timeouts{
		Connect: t.Connect, Greeting: t.Greeting, SessionSetup: t.SessionSetup, Idle: t.Idle,
		Drain: max(t.Drain, 1), // 0 is "not at all" here, and the default there
	}
}

func buildListener(cfg *config.Listener, pools map[string]*proxy.Pool) proxy.Listener {
	l := proxy.Listener{
		Name: cfg.Name, Address: cfg.Address, Pool: pools[cfg.Pool],
		Allow: cfg.Allow, Deny: cfg.Deny, AcceptProxy: cfg.AcceptProxy, Hostname: cfg.Hostname,
		MaxSessions: cfg.MaxSessions, MaxSessionsPerClient: cfg.MaxSessionsPerClient,
		MaxRatePerClient: proxy.Rate{PerMinute: cfg.MaxRatePerClient.PerMinute, Burst: cfg.MaxRatePerClient.Burst},
	}
	if l.MaxSessions == 0 {
		l.MaxSessions = math.MaxInt // 0 is "no limit" here, and the default there
	}
	for _, r := range cfg.Routes {
		l.Routes = append(l.Routes, proxy.Route{From: r.From, Pool: pools[r.Pool]})
	}
	if cfg.Protocol == config.ProtocolTCP {
		l.Protocol = proxy.TCP
	}
	switch cfg.DeniedReply {
	case config.Deny554:
		l.DeniedReply = proxy.Denied554
	case config.DenyDrop:
		l.DeniedReply = proxy.DeniedDrop
	}
	return l
}
