package source

import (
	"testing"
	"time"

	"smtplb/internal/smtptest"
)

func TestAlarmNeverRingsEarly(t *testing.T) {
	smtptest.CheckDescriptors(t)
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, after := range []time.Duration{-time.Hour, 0, 1, time.Microsecond, 300 * time.Microsecond, 3 * time.Millisecond} {
		until := time.Now().Add(after)
		if !a.wait(t.Context(), until) || time.Now().Before(until) {
			t.Errorf("after %v", after)
		}
	}
}

func TestAlarmEndsWithItsContext(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	ctx, end := ending(t)
	time.AfterFunc(time.Millisecond, end)
	if a.wait(ctx, time.Now().Add(time.Hour)) {
		t.Error("an hour has passed")
	}
	if a.wait(ctx, time.Now().Add(time.Hour)) {
		t.Error("the context has ended before")
	}
	if !a.wait(ctx, time.Now()) {
		t.Error("what is due is due, whatever the context says")
	}
	fresh, _ := ending(t)
	if until := time.Now().Add(time.Millisecond); !a.wait(fresh, until) || time.Now().Before(until) {
		t.Error("the alarm is of no further use")
	}
}
