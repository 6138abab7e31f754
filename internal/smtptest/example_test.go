package smtptest_test

import (
	"fmt"
	"time"

	"smtplb/internal/smtptest"
)

// A relay and a client outside a test, and the proof that nothing was lost.
func Example() {
	relay, err := smtptest.Listen("127.0.0.1:0", smtptest.Script{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer relay.Close()
	client, err := smtptest.DialTimeout(relay.Addr().String(), 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	var ledger smtptest.Ledger
	for n := range 3 {
		m := smtptest.Outgoing{ID: fmt.Sprint("m", n), Size: 4096}
		if err := ledger.Record(m, client.Send(m)); err != nil {
			fmt.Println(err)
		}
	}
	report := ledger.Compare(relay.Messages())
	fmt.Println(report.Delivered, report.Err())
	// Output: 3 <nil>
}
