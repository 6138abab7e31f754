// Package mail gives each message of the harness an identity and a checksum,
// and holds what was sent against what arrived: which messages were lost,
// which came twice, which were damaged on the way.
//
// A source makes messages with a [Composer] and tells a [Ledger] what became of
// each. A sink passes what it receives through a [Checker] and adds each
// [Arrival] to its [Receipts]. In the end [Ledger.Compare] takes the [Holding]
// of every sink and gives the verdict:
//
//	composer := mail.NewComposer()
//	message := composer.Message(mail.ID{Run: run, Seq: 7}, 4096)
//	err := message.WriteDotted(conn) // after DATA
//	...
//	ledger.Accepted(7) // the reply was a 250
//	...
//	verdict := ledger.Compare(sink.Receipts().Of(run))
//
// # The header
//
// The first line of a message is
//
//	X-Smtpbench: run=00c0ffee00c0ffee seq=7 size=4096 crc=1c291ca3
//
// with the run in hex, the sequence number, the octets of the content from this
// line's first on, and a CRC-32C over this line up to the checksum and over all
// that follows the line. So a header with the body of another message does not
// fit, nor does a message that was cut short. What relays on the way put in
// front, Received lines that is, does not count.
//
// Bodies are lines out of one block of random text, which begin at a place that
// depends on the message. Two lines of dots come first, for the sake of those
// who forget RFC 5321, section 4.5.2.
package mail
