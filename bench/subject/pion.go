package subject

// The baseline of the device: the least of a KVS master, on pion's defaults. In order of execution:
// create the channel and connect to it -> a goroutine reads signaling; an offer becomes a peer
// connection with two TrackLocalStaticSample -> a goroutine takes units from the script and writes
// each as a sample to every track, as pion's examples do.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const (
	streamID       = "pion"
	reportBytesMax = 1500
)

// baseline is a master on pion's defaults.
type baseline struct {
	api    *webrtc.API
	client *signaling.Client
	group  actors.Group
	life   context.Context
	end    context.CancelFunc

	mu      sync.Mutex // the reader adds, the writer walks
	viewers []*audience
	peers   map[string]*webrtc.PeerConnection // by client id; the reader's
}

// audience is a viewer as the writer sees it.
type audience struct {
	peer   *webrtc.PeerConnection
	tracks [2]*webrtc.TrackLocalStaticSample // by messages.Track
}

func openPion(ctx context.Context, order Order, s *script, sha1 bool) (master, error) {
	b := &baseline{peers: map[string]*webrtc.PeerConnection{}}
	var err error
	if b.api, err = pionDefaults(sha1); err != nil {
		return nil, err
	}
	if b.client, err = order.connect(ctx); err != nil {
		return nil, err
	}
	b.life, b.end = context.WithCancel(context.Background())
	b.group.Go("read signaling", b.read)
	b.group.Go("write samples", func() error {
		if err := s.Run(b.life, b.write); b.life.Err() == nil {
			return err
		}
		return nil
	})
	return b, nil
}

// pionDefaults is what webrtc.NewPeerConnection uses, and loopback candidates alone. With sha1 the
// SRTP profile is the one that a browser ends up with there.
func pionDefaults(sha1 bool) (*webrtc.API, error) {
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	var interceptors interceptor.Registry
	if err := webrtc.RegisterDefaultInterceptors(&m, &interceptors); err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(net.IP.IsLoopback)
	if sha1 {
		s.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptors), webrtc.WithSettingEngine(s)), nil
}

// connect creates the channel and opens the master's websocket.
func (o *Order) connect(ctx context.Context) (*signaling.Client, error) {
	roots, err := o.roots()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	calls := aws.NewClient(aws.ClientConfig{
		Region: o.Region, ControlPlane: o.ControlPlane, HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
	})
	defer calls.CloseIdle()
	arn, err := calls.CreateChannel(ctx, o.Credentials, o.Channel)
	if err != nil {
		return nil, err
	}
	endpoints, err := calls.Endpoints(ctx, o.Credentials, arn, string(signaling.Master), "WSS", "HTTPS")
	if err != nil {
		return nil, err
	}
	url, err := aws.PresignWebSocket(ctx, endpoints["WSS"], arn, "", o.Credentials, o.Region, time.Now())
	if err != nil {
		return nil, err
	}
	return signaling.Dial(ctx, url, signaling.DialOptions{TLS: config})
}

// read serves the channel. What one viewer cannot use ends the whole: the figures would be wrong.
func (b *baseline) read() error {
	for {
		in, err := b.client.Read(b.life)
		if err == nil {
			err = b.take(in)
		}
		if b.life.Err() != nil {
			return nil
		}
		if err != nil {
			b.end()
			return fmt.Errorf("serve channel: %w", err)
		}
	}
}

func (b *baseline) take(in signaling.Inbound) error {
	switch in.MessageType {
	case signaling.SDPOffer:
		return b.onOffer(in)
	case signaling.ICECandidate:
		return b.onCandidate(in)
	}
	return nil
}

// onOffer answers with all candidates, which on loopback are there at once.
func (b *baseline) onOffer(in signaling.Inbound) error {
	_, sdp, err := signaling.DecodeDescription(in.Payload)
	if err != nil {
		return err
	}
	v, err := b.admit()
	if err != nil {
		return err
	}
	b.peers[in.SenderClientID] = v.peer
	if v.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}) != nil {
		return errors.New("apply offer: pion does not take it")
	}
	answer, err := v.peer.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(v.peer)
	if err := v.peer.SetLocalDescription(answer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-b.life.Done():
		return b.life.Err()
	}
	payload, err := signaling.EncodeDescription("answer", v.peer.LocalDescription().SDP)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.viewers = append(b.viewers, v)
	b.mu.Unlock()
	return b.client.Write(b.life, signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: in.SenderClientID, Payload: payload})
}

// admit opens a viewer's peer connection with both tracks.
func (b *baseline) admit() (*audience, error) {
	peer, err := b.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	v := &audience{peer: peer}
	err = errors.Join(b.addTrack(v, messages.Video, webrtc.MimeTypeH264), b.addTrack(v, messages.Audio, webrtc.MimeTypeOpus))
	if err != nil {
		return nil, errors.Join(err, peer.Close())
	}
	return v, nil
}

func (b *baseline) addTrack(v *audience, track messages.Track, mime string) (err error) {
	v.tracks[track], err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, track.String(), streamID)
	if err != nil {
		return err
	}
	out, err := v.peer.AddTrack(v.tracks[track])
	if err != nil {
		return err
	}
	b.group.Go("read reports", func() error { // which is what answers NACKs
		buf := make([]byte, reportBytesMax)
		for {
			if _, _, err := out.Read(buf); err != nil {
				return nil // closed
			}
		}
	})
	return nil
}

func (b *baseline) onCandidate(in signaling.Inbound) error {
	peer := b.peers[in.SenderClientID]
	if peer == nil {
		return errors.New("a candidate came before its offer")
	}
	c, err := signaling.DecodeCandidate(in.Payload)
	if err != nil {
		return err
	}
	return peer.AddICECandidate(webrtc.ICECandidateInit{
		Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
	})
}

// write gives a unit to every viewer.
func (b *baseline) write(unit *messages.AccessUnit) error {
	b.mu.Lock()
	viewers := b.viewers
	b.mu.Unlock()
	for _, v := range viewers {
		if err := v.tracks[unit.Track].WriteSample(media.Sample{Data: unit.Data, Duration: unit.Duration}); err != nil {
			return fmt.Errorf("write sample: %w", err)
		}
	}
	return nil
}

func (b *baseline) streaming(context.Context) (viewers int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.viewers {
		if v.peer.ConnectionState() == webrtc.PeerConnectionStateConnected {
			viewers++
		}
	}
	return viewers, nil
}

func (b *baseline) stop(context.Context) error {
	b.end()
	err := b.client.Close()
	b.mu.Lock()
	viewers := b.viewers
	b.mu.Unlock()
	for _, v := range viewers {
		err = errors.Join(err, v.peer.Close())
	}
	return errors.Join(err, b.group.Wait())
}
