package sink

import "strconv"

// startData answers DATA.
func (d *dialogue) startData(line []byte) {
	switch {
	case len(line) > len("DATA"):
		d.say("501 5.5.4 DATA takes no parameter")
	case !d.to:
		d.say("503 5.5.1 RCPT first")
	case d.chunked:
		d.say("503 5.5.1 BDAT has begun")
	default:
		d.say("354 go ahead")
		d.phase = phaseData
	}
}

// data takes octets of a message after DATA.
func (d *dialogue) data(p []byte) (n int) {
	if !d.underWay() {
		return 0
	}
	n, done := d.transfer.undot(p)
	if done {
		d.phase = phaseCommands
		d.reach(PointContent, nil)
	}
	return n
}

// underWay comes by the middle of a message when its first octets are there. It
// is false when that was the end.
func (d *dialogue) underWay() bool {
	if d.transfer == nil {
		d.transfer = d.relay.newTransfer()
	}
	if !d.begun {
		d.begun = true
		d.reach(PointMiddle, nil)
	}
	return d.step == stepRead
}

// startChunk takes BDAT, RFC 3030. Its octets come whatever is said.
func (d *dialogue) startChunk(line []byte) {
	c, ok := parseBDAT(line)
	if !ok {
		d.say("501 5.5.4 BDAT size [LAST] expected")
		return
	}
	if !d.to {
		c.error = "503 5.5.1 RCPT first"
	} else {
		d.chunked = true
	}
	d.take(c)
}

// take begins to take the octets of a chunk.
func (d *dialogue) take(c chunk) {
	d.chunk, d.phase = c, phaseChunk
	if c.left == 0 {
		d.chunkEnd()
	}
}

// octets takes some of a chunk.
func (d *dialogue) octets(p []byte) (n int) {
	wanted := d.chunk.error == ""
	if wanted && !d.underWay() {
		return 0
	}
	n = int(min(int64(len(p)), d.chunk.left))
	if wanted {
		d.transfer.write(p[:n])
	}
	if d.chunk.left -= int64(n); d.chunk.left == 0 {
		d.chunkEnd()
	}
	return n
}

func (d *dialogue) chunkEnd() {
	c := d.chunk
	d.phase = phaseCommands
	switch {
	case c.error != "":
		d.say(c.error)
	case c.last:
		d.reach(PointContent, nil)
	default:
		d.say("250 2.0.0 " + strconv.FormatInt(c.size, 10) + " octets")
	}
}

// keep has the message taken.
func (d *dialogue) keep() {
	if d.transfer == nil { // BDAT 0 LAST: a message of no octets
		d.transfer = d.relay.newTransfer()
	}
	d.relay.keep(d.transfer.checker.Arrival())
}

// clear ends the transaction.
func (d *dialogue) clear() {
	d.from, d.to, d.chunked, d.begun = false, false, false, false
	if d.transfer != nil {
		d.relay.giveBack(d.transfer)
		d.transfer = nil
	}
}
