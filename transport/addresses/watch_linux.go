package addresses

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Watch calls changed with the machine's addresses each time they are others than before, until ctx ends
// or changed fails. The kernel tells of them (rtnetlink(7)), so that nobody has to look.
func Watch(ctx context.Context, changed func([]netip.Addr) error) error {
	events, err := listen()
	if err != nil {
		return err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	known, err := Current()
	if err != nil {
		return err
	}
	for {
		if err := await(ctx, events); err != nil {
			return err
		}
		now, err := Current()
		if err != nil {
			return err
		}
		if slices.Equal(now, known) {
			continue
		}
		known = now
		if err := changed(slices.Clone(now)); err != nil {
			return err
		}
	}
}

func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch network addresses: %w", os.NewSyscallError("socket", err))
	}
	groups := uint32(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch network addresses: %w", os.NewSyscallError("bind", err)), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// await waits for an event and for what follows it. What an event says does not matter, nor whether some
// were lost: whoever is woken up looks for himself.
func await(ctx context.Context, events *os.File) error {
	buf := make([]byte, 8<<10)
	for settling := false; ; settling = true {
		if settling {
			_ = events.SetReadDeadline(time.Now().Add(settleTime))
		}
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return ctx.Err()
		}
		_, err := events.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case settling && errors.Is(err, os.ErrDeadlineExceeded):
			return events.SetReadDeadline(time.Time{})
		case err != nil && !errors.Is(err, unix.ENOBUFS):
			return fmt.Errorf("watch network addresses: %w", err)
		}
	}
}
