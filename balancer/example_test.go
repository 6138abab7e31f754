package balancer_test

import (
	"fmt"
	"time"

	"smtplb/balancer"
)

// A session is turned away by the first relay and gets the second one; the client never hears of it.
func Example() {
	pool, err := balancer.New(balancer.Config{
		Name: "outbound",
		Backends: []balancer.BackendConfig{
			{Name: "relay-a", Site: "hq", Weight: 3},
			{Name: "relay-b", Site: "hq", Weight: 1},
			{Name: "relay-c", Site: "dr", Weight: 1, Priority: 1},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()

	var tried []int
	for {
		lease, err := pool.Acquire(now, tried)
		if err != nil {
			fmt.Println("421 4.3.2", err)
			return
		}
		outcome := dial(lease.Backend())
		fmt.Println(lease.Backend().Name(), outcome)
		if outcome != balancer.OK {
			tried = append(tried, lease.Backend().ID())
			lease.Fail(now, outcome)
			continue
		}
		lease.Established(now, 0)
		// The session runs here.
		lease.Release(now)
		break
	}
	// Output:
	// relay-a greeting_4xx
	// relay-b ok
}

// dial stands for connecting to the relay and reading its greeting.
func dial(b *balancer.Backend) balancer.Outcome {
	if b.Name() == "relay-a" {
		return balancer.Greeting4xx
	}
	return balancer.OK
}

// Active checks report to the pool, and the pool says when that changes anything.
func ExamplePool_Probe() {
	pool, err := balancer.New(balancer.Config{
		Name:     "outbound",
		Backends: []balancer.BackendConfig{{Name: "relay-a", Weight: 1}, {Name: "relay-b", Weight: 1}},
		OnChange: func(c balancer.Change) {
			fmt.Printf("%s: %s is %s: %s\n", c.Pool, c.Backend, c.To, c.Reason)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range []balancer.Verdict{
		balancer.VerdictFailed, balancer.VerdictFailed, balancer.VerdictFailed, balancer.VerdictGood, balancer.VerdictGood,
	} {
		pool.Probe(time.Now(), 1, v, "connection refused")
	}
	// Output:
	// outbound: relay-b is down: 3 failed checks in a row, last: connection refused
	// outbound: relay-b is up: 2 good checks in a row
}
