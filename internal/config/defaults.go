package config

import (
	"net/netip"
	"os"
	"time"
)

// The defaults of every key, and nothing else decides them. Three depend on
// the rest of the configuration and are filled in by fillNames: the names of
// listeners, pools and backends.

func defaultConfig() Config {
	return Config{
		Admin: Admin{Address: netip.MustParseAddrPort("127.0.0.1:9925")},
		Log:   Log{Level: LogInfo, Format: LogJSON},
		DNS:   DNS{Timeout: 5 * time.Second},

		Cluster: Cluster{Hold: 15 * time.Minute},
	}
}

func defaultListener() Listener {
	return Listener{
		Protocol:    ProtocolSMTP,
		DeniedReply: Deny421,
		MaxSessions: 10000,
	}
}

func defaultPool() Pool {
	return Pool{
		Balance: LeastConnections,
		Failover: Failover{
			MinHealthy:    1,
			FailbackDelay: 2 * time.Minute,
			Ramp:          Ramp{Start: 10 * percent},
		},
		SlowStart: 30 * time.Second,
		Probe: Probe{
			Type:         ProbeSMTP,
			Interval:     5 * time.Second,
			FastInterval: time.Second,
			Timeout:      15 * time.Second,
			Rise:         2,
			Fall:         3,
		},
		Passive: Passive{Failures: 3, Eject: 30 * time.Second, MaxEject: 5 * time.Minute},
		Timeouts: Timeouts{
			Connect:      5 * time.Second,
			Greeting:     15 * time.Second,
			Hedge:        Hedge{Auto: true},
			SessionSetup: time.Minute,
			Idle:         15 * time.Minute,
			Drain:        15 * time.Minute,
		},
	}
}

func defaultBackend() Backend {
	return Backend{Weight: 1}
}

// machineName is the machine's name, or "localhost" where it has none that may
// stand in an SMTP reply.
func machineName() string {
	name, err := os.Hostname()
	if err != nil || !isMailName(name) {
		return "localhost"
	}
	return name
}

// fillNames gives names to what has none: a listener and a backend are called
// by their address, the only pool by what the listeners call it.
func (c *Config) fillNames() {
	machine := machineName()
	c.fillPoolNames()
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.Name == "" && l.Address.IsValid() {
			l.Name = l.Address.String()
		}
		if l.Hostname == "" {
			l.Hostname = machine
		}
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		if p.Probe.HELO == "" {
			p.Probe.HELO = machine
		}
		for j := range p.Backends {
			if b := &p.Backends[j]; b.Name == "" && b.Address.Host != "" {
				b.Name = b.Address.String()
			}
		}
	}
}

// fillPoolNames settles the names where there is one pool and so no doubt
// which is meant. With several, both ends must say the name.
func (c *Config) fillPoolNames() {
	if len(c.Pools) != 1 {
		return
	}
	pool := &c.Pools[0]
	if pool.Name == "" {
		switch asked := c.poolsAsked(); len(asked) {
		case 0:
			pool.Name = "default"
		case 1:
			pool.Name = asked[0]
		default:
			return // checkPools asks for the name
		}
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.Pool == "" {
			l.Pool = pool.Name
		}
	}
}

// poolsAsked returns the different pool names that listeners and routes use,
// in the order of the file.
func (c *Config) poolsAsked() []string {
	var names []string
	seen := make(map[string]bool)
	add := func(name string) {
		if name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, l := range c.Listeners {
		add(l.Pool)
		for _, rt := range l.Routes {
			add(rt.Pool)
		}
	}
	return names
}
