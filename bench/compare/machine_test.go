package compare

import (
	"testing"

	"smtplb/bench/compare/proc"
)

func TestBusyTimeIsThatOfItsCPUs(t *testing.T) {
	const text = `cpu  300 0 0 9000 0 0 0 0 0 0
cpu0 100 10 20 4000 500 3 7 60 80 90
cpu1 200 0 0 5000 0 0 0 0 0 0
cpu10 700 0 0 1 0 0 0 0 0 0

intr 1 2 3
`
	for _, test := range []struct {
		cpus proc.CPUs
		want float64 // without idle, iowait, steal and guests
	}{{proc.CPUs{0}, 1.4}, {proc.CPUs{0, 1}, 3.4}, {proc.CPUs{10}, 7}, {proc.CPUs{2}, 0}, {nil, 0}} {
		if got := busyIn(text, test.cpus); !same(got, test.want) {
			t.Errorf("CPUs %s: %v s, want %v", test.cpus, got, test.want)
		}
	}
}

func TestTheMachineIsBusy(t *testing.T) {
	available, err := proc.Available()
	if err != nil {
		t.Fatal(err)
	}
	if busyTime(available) <= 0 || ownTime() <= 0 {
		t.Errorf("busy for %v s, ourselves for %v s", busyTime(available), ownTime())
	}
	if part := watchOthers(available)(); part < 0 {
		t.Errorf("others used %v of the time", part)
	}
}
