package main

import (
	"fmt"

	"smtplb/internal/config"
)

// notYet names what a configuration asks for and this version does not do. The
// keys are part of the contract, so that a file may have them; that they have
// no effect is said at every start.
func notYet(cfg *config.Config) []string {
	var texts []string
	say := func(key, what string) { texts = append(texts, key+": not in this version: "+what) }
	if cfg.Admin.TokenFile != "" {
		say("admin", "there is no HTTP server")
	}
	for i := range cfg.Pools {
		p, at := &cfg.Pools[i], fmt.Sprintf("pools[%d].", i)
		f := &p.Failover
		if p.Discover.Kind != "" {
			say(at+"discover", "backends are not looked up in DNS")
		}
		if f.KeepWarm.Share > 0 || f.KeepWarm.MinPerHour > 0 {
			say(at+"failover.keep_warm", "the next tier gets no sessions before it has to take over")
		}
		if f.Ramp.Over > 0 {
			say(at+"failover.ramp", "a tier takes everything at once")
		}
		if f.MinHealthy > 1 {
			say(at+"failover.min_healthy", "a tier with one healthy backend is used")
		}
		if !p.Timeouts.Hedge.Auto && p.Timeouts.Hedge.After > 0 {
			say(at+"timeouts.hedge", "the next relay is asked after timeouts.greeting")
		}
		if p.Probe.Type == config.ProbeSMTPS {
			say(at+"probe.type smtps", "the check only connects")
		}
		if p.Probe.STARTTLS {
			say(at+"probe.starttls", "the check does without")
		}
		for j := range p.Backends {
			b, key := &p.Backends[j], fmt.Sprintf("%sbackends[%d].", at, j)
			if b.Transparent {
				say(key+"transparent", "the relay sees this machine's address")
			}
			if !b.Address.IP.IsValid() && b.Address.Host != "" {
				say(key+"address", fmt.Sprintf("%s is looked up once, at start", b.Address.Host))
			}
		}
	}
	return texts
}
