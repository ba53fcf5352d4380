package rtc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
	"go.uber.org/zap"
)

// EngineConfig configures an Engine; the zero value serves a device on the open network.
type EngineConfig struct {
	IncludeLoopback bool            // gather candidates on 127.0.0.1 and ::1 as well
	ListenUDP       string          // shared UDP sockets for host candidates, host:port; default ":0"
	Interfaces      InterfaceFilter // where sockets are opened, unless ListenUDP names an address; none: everywhere
	TWCC            bool            // number outgoing packets for transport-wide congestion control
	DataChannel     bool            // accept data channels; otherwise each is closed when it opens

	RootCAs   *x509.CertPool                       // trusted by TURN over TLS; nil: the system's
	ConnectTo func(network, address string) string // where STUN and TURN servers are, as curl's --connect-to; nil: where they say

	// ConsentTimeout is how long a viewer may give no sign of life (RFC 7675 has 30 s at most) before it
	// is reported as gone; default 25 s. One is asked for every tenth of it, every 2 s at least.
	ConsentTimeout time.Duration

	Log *zap.Logger
}

const (
	// dtlsResendAfter is the first resend interval of a DTLS flight. RFC 6347 4.2.4.1 recommends
	// 1 s but allows less; one lost flight would cost a viewer that second.
	dtlsResendAfter = 150 * time.Millisecond

	keepAliveMost = 2 * time.Second

	// stunGatherMax bounds how long gathering waits for a STUN server that does not answer.
	stunGatherMax = 3 * time.Second

	// sctpMessageBytesMax is what the SCTP stack takes; a longer message closes its channel.
	sctpMessageBytesMax = 256 << 10
)

// Engine answers offers. Its methods may be called from any goroutine.
type Engine struct {
	cfg         EngineConfig
	log         *zap.Logger
	certificate webrtc.Certificate
	settings    webrtc.SettingEngine // copied for each peer
	media       *webrtc.MediaEngine
	watching    *interceptor.Registry // for a viewer that only receives
	talking     *interceptor.Registry // for one that sends
	out         *sending
	std         *stdnet.Net // with the interfaces of the start, which nobody asks it for: sockets knows the addresses
	sockets     *sockets
	names       names
	spares      spares
	peers       atomic.Int64 // open
}

// NewEngine makes the certificate and opens the shared sockets. Making the certificate takes
// seconds on weak boards, so do it at start.
func NewEngine(cfg EngineConfig) (*Engine, error) {
	if cfg.ConsentTimeout == 0 {
		cfg.ConsentTimeout = 25 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if err := cfg.Interfaces.Check(); err != nil {
		return nil, err
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate DTLS key: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("generate DTLS certificate: %w", err)
	}
	e := &Engine{cfg: cfg, log: cfg.Log, certificate: *certificate, out: newSending()}
	if err := e.register(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	if e.std, err = stdnet.NewNet(); err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	if e.sockets, err = openSockets(cfg, e.out); err != nil {
		return nil, fmt.Errorf("open ICE sockets: %w", err)
	}
	if err := e.configure(); err != nil {
		return nil, errors.Join(fmt.Errorf("configure WebRTC: %w", err), e.sockets.Close())
	}
	return e, nil
}

func (e *Engine) register() (err error) {
	if e.media, err = newMediaEngine(e.cfg.TWCC); err != nil {
		return err
	}
	if e.watching, err = newInterceptors(false); err != nil {
		return err
	}
	e.talking, err = newInterceptors(true)
	return err
}

// Sent counts what the shared sockets and the peers' sockets to TURN servers have sent.
func (e *Engine) Sent() Sent { return e.out.counts.read() }

// Peers is the number of peers that are open, a spare one included.
func (e *Engine) Peers() int { return int(e.peers.Load()) }

// configure sets what every peer connection shares (performance.md, "Setup latency" and point 6).
func (e *Engine) configure() error {
	s := &e.settings
	s.LoggerFactory = stackLog{e.log}
	s.SetICEUDPMux(e.sockets)
	s.SetIncludeLoopbackCandidate(e.cfg.IncludeLoopback)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled) // names.go
	fifth := e.cfg.ConsentTimeout / 5
	s.SetICETimeouts(fifth, 4*fifth, min(fifth/2, keepAliveMost))
	s.SetHostAcceptanceMinWait(0)
	s.SetSrflxAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	s.SetRelayAcceptanceMinWait(0)
	s.SetSTUNGatherTimeout(stunGatherMax)
	s.SetDTLSInsecureSkipHelloVerify(true)
	s.SetDTLSRetransmissionInterval(dtlsResendAfter)
	s.SetSCTPMaxMessageSize(sctpMessageBytesMax)
	// The DTLS server's order of SRTP profiles wins, so the device is the server: with the default
	// roles a browser takes AES128_CM_HMAC_SHA1_80, seven times dearer per packet than GCM.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
}

// Close closes the shared sockets. Close the peers first: they lose their network.
func (e *Engine) Close() error {
	e.names.close()
	if err := e.sockets.Close(); err != nil {
		return fmt.Errorf("close ICE sockets: %w", err)
	}
	return nil
}
