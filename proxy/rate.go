package proxy

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Rate bounds how many connections a client may make in a time. It is a bucket
// that holds Burst and is filled again with PerMinute a minute, evenly; each
// connection takes one out, and who finds it empty is told to come again, which
// takes nothing out. The zero value is no limit.
type Rate struct {
	PerMinute int // 0: no limit
	Burst     int // at once, after a time without any; 0: as many as in a minute
}

func (r Rate) every() int64 { return max(int64(time.Minute)/int64(r.PerMinute), 1) }

func (r Rate) burst() int64 {
	if r.Burst > 0 {
		return int64(r.Burst)
	}
	return int64(r.PerMinute)
}

// rates remembers how much each client has left, in a table that never grows: a
// million clients take as much memory as none. Safe for concurrent use.
//
// A bucket is one moment, when it will be full again (the generic cell rate
// algorithm). One that is full is as good as forgotten, so its place is free; where
// none is, the one that is full again soonest is forgotten, whose client so gets
// a little more than its rate. It takes that many clients, all within
// PerMinute's time of each other, and all of them allowed: strangers never come
// here.
type rates struct {
	seed maphash.Seed // of this table alone: nobody can choose addresses that meet in one set
	sets [rateSets]rateSet
}

// maxRate bounds both numbers of a Rate: beyond, it is no limit.
const maxRate = 10_000_000

const (
	rateSets = 1 << 14
	rateWays = 7
)

// rateSet has the places in which a client may be kept. With its lock it is two
// cache lines, and loops meet at a lock one time in thousands.
type rateSet struct {
	mu   sync.Mutex
	who  [rateWays]uint64
	full [rateWays]int64 // when, in nanoseconds since the server's base
}

func newRates() *rates { return &rates{seed: maphash.MakeSeed()} }

// take takes one out of a client's bucket, or tells that there is none.
func (t *rates) take(client netip.Addr, r Rate, now int64) bool {
	key := rateKey(client)
	set := &t.sets[maphash.Comparable(t.seed, key)%rateSets]
	every := r.every()
	room := every * r.burst() // what an empty bucket takes until it is full
	set.mu.Lock()
	defer set.mu.Unlock()
	at := set.find(key)
	full := int64(0)
	if set.who[at] == key {
		full = set.full[at]
	}
	// No client waits longer than an empty bucket takes, though the burst was
	// greater before a reload.
	full = min(max(full, now), now+room)
	enough := full+every-now <= room
	if enough {
		full += every
	}
	set.who[at], set.full[at] = key, full
	return enough
}

// find is the client's place, or else the one to give it.
func (s *rateSet) find(key uint64) int {
	oldest := 0
	for i := range s.who {
		if s.who[i] == key {
			return i
		}
		if s.full[i] < s.full[oldest] {
			oldest = i
		}
	}
	return oldest
}

// rateKey is who shares a bucket: an IPv4 address, or the 64 bits of an IPv6
// network. One machine has all addresses of such a network (RFC 4291, section
// 2.5.1) and could take another one for each connection. No network of machines
// begins with 0:ffff.
func rateKey(client netip.Addr) uint64 {
	if client = client.Unmap(); client.Is4() {
		b := client.As4()
		return 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := client.As16()
	return binary.BigEndian.Uint64(b[:])
}

// String is the rate as a client reads it.
func (r Rate) String() string {
	return strconv.FormatInt(int64(r.PerMinute), 10) + " a minute, " + strconv.FormatInt(r.burst(), 10) + " at once"
}
