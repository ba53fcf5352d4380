package subject

// The floor of a paced stream: what no sender does without. It wakes up when a unit is due, and sends each
// viewer as many bytes in as many packets, by one segmented send. It seals nothing, keeps nothing, and hears
// nobody.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// bareOverhead is what RTP with its extensions and SRTP add to a payload.
const bareOverhead = 44

type bare struct {
	fd       int
	sinks    []unix.RawSockaddrInet4
	slices   int // of a picture; each is a packet
	bytes    []byte
	segments []byte // control message of a segmented send (udp(7), UDP_SEGMENT)
	group    actors.Group
	end      context.CancelFunc
}

func openBare(order Order, s *script) (master, error) {
	b := &bare{slices: s.Slices, bytes: make([]byte, len(s.key)+s.Slices*bareOverhead)}
	for _, address := range order.Sinks {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !a.Addr().Is4() {
			return nil, fmt.Errorf("open bare sender: %q is no IPv4 address with a port", address)
		}
		sink := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sink.Port))[:], a.Port())
		b.sinks = append(b.sinks, sink)
	}
	b.segments = make([]byte, unix.CmsgSpace(2))
	head := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b.segments)))
	head.Level, head.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	head.SetLen(unix.CmsgLen(2))
	var err error
	if b.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	life, end := context.WithCancel(context.Background())
	b.end = end
	b.group.Go("send", func() error {
		if err := s.Run(life, b.send); life.Err() == nil {
			return err
		}
		return nil
	})
	return b, nil
}

func (b *bare) send(unit *messages.AccessUnit) error {
	packets := 1
	if unit.Track == messages.Video {
		packets = b.slices
	}
	size := len(unit.Data)/packets + bareOverhead
	binary.NativeEndian.PutUint16(b.segments[unix.CmsgLen(0):], uint16(size))
	for i := range b.sinks {
		errno := b.sendOnce(packets*size, b.segments, &b.sinks[i])
		if errno == unix.EINVAL || errno == unix.EIO { // the kernel does not cut it up
			errno = b.sendEach(packets, size, &b.sinks[i])
		}
		if errno != 0 {
			return os.NewSyscallError("sendmsg", errno)
		}
	}
	return nil
}

func (b *bare) sendEach(packets, size int, to *unix.RawSockaddrInet4) unix.Errno {
	for range packets {
		if errno := b.sendOnce(size, nil, to); errno != 0 {
			return errno
		}
	}
	return 0
}

// sendOnce makes a call that the runtime does not know of, as the device's sockets do: one that it knows of
// wakes its monitor, which costs a quiet sender as much as the sends.
func (b *bare) sendOnce(size int, control []byte, to *unix.RawSockaddrInet4) unix.Errno {
	data := unix.Iovec{Base: unsafe.SliceData(b.bytes)}
	data.SetLen(size)
	head := unix.Msghdr{Name: (*byte)(unsafe.Pointer(to)), Namelen: unix.SizeofSockaddrInet4, Iov: &data, Control: unsafe.SliceData(control)}
	head.SetIovlen(1)
	head.SetControllen(len(control))
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&head)), unix.MSG_DONTWAIT)
	return errno
}

func (b *bare) streaming(context.Context) (int, error) { return len(b.sinks), nil }

func (b *bare) stop(context.Context) error {
	b.end()
	return errors.Join(b.group.Wait(), unix.Close(b.fd))
}
