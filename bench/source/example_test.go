package source_test

import (
	"context"
	"fmt"

	"smtplb/bench/source"
	"smtplb/internal/smtptest"
)

func ExampleRun() {
	relay, err := smtptest.Listen("127.0.0.1:0", smtptest.Script{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer relay.Close()
	run, err := source.Run(context.Background(), source.Config{
		Targets:  []string{relay.Addr().String()},
		Rate:     500,
		Sessions: 50,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.Messages.Accepted, "accepted;", len(run.Failures), "failures; latencies from", run.LatencyOf)
	// Output: 50 accepted; 0 failures; latencies from intended start
}
