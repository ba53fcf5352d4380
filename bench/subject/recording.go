package subject

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/pion/rtp"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media/recorder"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

func openRecording(kind string, lines *bufio.Scanner) (server, error) {
	order, err := readOrder(lines)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kind, err)
	}
	if kind == Recording {
		return openService(order.Dir)
	}
	return openRecorder(order)
}

// plainRecorder records streams of plain RTP as the service does those of storage sessions.
type plainRecorder struct {
	sockets []*net.UDPConn // two of each stream, by messages.Track
	running actors.Group
}

// PlainHz are the clocks of the tracks of plain RTP (RFC 6184 8.2.1, RFC 7587 4.1). Both begin at one time.
var PlainHz = [2]int64{messages.Video: 90_000, messages.Audio: 48_000}

const (
	plainBytesMax = 2048 // of a datagram
	plainBuffer   = 4 << 20
	plainQueue    = 4096
	plainPorts    = 2 // of a stream
)

func openRecorder(order Order) (server, error) {
	r := &plainRecorder{}
	for n := range order.Streams {
		packets := make(chan plainPacket, plainQueue)
		for _, track := range []messages.Track{messages.Video, messages.Audio} {
			socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				return nil, errors.Join(fmt.Errorf("open recorder: %w", err), r.stop())
			}
			_ = socket.SetReadBuffer(plainBuffer) // the kernel gives what it allows
			r.sockets = append(r.sockets, socket)
			r.running.Go("receive", func() error { return receive(socket, track, packets) })
		}
		dir := filepath.Join(order.Dir, fmt.Sprintf("stream-%02d", n))
		r.running.Go("record", func() error { return record(dir, packets) })
	}
	return r, nil
}

// plainPacket is a packet of a stream; nil: a socket of it was closed.
type plainPacket struct {
	track  messages.Track
	packet *rtp.Packet
	came   time.Time
}

func receive(socket *net.UDPConn, track messages.Track, packets chan<- plainPacket) error {
	defer func() { packets <- plainPacket{} }()
	buf := make([]byte, plainBytesMax)
	for {
		n, _, err := socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil // closed
		}
		p := &rtp.Packet{}
		if err := p.Unmarshal(append([]byte(nil), buf[:n]...)); err != nil {
			return fmt.Errorf("receive %s: %w", track, err)
		}
		packets <- plainPacket{track, p, time.Now()}
	}
}

// record takes the RTP times of both tracks for those of one clock that begins when the first packet comes.
func record(dir string, packets <-chan plainPacket) error {
	rec, err := recorder.Open(recorder.Config{Dir: dir})
	if err != nil {
		return err
	}
	var failed error
	assembler := rtc.NewAssembler(messages.H264, func(unit *messages.AccessUnit, gap bool) {
		if failed == nil {
			failed = rec.Write(unit, gap)
		}
	})
	var begins time.Time
	for open := plainPorts; open > 0; {
		p := <-packets
		if p.packet == nil {
			open--
			continue
		}
		since := time.Duration(int64(p.packet.Timestamp) * int64(time.Second) / PlainHz[p.track])
		if begins.IsZero() {
			begins = p.came.Add(-since)
		}
		assembler.Push(p.track, p.packet, begins.Add(since), p.came)
	}
	assembler.Flush()
	return errors.Join(failed, rec.Close())
}

func (r *plainRecorder) address() Address {
	var ports []int
	for _, s := range r.sockets {
		ports = append(ports, s.LocalAddr().(*net.UDPAddr).Port)
	}
	return Address{Ports: ports}
}

func (r *plainRecorder) stop() error {
	var err error
	for _, s := range r.sockets {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, r.running.Wait())
}
