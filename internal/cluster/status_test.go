package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The disk on which a tick notes what is lent may hang.
func TestStatusWaitsForNoTick(t *testing.T) {
	all := freeAddresses(t, 2)
	a := openSite(t, config(all, 0), 10)
	openSite(t, config(all, 1), 10)
	eventually(t, "they hear each other", func() bool { return a.node.Status().Peers[0].Reach == InReach })
	a.node.mu.Lock() // as a tick does
	defer a.node.mu.Unlock()
	seen := make(chan Status, 1)
	go func() { seen <- a.node.Status() }()
	select {
	case st := <-seen:
		if len(st.Peers) != 1 || st.Peers[0].Reach != InReach || st.Peers[0].Silent < 0 || len(st.Ceilings) != 1 || st.Ceilings[0].Share != 5 {
			t.Errorf("status %+v", st)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits")
	}
}

// Nobody is heard while a tick hangs: that is seen, though no tick tells.
func TestStatusKnowsThatATickHangs(t *testing.T) {
	all := freeAddresses(t, 2)
	s := newSite(t, config(all, 0), 10)
	old := time.Now().Add(-time.Minute)
	s.node.shown.Store(&shown{Status: Status{Peers: []PeerStatus{{Reach: InReach}, {Reach: InReach}, {Reach: HasLeft}}}, heard: []time.Time{old, time.Now(), old}})
	var reach []string
	for _, p := range s.node.Status().Peers {
		reach = append(reach, p.Reach)
	}
	if want := []string{OutOfReach, InReach, HasLeft}; !slices.Equal(reach, want) {
		t.Errorf("%q, want %q", reach, want)
	}
}

// A machine that was copied has the file of another balancer: it says nothing of what this one has lent.
func TestTheJournalOfAnotherIsNotTaken(t *testing.T) {
	all := freeAddresses(t, 2)
	c := config(all, 0)
	c.Journal = filepath.Join(t.TempDir(), "cluster.json")
	first := newSite(t, c, 10)
	if err := first.node.Open(); err != nil {
		t.Fatal(err)
	}
	if err := first.node.Close(false); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c); err != nil {
		t.Errorf("its own: %v", err)
	}
	if err := os.WriteFile(c.Journal+".old", []byte(`{"process":7,"lent":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	before := c
	before.Journal += ".old"
	if n, err := New(before); err != nil || !n.book.knows {
		t.Errorf("one of before it was noted whose it is: %v", err)
	}
	copied := config(all, 1)
	copied.Journal = c.Journal
	n, err := New(copied)
	if err == nil || !strings.Contains(err.Error(), "it is of the balancer \""+all[0].String()+"\", and this one is "+all[1].String()) {
		t.Errorf("that of another: %v", err)
	}
	if n.book.knows {
		t.Error("it thinks that it knows what it has lent")
	}
	text, err := os.ReadFile(c.Journal)
	if err != nil || !strings.Contains(string(text), all[0].String()) {
		t.Errorf("%s, %v", text, err)
	}
}
