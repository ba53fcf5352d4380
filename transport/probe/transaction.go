// Package probe asks STUN and TURN servers what they would do for this machine, for those who want to
// know why a viewer cannot connect. It makes no peer connection and leaves nothing behind: an allocation
// that it gets is freed at once.
package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pion/stun/v3"
)

const (
	// againAfter is the first interval of repetition over UDP; it doubles (RFC 8489 6.2.1).
	againAfter = 250 * time.Millisecond

	// messageBytesMax bounds what is read of an answer; a STUN message of a server is some hundred bytes.
	messageBytesMax = 2048

	headerBytes = 20
)

// Refusal is an error response (RFC 8489 14.8).
type Refusal struct {
	Code   int
	Reason string
}

// Error returns code and reason.
func (r *Refusal) Error() string { return fmt.Sprintf("the server answered %d %s", r.Code, r.Reason) }

// caller makes requests of one server over one transport.
type caller interface {
	// call returns the response to a request: it fails only when there is none.
	call(ctx context.Context, request *stun.Message) (*stun.Message, error)
}

// result returns a response, or the refusal that it is.
func result(response *stun.Message) (*stun.Message, error) {
	if response.Type.Class != stun.ClassErrorResponse {
		return response, nil
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(response); err != nil {
		return nil, fmt.Errorf("read error response: %w", err)
	}
	return nil, &Refusal{int(code.Code), string(code.Reason)}
}

// errSilent says that nobody answered within the time that there was.
var errSilent = errors.New("no answer came")

// datagrams asks over a UDP socket, again and again until ctx ends, which has a deadline.
type datagrams struct {
	socket *net.UDPConn
	server netip.AddrPort
}

func (d datagrams) call(ctx context.Context, request *stun.Message) (*stun.Message, error) {
	stop := context.AfterFunc(ctx, func() { _ = d.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for again := againAfter; ctx.Err() == nil; again *= 2 {
		if _, err := d.socket.WriteToUDPAddrPort(request.Raw, d.server); err != nil {
			return nil, err
		}
		response, err := d.await(request, time.Now().Add(again))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return response, err
		}
	}
	return nil, errSilent
}

// await reads until the response is there. What others send to the socket is passed over.
func (d datagrams) await(request *stun.Message, until time.Time) (*stun.Message, error) {
	if err := d.socket.SetReadDeadline(until); err != nil {
		return nil, err
	}
	buf := make([]byte, messageBytesMax)
	for {
		n, from, err := d.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil, err
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != d.server {
			continue
		}
		if response := responseTo(request, buf[:n]); response != nil {
			return response, nil
		}
	}
}

// responseTo decodes what came; nil: it is no answer to the request.
func responseTo(request *stun.Message, packet []byte) *stun.Message {
	response := &stun.Message{Raw: append([]byte(nil), packet...)}
	if !stun.IsMessage(packet) || response.Decode() != nil || response.TransactionID != request.TransactionID {
		return nil
	}
	return response
}

// stream asks over TCP or TLS, once: the transport repeats by itself.
type stream struct{ net.Conn }

func (s stream) call(ctx context.Context, request *stun.Message) (*stun.Message, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := s.Write(request.Raw); err != nil {
		return nil, err
	}
	for {
		packet := make([]byte, headerBytes, messageBytesMax)
		if _, err := io.ReadFull(s, packet); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		length := int(binary.BigEndian.Uint16(packet[2:4]))
		if !stun.IsMessage(packet) || headerBytes+length > messageBytesMax {
			return nil, errors.New("what came is no STUN message: something else listens there")
		}
		packet = packet[:headerBytes+length]
		if _, err := io.ReadFull(s, packet[headerBytes:]); err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if response := responseTo(request, packet); response != nil {
			return response, nil
		}
	}
}
