package rtc

// One system call for a batch: a single message that the kernel, or the network card, cuts into
// segments (UDP_SEGMENT, udp(7)); where that is refused, one message for each packet (sendmmsg(2)).
//
// The calls are raw, without the runtime's knowledge, because none of them waits: each other one wakes
// up the runtime's monitor thread, which then looks every 20 us whether it takes too long. On a quiet
// device that was a sixth of all CPU time.

import (
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offloadAgain is how long plain sends are used after a segmented one was refused: by a card without
// checksum offload (EIO), or by a path whose MTU is below the segment (EINVAL), which may change.
const offloadAgain = 10 * time.Second

// sending is what the sockets of one Engine share.
type sending struct {
	batches  *batches
	hearers  *hearers
	counts   sendCounts
	offload  atomic.Int64                                  // Unix time in ns from which on segmented sends are tried; 0: they are
	sendmmsg func(fd int, messages []message) (int, error) // a test puts a failing one here
}

func newSending() *sending {
	return &sending{batches: newBatches(), hearers: newHearers(), sendmmsg: sendmmsg}
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	sent   uint32
}

// sendCall is the memory that the kernel reads during a send.
type sendCall struct {
	messages [segmentsMax]message
	vectors  [segmentsMax]unix.Iovec
	address  rawAddress
	control  [32]byte // one control message with a uint16, aligned by the struct around it
}

var controlBytes = unix.CmsgSpace(2)

// send brings the arena's packets out. What the kernel does not take now is lost and counted.
func (a *arena) send(fd, segment int, to netip.AddrPort, out *sending) {
	count := (a.used + segment - 1) / segment
	if count > 1 && out.offloads() {
		messages := a.call.one(a.buf[:a.used], segment, to)
		if _, err := out.sendmmsg(fd, messages); !refusesSegments(err) {
			out.count(1, count, err)
			return
		}
		out.counts.refused.Add(1)
		out.offload.Store(time.Now().Add(offloadAgain).UnixNano())
	}
	for messages := a.call.each(a.buf[:a.used], segment, to); len(messages) > 0; {
		n, err := out.sendmmsg(fd, messages)
		if err != nil {
			n = 1 // the first of them is the one that failed
		}
		out.count(1, n, err)
		messages = messages[n:]
	}
}

func (s *sending) offloads() bool {
	from := s.offload.Load()
	return from == 0 || time.Now().UnixNano() >= from
}

func refusesSegments(err error) bool {
	return err == unix.EIO || err == unix.EINVAL || err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT
}

func (s *sending) count(calls, packets int, err error) {
	s.counts.calls.Add(uint64(calls))
	s.counts.packets.Add(uint64(packets))
	if err != nil {
		s.counts.lost.Add(uint64(packets))
	}
}

// one makes the single message that is cut into segments.
func (c *sendCall) one(b []byte, segment int, to netip.AddrPort) []message {
	h := c.message(0, b, to)
	m := (*unix.Cmsghdr)(unsafe.Pointer(&c.control[0]))
	m.Level, m.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	m.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&c.control[unix.CmsgLen(0)])) = uint16(segment)
	h.Control = &c.control[0]
	h.SetControllen(controlBytes)
	return c.messages[:1]
}

// each makes a message for every packet.
func (c *sendCall) each(b []byte, segment int, to netip.AddrPort) []message {
	n := 0
	for ; len(b) > 0; n++ {
		packet := b[:min(segment, len(b))]
		c.message(n, packet, to)
		b = b[len(packet):]
	}
	return c.messages[:n]
}

func (c *sendCall) message(i int, b []byte, to netip.AddrPort) *unix.Msghdr {
	c.messages[i] = message{}
	c.vectors[i].Base = &b[0]
	c.vectors[i].SetLen(len(b))
	h := &c.messages[i].header
	h.Iov = &c.vectors[i]
	h.SetIovlen(1)
	h.Name = (*byte)(unsafe.Pointer(&c.address))
	h.Namelen = c.address.set(to)
	return h
}

// sendmmsg sends until all are sent or one fails; then it says how many were sent before, if any.
func sendmmsg(fd int, messages []message) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])),
			uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		runtime.KeepAlive(messages)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
