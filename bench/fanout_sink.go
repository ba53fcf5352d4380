package bench

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/heliograph-rtc/heliograph/actors"
)

// sink is the viewer of a bare sender: a socket that is read.
type sink struct {
	conn     *net.UDPConn
	received atomic.Uint64
	reading  actors.Group
}

// openSinks returns those that could be opened, also with an error.
func openSinks(n int) (c crowd, addresses []string, err error) {
	for range n {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return c, addresses, fmt.Errorf("open sink: %w", err)
		}
		s := &sink{conn: conn}
		s.reading.Go("read", s.read)
		c, addresses = append(c, s), append(addresses, conn.LocalAddr().String())
	}
	return c, addresses, nil
}

func (s *sink) read() error {
	for b := make([]byte, packetBytesMax); ; {
		switch _, err := s.conn.Read(b); {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("read sink: %w", err)
		}
		s.received.Add(1)
	}
}

// counts has no numbers to tell a loss by.
func (s *sink) counts() (sent, received uint64) {
	n := s.received.Load()
	return n, n
}

// video cannot tell it from sound.
func (s *sink) video() uint64 { return s.received.Load() }

func (s *sink) leave() error { return errors.Join(s.conn.Close(), s.reading.Wait()) }
