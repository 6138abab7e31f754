package probes

import (
	"context"
	"time"
)

// TCP checks that the target takes connections, and no more: for relays that
// wait for the client to speak first, in whatever tongue. It sends the
// PROXY header where one is wanted, then closes with a FIN. It is a [Func].
func TCP(ctx context.Context, t Target) Result {
	return check(ctx, t, dial, talkTCP)
}

func talkTCP(_ context.Context, d *dialogue, _ Target, r *Result) {
	r.OK, r.Latency = true, time.Since(d.start)
}
