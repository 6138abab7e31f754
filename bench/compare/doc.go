// Package compare measures smtplb beside other ways from SMTP clients to their
// relays, on one machine, in one run: HAProxy, nginx's stream module, the
// io.Copy proxy of package bench, and no balancer at all.
//
//	c, err := compare.Run(ctx, compare.Options{
//		Iocopy:   []string{self, "iocopy"},
//		Progress: os.Stderr,
//	})
//	fmt.Print(report.Markdown(c))
//	missed := compare.Missed(c) // of the bars
//
// # What is fair
//
// Each balancer is a process of its own, on the balancers' CPUs, where no other
// is used while it is measured; clients and relays are in this process, on the
// load's CPUs. All get the same relays, the same clients, and as many workers as
// CPUs. Rounds are interleaved: in each one every peer has its turn, freshly started
// and warmed up, and whoever was first is last in the next. Where little differences
// count, of CPU and latency, a round is of many short turns, so that what disturbs
// the machine meets all alike. A number is the median of its rounds, and what is said
// of two peers the median of the rounds' ratios or differences. How far that can be
// trusted, of latencies, the log and the distance from the floor, stands beside it:
// an interval by resampling. What a balancer does after its turn is on no bill, such
// as a tenth of a second of smtplb's log that is written then.
//
// The peers' configurations are files under peers, with what their manuals
// recommend for this and why, and stand in the report as they were used. smtplb
// writes its session log, the others write none.
//
// CPU time is the kernel's account of a process, see package proc. Where the
// machine has too few CPUs for balancer and load, a rate would be the load's:
// then what is reported is derived from CPU time, and says so.
//
// Whoever is missing on this machine is named in the report, with what would
// bring it.
//
// # What it does not do
//
// It runs over loopback, so that there is no network to wait for, and compares
// no TLS: all of them pass it through. It does not tune the kernel.
package compare
