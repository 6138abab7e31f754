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
	for i := range cfg.Pools {
		p, at := &cfg.Pools[i], fmt.Sprintf("pools[%d].", i)
		if p.Discovered.Transparent {
			say(at+"discovered.transparent", "the relay sees this machine's address")
		}
		for j := range p.Backends {
			b, key := &p.Backends[j], fmt.Sprintf("%sbackends[%d].", at, j)
			if b.Transparent {
				say(key+"transparent", "the relay sees this machine's address")
			}
		}
	}
	return texts
}
