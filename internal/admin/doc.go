// Package admin is the HTTP server on admin.address: what people, Prometheus
// and keepalived ask the running balancer, and the few verbs by which a person
// takes a relay out and brings it back.
//
// It pulls. Nothing below it knows that it is there: each request reads the
// state of that moment from the functions that the Server was given, so a reload
// may swap pools and listeners underneath. Two things are pushed: the end of each
// session, to [Server.Observe], for what only a single session knows (who was
// asked, with what outcome, and how long a greeting took), and what happens, to
// [Server.BackendChanged], [Server.TierChanged] and [Server.ReloadEnded], of which
// the last 200 are kept.
//
//	server := &admin.Server{
//		Address: netip.MustParseAddrPort("127.0.0.1:9925"),
//		Pools:   func() []admin.Pool { return []admin.Pool{{Balancer: pool}} },
//		Stats:   proxyServer.Stats,
//		Version: "v1.0.0",
//	}
//	if err := server.Listen(); err != nil { ... }
//	go server.Serve()
//	...
//	server.Shutdown(ctx)
//
// # What it answers
//
//	GET  /                     the dashboard, and its files below /dashboard/
//	GET  /healthz              200 while the process lives
//	GET  /readyz               200 or 503, with the reason
//	GET  /metrics              Prometheus, prefix smtplb_
//	GET  /api/v1/status        everything, as JSON
//	GET  /api/v1/sessions      the sessions that run, those that have run longest
//	GET  /api/v1/events        what happened lately
//	GET  /api/v1/stream        the state every second, as server-sent events
//	GET  /api/v1/openapi.yaml  the API's description
//	POST /api/v1/backends/{pool}/{name}/{verb}   drain, enable or disable
//	POST /api/v1/reload        read the configuration file again
//
// Errors are JSON as RFC 9457 has it: title, status, detail; near, names
// that may have been meant; and errors, the mistakes of a file. openapi.yaml beside this file is the reference, and a
// test holds it and the handlers to each other.
//
// # Who may ask
//
// /healthz, /readyz, the dashboard's files and the API's description are open:
// they tell nothing of the relays. Listening on loopback without a token, the server answers whoever is
// on this machine, readers and changers. With a token, changing needs
// "Authorization: Bearer TOKEN". Off loopback reading needs it too, and an
// address off loopback without a token is refused by Listen.
//
// A browser on this machine is the other way in. A page of a stranger may aim
// requests at 127.0.0.1, and by a name that it has resolve to 127.0.0.1 it may
// even read the answers (DNS rebinding). So without a token the Host must be
// a name or address of loopback, and no change is taken from a page of another
// origin, token or not. No answer allows a foreign origin to read it (CORS).
//
// # The dashboard
//
// A page without a framework and without a build: the files in dashboard are
// what the browser runs, one subject each, and the only library is uPlot, for
// the charts (dashboard/vendor). The page asks nothing but this server, and its
// Content-Security-Policy holds it to that. It shows what the stream tells.
//
// One snapshot a second is made for all who watch, and none while nobody does.
// The history for the charts is kept all the time: a snapshot each five seconds,
// and 1.4 KB for each backend.
//
// # The metrics
//
// Labels are few and bounded: pool, backend, tier, site, state, outcome, end,
// direction, for what is found in DNS name and fault, and for other balancers peer and limit. Site and tier of a backend stand in smtplb_backend_info alone;
// sessions by site are
//
//	sum by (site) (rate(smtplb_backend_established_total[5m])
//	  * on (job, instance, pool, backend) group_left (site) smtplb_backend_info)
//
// The one to watch is smtplb_tier_idle_seconds: addresses that send nothing for
// a month have lost the reputation that a failover would need. It goes on over an
// upgrade, and counts from the start of the first process where a tier has had no
// session since. The rules in deploy/prometheus/alerts.yml warn after 7 days, and
// are severe after 30.
//
// # What it does not do
//
// It reads no configuration and writes no log; errors leave by [Server.OnError].
package admin
