package config

// Config is a whole configuration that has passed every check. It is plain
// data: nothing in it changes after Parse, so any number of goroutines may
// read it.
type Config struct {
	// Listeners are the addresses that clients connect to, each with who may and
	// which pool takes them. At least one, at most 1000.
	Listeners []Listener `koanf:"listeners"`

	// Pools are the groups of relays that listeners and routes name. The relays of
	// one pool can stand in for each other. At least one, at most 1000.
	Pools []Pool `koanf:"pools"`

	// Admin is the HTTP server for the dashboard, health, metrics and the API,
	// which smtplb's own commands use too.
	Admin Admin `koanf:"admin"`

	// Log says what is logged, and how.
	Log Log `koanf:"log"`

	// DNS says whom to ask for the names of relays. Without it the system's own
	// settings hold.
	DNS DNS `koanf:"dns"`

	// Cluster names the other balancers before the same relays, with which limits
	// are shared. Default: there is none.
	Cluster Cluster `koanf:"cluster"`

	// Workers is the number of event loops, each with a thread of its own, 0 to
	// 256. Takes effect at a start only. Default 0: one per CPU.
	Workers int `koanf:"workers"`

	// Warnings are things that are allowed but rarely meant, sorted by line,
	// for the caller to print at start.
	Warnings []Problem
}

// Pool returns the pool of that name, or nil when there is none. Every name
// held by a listener or a route has a pool.
func (c *Config) Pool(name string) *Pool {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i]
		}
	}
	return nil
}

// Log is what is logged, and how.
type Log struct {
	// Level is the least severe level written: debug, info, warn or error. The
	// line of each session is info, so that warn leaves them out. Default info.
	Level LogLevel `koanf:"level"`

	// Format is json, for machines, or console, for people. Takes effect at a
	// start only. Default json.
	Format LogFormat `koanf:"format"`
}
