package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/pion/webrtc/v4"
	webrtcmedia "github.com/pion/webrtc/v4/pkg/media"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// storageViewer is a viewer of a storage session as an unmodified client is: it joins over REST and answers
// the service's offer (kvs-protocol.md 4.3), with a microphone.
type storageViewer struct {
	t        *testing.T
	s        *service.Service
	arn, id  string
	socket   *signaling.Client
	pc       *webrtc.PeerConnection
	pictures atomic.Int64
	group    actors.Group
	leaves   context.CancelFunc
}

// joinStorage returns when the viewer is connected and talks: opus, every 20 ms, until it leaves.
func joinStorage(t *testing.T, w *World, id string, opus []byte) *storageViewer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v := &storageViewer{t: t, s: w.Service, id: id, leaves: cancel}
	client := aws.NewClient(aws.ClientConfig{Region: v.s.Region, ControlPlane: v.s.PublicURL, HTTP: v.http()})
	channel, err := client.DescribeChannel(ctx, v.s.Credentials, storedChannel)
	if err != nil {
		t.Fatal(err)
	}
	v.arn = channel.ARN
	url, err := aws.PresignWebSocket(ctx, "wss"+strings.TrimPrefix(v.s.PublicURL, "https"), v.arn, id, v.s.Credentials, v.s.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if v.socket, err = signaling.Dial(ctx, url, signaling.DialOptions{TLS: &tls.Config{RootCAs: v.s.CA}}); err != nil {
		t.Fatal(err)
	}
	up := v.open(opus, ctx)
	t.Cleanup(v.leave)
	v.group.Go("signaling", func() error { return v.converse(ctx) })
	v.join(ctx)
	select {
	case <-up:
	case <-time.After(readyWithin):
		t.Fatal(id + " is not connected")
	}
	return v
}

func (v *storageViewer) http() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.s.CA}}
	v.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: readyWithin}
}

func (v *storageViewer) open(opus []byte, ctx context.Context) (up chan struct{}) {
	v.t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		v.t.Fatal(err)
	}
	microphone, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", v.id)
	if err == nil {
		_, err = pc.AddTrack(microphone)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	v.pc, up = pc, make(chan struct{}, 1)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			up <- struct{}{}
			v.group.Go("talk", func() error { return v.talk(ctx, microphone, opus) })
		}
	})
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			return
		}
		init := c.ToJSON()
		payload, _ := signaling.EncodeCandidate(messages.Candidate{Candidate: init.Candidate, SDPMid: init.SDPMid, SDPMLineIndex: init.SDPMLineIndex})
		_ = v.socket.Write(ctx, signaling.Outbound{Action: signaling.ICECandidate, Payload: payload})
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			if track.Kind() == webrtc.RTPCodecTypeVideo && packet.Marker {
				v.pictures.Add(1)
			}
		}
	})
	return up
}

func (v *storageViewer) talk(ctx context.Context, microphone *webrtc.TrackLocalStaticSample, opus []byte) error {
	ticks := time.NewTicker(opusFrame)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			_ = microphone.WriteSample(webrtcmedia.Sample{Data: opus, Duration: opusFrame})
		case <-ctx.Done():
			return nil
		}
	}
}

// join calls JoinStorageSessionAsViewer, signed.
func (v *storageViewer) join(ctx context.Context) {
	v.t.Helper()
	body := fmt.Sprintf(`{"channelArn":%q,"clientId":%q}`, v.arn, v.id)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.s.PublicURL+"/joinStorageSessionAsViewer", strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	c := v.s.Credentials
	err = v4.NewSigner().SignHTTP(ctx, sdkaws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey}, r, hex.EncodeToString(sum[:]), "kinesisvideo", v.s.Region, time.Now())
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.http().Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s may not join: %s", v.id, resp.Status)
	}
}

// converse answers the offer and takes candidates, those before it too.
func (v *storageViewer) converse(ctx context.Context) error {
	var early []webrtc.ICECandidateInit
	for {
		m, err := v.socket.Read(ctx)
		if err != nil {
			return nil // it has left
		}
		switch m.MessageType {
		case signaling.SDPOffer:
			if err := v.answer(ctx, m.Payload); err != nil {
				return err
			}
		case signaling.ICECandidate:
			c, err := signaling.DecodeCandidate(m.Payload)
			if err != nil {
				return err
			}
			early = append(early, webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMLineIndex: c.SDPMLineIndex})
		}
		for v.pc.RemoteDescription() != nil && len(early) > 0 {
			if err := v.pc.AddICECandidate(early[0]); err != nil {
				return err
			}
			early = early[1:]
		}
	}
}

func (v *storageViewer) answer(ctx context.Context, payload string) error {
	_, sdp, err := signaling.DecodeDescription(payload)
	if err != nil {
		return err
	}
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		return err
	}
	answer, err := v.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := v.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	text, err := signaling.EncodeDescription("answer", answer.SDP)
	if err != nil {
		return err
	}
	return v.socket.Write(ctx, signaling.Outbound{Action: signaling.SDPAnswer, Payload: text})
}

func (v *storageViewer) leave() {
	v.leaves()
	_ = v.socket.Close()
	_ = v.pc.GracefulClose()
	if err := v.group.Wait(); err != nil {
		v.t.Error(err)
	}
}

// What the viewers of a storage session say comes out of the device: one talks at a time, also while the
// device joins anew, and the next one when that one has left.
func TestStorageTwoWay(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "talk.ogg")
	sink, err := media.NewFileSink(path)
	if err != nil {
		t.Fatal(err)
	}
	w := storageWorld(t, nil, func(c *device.Config) { c.Sink, c.StorageLife = sink, 4500*time.Millisecond })
	said := map[string][]byte{"alice": append(bytes.Clone(tone[0]), "this is alice"...), "bob": append(bytes.Clone(tone[0]), "this is bob"...)}
	spoken := func(name string) int {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0
		}
		return bytes.Count(text, said[name])
	}
	alice := joinStorage(t, w, "alice", said["alice"])
	asks(t, readyWithin, func() error {
		if n := spoken("alice"); n < 50 {
			return fmt.Errorf("%d packets of alice's were played", n)
		}
		return nil
	})
	bob := joinStorage(t, w, "bob", said["bob"])
	before, err := w.Device.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asks(t, readyWithin, func() error {
		status, err := w.Device.Storage(t.Context())
		if err != nil || status.Rejoins == before.Rejoins || bob.pictures.Load() == 0 {
			return fmt.Errorf("%+v, bob sees %d pictures: %v", status, bob.pictures.Load(), err)
		}
		return nil
	})
	heard := spoken("alice")
	asks(t, readyWithin, func() error {
		if n := spoken("alice"); n < heard+50 {
			return fmt.Errorf("after the device has joined anew %d packets of alice's were played, %d before", n, heard)
		}
		return nil
	})
	if n := spoken("bob"); n > 0 {
		t.Errorf("%d packets of bob's were played while alice talked", n)
	}
	if files, err := filepath.Glob(filepath.Join(folder, "*.ogg")); err != nil || len(files) != 1 {
		t.Errorf("alice's talk was cut into %q: %v", files, err)
	}
	alice.leave()
	asks(t, readyWithin, func() error {
		if n := spoken("bob"); n < 50 || spoken("alice") > 0 {
			return fmt.Errorf("%d packets of bob's were played, %d of alice's", n, spoken("alice"))
		}
		return nil
	})
	bob.leave()
}
