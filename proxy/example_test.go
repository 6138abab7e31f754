package proxy_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"

	"smtplb/balancer"
	"smtplb/proxy"
)

// Another program carries the balancer in itself: no configuration file, no
// logger, no admin server. Here one relay is down and the other is a line of Go.
func Example() {
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			conn, err := relay.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, "220-relay-b.example ESMTP\r\n220 at your service\r\n")
			_ = conn.Close()
		}
	}()

	pool, err := balancer.New(balancer.Config{Name: "outbound", Backends: []balancer.BackendConfig{
		{Name: "relay-a", Weight: 1}, {Name: "relay-b", Weight: 1},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan string, 1)
	srv := &proxy.Server{
		Workers: 1,
		Listeners: []proxy.Listener{{
			Address: netip.MustParseAddrPort("127.0.0.1:0"),
			Allow:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Pool: &proxy.Pool{Balancer: pool, Targets: []proxy.Target{
				{Address: netip.MustParseAddrPort("127.0.0.1:1")}, // nobody listens there
				{Address: relay.Addr().(*net.TCPAddr).AddrPort()},
			}},
		}},
		OnSession: func(r *proxy.Record) {
			ended <- fmt.Sprintf("%s %s, then %s %s", r.Attempts[0].Backend, r.Attempts[0].Outcome,
				r.Attempts[1].Backend, r.Attempts[1].Outcome)
		},
	}
	if err := srv.Listen(); err != nil {
		fmt.Println(err)
		return
	}
	address := srv.Addresses()[0]
	served := make(chan error)
	go func() { served <- srv.Serve() }()

	client, err := textproto.Dial("tcp", address.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, greeting, err := client.ReadResponse(220)
	fmt.Println(greeting, err)
	_ = client.Close()
	fmt.Println(<-ended)

	_ = relay.Close()
	fmt.Println(srv.Shutdown(context.Background()), <-served)
	// Output:
	// relay-b.example ESMTP
	// at your service <nil>
	// relay-a refused, then relay-b ok
	// <nil> proxy: server closed
}
