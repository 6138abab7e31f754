package main

import "testing"

// What asks a process that was replaced learns of the next one: keepalived would move the VIP for a wrong "no", which cuts every session.
func TestAReplacedProcessIsReady(t *testing.T) {
	d := &daemon{}
	d.draining.Store(true)
	if ok, why := d.ready(); ok || why != "draining" {
		t.Errorf("one that drains: %t, %q", ok, why)
	}
	d.replaced.Store(true)
	if ok, why := d.ready(); !ok {
		t.Errorf("one that was replaced: %q", why)
	}
}
