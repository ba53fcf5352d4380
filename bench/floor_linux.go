package bench

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heliograph-rtc/heliograph/actors"
)

// sendTime is a packet's share of a segmented send over loopback, in this thread's CPU time: what the
// receiver uses is not in it. 0: the kernel has no UDP_SEGMENT.
func sendTime() (_ time.Duration, err error) {
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, fmt.Errorf("measure floor: %w", err)
	}
	if err := takeWhole(sink); err != nil {
		return 0, errors.Join(err, sink.Close())
	}
	var reading actors.Group
	reading.Go("read", func() error {
		for b := make([]byte, floorSegments*floorBytes); ; {
			if _, err := sink.Read(b); errors.Is(err, net.ErrClosed) {
				return nil
			}
		}
	})
	defer func() { err = errors.Join(err, sink.Close(), reading.Wait()) }()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("measure floor: %w", err)
	}
	defer unix.Close(fd)
	if unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, floorBytes) != nil {
		return 0, nil
	}
	to := &unix.SockaddrInet4{Port: sink.LocalAddr().(*net.UDPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	batch, sends := make([]byte, floorSegments*floorBytes), 0
	for from := time.Now(); time.Since(from) < floorSpan; sends++ {
		if unix.Sendto(fd, batch, 0, to) != nil {
			return 0, nil
		}
	}
	after, err := threadTime()
	return (after - before) / time.Duration(sends*floorSegments), err
}

// takeWhole lets a receiver take a segmented send as it is (UDP_GRO): taking it apart is the network
// card's work, or the receiver's, but over loopback the sender would be charged for it.
func takeWhole(sink *net.UDPConn) error {
	raw, err := sink.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
	}
	if err != nil {
		return fmt.Errorf("measure floor: %w", err)
	}
	return nil
}

func threadTime() (time.Duration, error) {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		return 0, fmt.Errorf("read thread's CPU time: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}
