package config_test

import (
	"fmt"

	"smtplb/internal/config"
)

func ExampleParse() {
	file := []byte(`
listeners:
  - address: "192.0.2.25:25"
    allow: ["10.10.0.0/16"]
pools:
  - name: outbound
    backends:
      - {name: relay-a, address: "10.10.1.11:25", weight: 2}
      - {address: "relay-b.example.com:25"}
`)
	cfg, err := config.Parse("smtplb.yaml", file, []string{"SMTPLB_POOLS__0__BACKENDS__1__WEIGHT=3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range cfg.Listeners {
		fmt.Println(l.Name, "->", l.Pool)
		for _, b := range cfg.Pool(l.Pool).Backends {
			fmt.Println(" ", b.Name, b.Weight)
		}
	}
	// Output:
	// 192.0.2.25:25 -> outbound
	//   relay-a 2
	//   relay-b.example.com:25 3
}

func ExampleParse_errors() {
	file := []byte(`
listeners:
  - address: "192.0.2.25"
    pool: outbond
pools:
  - name: outbound
    backends:
      - {adress: "10.10.1.11:25", weight: 2000}
    timeouts: {idle: 5m}
`)
	_, err := config.Parse("smtplb.yaml", file, nil)
	fmt.Println(err)
	// Output:
	// smtplb.yaml:3: listeners[0].address: "192.0.2.25": must be IP:port, such as "192.0.2.25:25", "0.0.0.0:25" or "[::]:25"
	// smtplb.yaml:3: listeners[0].allow: required: nobody may connect until named, such as [10.0.0.0/8]
	// smtplb.yaml:4: listeners[0].pool: "outbond": no such pool: did you mean `outbound`?
	// smtplb.yaml:8: pools[0].backends[0].adress: unknown key: did you mean `address`?
	// smtplb.yaml:8: pools[0].backends[0].weight: 2000: must be 0 to 1000
	// smtplb.yaml:9: pools[0].timeouts.idle: "5m": must be at least 11m: the client waits 10 minutes after the final dot (RFC 5321, 4.5.3.2.6), a cut then means duplicates
}
