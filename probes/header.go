package probes

import (
	"fmt"
	"net"

	"github.com/pires/go-proxyproto"
)

// The words of Target.ProxyProtocol.
const (
	proxyV1 = "v1"
	proxyV2 = "v2"
)

// introduce sends the PROXY header that the relay wants, in one write.
func (d *dialogue) introduce(t Target) error {
	if t.ProxyProtocol == "" {
		return nil
	}
	h := header(t.ProxyProtocol, d.conn.LocalAddr(), d.conn.RemoteAddr())
	b, err := h.Format()
	if err != nil {
		return fmt.Errorf("PROXY header %s: %w", t.ProxyProtocol, err)
	}
	if t.ProxyProtocol == proxyV2 {
		d.add(Sent, "PROXY v2 LOCAL")
	} else {
		d.add(Sent, string(b))
	}
	_, err = d.conn.Write(b)
	return err
}

// header is a check's own PROXY header: no client stands behind it. Version 2
// says so with the command LOCAL, "the connection was established on purpose by
// the proxy without being relayed" (proxy-protocol.txt, section 2.2). Version 1
// has only UNKNOWN for that, which leaves a relay without an address to go by:
// so it names the real ends of the connection, as HAProxy's checks do.
func header(version string, local, remote net.Addr) *proxyproto.Header {
	if version == proxyV2 {
		return &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	}
	return proxyproto.HeaderProxyFromAddrs(1, local, remote)
}
