package queue

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/heliograph-rtc/heliograph/actors"
)

// mqueue is a POSIX message queue, mq_overview(7), as the C reference uses one: ten messages, and what
// finds no room is dropped. The system calls are made directly, because there is no libc here.
type mqueue struct{ fd int }

// mqAttributes is struct mq_attr; its longs are as wide as int.
type mqAttributes struct {
	flags, messagesMax, messageBytes, messages int
	_                                          [4]int
}

const mqMessageBytes = 512

var mqNumber atomic.Int64 // makes names unique in this process

// openMqueue makes a queue of two descriptors, because O_NONBLOCK belongs to a descriptor: the
// receiver's waits, the senders' waits or does not.
func openMqueue(wait bool) func(int, *tray, []sender) (func() error, error) {
	return func(depth int, t *tray, senders []sender) (func() error, error) {
		name := fmt.Sprintf("heliograph-bench-%d-%d", os.Getpid(), mqNumber.Add(1))
		in, err := mqOpen(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, depth)
		if err != nil {
			return nil, err
		}
		flags := unix.O_WRONLY
		if !wait {
			flags |= unix.O_NONBLOCK
		}
		out, err := mqOpen(name, flags, depth)
		if err = errors.Join(err, mqUnlink(name)); err != nil { // nobody else needs the name
			return nil, errors.Join(err, unix.Close(in.fd))
		}
		var sending, receiving actors.Group
		receiving.Go("receive", func() error { return in.receive(t) })
		for _, s := range senders {
			sending.Go("send", func() error { return s.run(out.send) })
		}
		return func() error {
			err := sending.Wait()
			_, ended := in.send(&candidate{}) // the end; the queue is empty
			return errors.Join(err, ended, receiving.Wait(), unix.Close(in.fd), unix.Close(out.fd))
		}, nil
	}
}

// mqPath is a queue's name as the kernel takes it, which knows of no slash. There is one before it as in a C
// program, whose libc passes on what follows the slash: qemu-user looks for it there.
func mqPath(name string) (*byte, error) {
	path, err := unix.ByteSliceFromString("/" + name)
	if err != nil {
		return nil, err
	}
	return &path[1], nil
}

func mqOpen(name string, flags, depth int) (mqueue, error) {
	path, err := mqPath(name)
	if err != nil {
		return mqueue{}, err
	}
	a := mqAttributes{messagesMax: depth, messageBytes: mqMessageBytes}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(path)), uintptr(flags|unix.O_CLOEXEC), 0o600, uintptr(unsafe.Pointer(&a)), 0, 0)
	switch errno {
	case 0:
		return mqueue{int(fd)}, nil
	case unix.ENOSYS, unix.EACCES, unix.EPERM:
		return mqueue{}, fmt.Errorf("mq_open: %w: %w", ErrMissing, errno)
	}
	return mqueue{}, fmt.Errorf("mq_open: %w", errno)
}

func mqUnlink(name string) error {
	path, err := mqPath(name)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(path)), 0, 0); errno != 0 {
		return fmt.Errorf("mq_unlink: %w", errno)
	}
	return nil
}

// send tells whether there was room.
func (q mqueue) send(c *candidate) (bool, error) {
	b := append(make([]byte, 0, mqMessageBytes), c.payload...)
	for {
		_, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(q.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		switch errno {
		case 0:
			return true, nil
		case unix.EAGAIN:
			return false, nil
		case unix.EINTR: // the runtime's own signals
		default:
			return false, fmt.Errorf("mq_send: %w", errno)
		}
	}
}

// receive handles messages until an empty one comes.
func (q mqueue) receive(t *tray) error {
	b := make([]byte, mqMessageBytes)
	for {
		n, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(q.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return fmt.Errorf("mq_receive: %w", errno)
		case n == 0:
			return nil
		default:
			t.handle()
		}
	}
}
