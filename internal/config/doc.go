// Package config reads the configuration of smtplb: one YAML file, overridden
// key by key from the environment, checked whole before anything is started.
//
// Typical use:
//
//	cfg, err := config.Load("/etc/smtplb/smtplb.yaml", os.Environ())
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // every error of the file, one a line
//		os.Exit(1)
//	}
//	for _, w := range cfg.Warnings {
//		logger.Warn(w.String())
//	}
//	for _, l := range cfg.Listeners {
//		serve(l.Address, cfg.Pool(l.Pool))
//	}
//
// The smallest file that works names one listener and one pool:
//
//	listeners:
//	  - address: "192.0.2.25:25"
//	    pool: outbound
//	    allow: ["10.10.0.0/16"]
//	pools:
//	  - backends:
//	      - address: "10.10.1.11:25"
//
// Every key, its meaning, unit and default stand at the field that holds it,
// from [Config] down; the defaults themselves are in defaults.go.
//
// # Errors
//
// All errors are found in one pass and sorted by line. Each names the file,
// the line, the key, the value and what would be right:
//
//	smtplb.yaml:12: pools[0].backends[1].weight: 2000: must be 0 to 1000
//	smtplb.yaml:14: pools[0].backends[2].adress: unknown key: did you mean `address`?
//
// A file that is not YAML at all (a directory, binary, larger than 1 MiB)
// gives one error. Things that are allowed but rarely meant, such as a listener
// open to the whole Internet, are [Config.Warnings].
//
// # Environment
//
// SMTPLB_ and the path of a key, in capitals, levels joined by two
// underscores, elements of lists by their index from 0:
//
//	SMTPLB_ADMIN__ADDRESS=127.0.0.1:9000
//	SMTPLB_POOLS__0__BACKENDS__1__WEIGHT=3
//	SMTPLB_LISTENERS__0__ALLOW=[10.0.0.0/8, 192.0.2.7]
//
// An index one past the end of a list adds an element. A variable with our
// prefix that names no key is an error; in Kubernetes a Service called smtplb
// makes such variables unless the pod sets enableServiceLinks to false.
//
// # What it does not do
//
// It opens no file but the one it is given, looks nothing up in DNS, and
// starts nothing: a token file that is missing or an address that cannot be
// bound is found by the part that uses it. It knows no anchors, aliases, merge
// keys, tags or second documents in YAML; a value is written where it is used.
// It takes at most 1000 listeners, pools, routes of a listener or backends of a
// pool, and 10000 networks in a list.
package config
