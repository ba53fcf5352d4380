package rtc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/pion/ice/v4"
)

// STUN tells pion's mux whom a peer talks to; what follows goes past it, and comes back through it.
func TestMuxedConnSendsPastTheMux(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	conn, err := e.sockets.GetConn("ufrag", e.sockets.GetListenAddresses()[0])
	must(t, err)
	viewer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer viewer.Close()
	to := viewer.LocalAddr().(*net.UDPAddr).AddrPort()
	buffer := make([]byte, 100)
	for _, packet := range [][]byte{{1, 1, 0, 0}, {22, 254, 253}, {128, 96, 0, 1}} { // STUN, DTLS, RTP (RFC 7983 7)
		n, err := conn.(ice.AddrPortReaderWriter).WriteToAddrPort(packet, to)
		must(t, err)
		got, from, err := viewer.ReadFrom(buffer)
		must(t, err)
		if n != len(packet) || !bytes.Equal(buffer[:got], packet) || from.String() != conn.LocalAddr().String() {
			t.Fatalf("%v arrived as %v from %v", packet, buffer[:got], from)
		}
		_, err = viewer.WriteTo([]byte{23, packet[0]}, from)
		must(t, err)
		if got, _, err = conn.ReadFrom(buffer); err != nil || got != 2 || buffer[1] != packet[0] {
			t.Fatalf("the answer to %v came back as %v, %v", packet, buffer[:got], err)
		}
	}
	must(t, conn.Close())
	for _, first := range []byte{1, 128} {
		if _, err := conn.(ice.AddrPortReaderWriter).WriteToAddrPort([]byte{first, 1}, to); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after Close a packet that begins with %d gave %v", first, err)
		}
	}
}
