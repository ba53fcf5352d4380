package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/pion/rtp"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// storageRun is one measurement.
type storageRun struct {
	storagePlan
	clip     []byte
	dir      string // for what is recorded
	profiles string // directory for the service's profiles; empty: none
}

// storageCost is what was used and written in a span, and what is in the files at the end.
type storageCost struct {
	span  time.Duration
	cpu   time.Duration
	bytes int64
	files probedFiles
}

func (c storageCost) String() string {
	return fmt.Sprintf("%v of CPU and %.1f MB in %v, %d of %d files valid", c.cpu, float64(c.bytes)/1e6, c.span.Round(time.Millisecond), c.files.valid, c.files.all)
}

// stored is what records; cpu tells what that has used so far.
type stored struct {
	cpu  func() (time.Duration, error)
	stop func() error // files are whole afterwards; nil: nothing runs
}

func (s storageRun) measure(ctx context.Context, variant string, round int) (cost storageCost, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return cost, err
	}
	start := map[string]func(context.Context, int) (stored, error){
		subject.Recording: s.service, subject.Recorder: s.recorder, variantFFmpeg: s.ffmpeg,
	}[variant]
	running, err := start(ctx, round)
	if err == nil {
		cost, err = s.over(ctx, running)
	}
	if running.stop != nil {
		err = errors.Join(err, running.stop())
	}
	if err != nil {
		return cost, err
	}
	if cost.files, err = probeFiles(ctx, s.dir); err != nil {
		return cost, err
	}
	return cost, os.RemoveAll(s.dir)
}

// over measures a span once every stream has been written to.
func (s storageRun) over(ctx context.Context, running stored) (cost storageCost, err error) {
	waiting, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for {
		files, _, err := s.written()
		if err != nil {
			return cost, err
		}
		if files >= s.streams {
			break
		}
		if !pause(waiting, readyEvery) {
			return cost, fmt.Errorf("%d of %d streams are recorded: %w", files, s.streams, waiting.Err())
		}
	}
	if !pause(ctx, s.warm) {
		return cost, ctx.Err()
	}
	began := time.Now()
	used, err := running.cpu()
	if err != nil {
		return cost, err
	}
	_, bytes, err := s.written()
	if err != nil || !pause(ctx, s.span) {
		return cost, errors.Join(err, ctx.Err())
	}
	usedAfter, err := running.cpu()
	if err != nil {
		return cost, err
	}
	_, bytesAfter, err := s.written()
	return storageCost{span: time.Since(began), cpu: usedAfter - used, bytes: bytesAfter - bytes}, err
}

// written counts the files that have something in them, and all bytes.
func (s storageRun) written() (files int, bytes int64, err error) {
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".mkv" {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			files, bytes = files+1, bytes+info.Size()
		}
		return err
	})
	return files, bytes, err
}

// service lets devices of this process store by the service in another one.
func (s storageRun) service(ctx context.Context, round int) (_ stored, err error) {
	served, err := subject.StartRecording(ctx, subject.Recording, s.dir, 0, profiles.Target{Dir: s.profiles, Name: fmt.Sprintf("storage-%d", round)})
	if err != nil {
		return stored{}, err
	}
	var devices []*device.Device
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		var err error
		for _, d := range devices {
			err = errors.Join(err, d.Stop(ctx))
		}
		return errors.Join(err, served.Stop())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(served.Address.CA)
	control := strings.Replace(served.Address.URL, "wss:", "https:", 1)
	login := served.Address.Credentials
	for n := range s.streams {
		name := fmt.Sprintf("stored-%d", n)
		if err := mapStorage(ctx, control, served.Address.Region, login, roots, name); err != nil {
			return stored{}, err
		}
		source, err := media.SampleWith(s.clip)
		if err != nil {
			return stored{}, err
		}
		d, err := device.Start(device.Config{
			Channel: fmt.Sprintf("live-%d", n), StorageChannel: name, Region: served.Address.Region, ControlPlane: control, RootCAs: roots,
			Credentials: aws.Static(login.AccessKeyID, login.SecretAccessKey, login.SessionToken), Source: source,
			ListenUDP: freeLoopback, IncludeLoopback: true, NoPacing: true,
		})
		if err != nil {
			return stored{}, err
		}
		devices = append(devices, d)
	}
	return stored{stop: stop, cpu: func() (time.Duration, error) { c, err := served.Cost(); return c.CPU, err }}, nil
}

// mapStorage makes a channel, a stream of the same name, and the one store into the other.
func mapStorage(ctx context.Context, control, region string, login messages.Credentials, roots *x509.CertPool, name string) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	sdk := kinesisvideo.New(kinesisvideo.Options{
		Region: region, BaseEndpoint: &control, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(login.AccessKeyID, login.SecretAccessKey, login.SessionToken),
	})
	channel, err := sdk.CreateSignalingChannel(ctx, &kinesisvideo.CreateSignalingChannelInput{ChannelName: &name})
	if err != nil {
		return err
	}
	stream, err := sdk.CreateStream(ctx, &kinesisvideo.CreateStreamInput{StreamName: &name, DataRetentionInHours: sdkaws.Int32(1)})
	if err != nil {
		return err
	}
	_, err = sdk.UpdateMediaStorageConfiguration(ctx, &kinesisvideo.UpdateMediaStorageConfigurationInput{
		ChannelARN: channel.ChannelARN,
		MediaStorageConfiguration: &types.MediaStorageConfiguration{
			Status: types.MediaStorageConfigurationStatusEnabled, StreamARN: stream.StreamARN,
		},
	})
	return err
}

// recorder sends plain RTP to our recorder.
func (s storageRun) recorder(ctx context.Context, round int) (stored, error) {
	records, err := subject.StartRecording(ctx, subject.Recorder, s.dir, s.streams, profiles.Target{Dir: s.profiles, Name: fmt.Sprintf("recorder-%d", round)})
	if err != nil {
		return stored{}, err
	}
	end, err := s.send(ctx, records.Address.Ports)
	return stored{
		cpu:  func() (time.Duration, error) { c, err := records.Cost(); return c.CPU, err },
		stop: func() error { return errors.Join(end(), records.Stop()) },
	}, err
}

// ffmpeg sends it to one ffmpeg for each stream.
func (s storageRun) ffmpeg(ctx context.Context, _ int) (stored, error) {
	ports, err := freePorts(2 * s.streams)
	if err != nil {
		return stored{}, err
	}
	var programs []*exec.Cmd
	quit := func() error {
		var err error
		for _, p := range programs {
			err = errors.Join(err, p.Process.Signal(os.Interrupt)) // it finishes its file
		}
		for _, p := range programs {
			if failed := p.Wait(); p.ProcessState.ExitCode() != ffmpegInterrupted {
				err = errors.Join(err, failed)
			}
		}
		return err
	}
	for n := range s.streams {
		sdp := filepath.Join(s.dir, fmt.Sprintf("%d.sdp", n))
		if err := os.WriteFile(sdp, fmt.Appendf(nil, plainSDP, ports[2*n], ports[2*n+1]), 0o644); err != nil {
			return stored{}, errors.Join(err, quit())
		}
		p := exec.CommandContext(ctx, "ffmpeg", "-v", "fatal", "-nostdin", "-protocol_whitelist", "file,udp,rtp", "-buffer_size", "4194304", "-i", sdp,
			"-c", "copy", "-f", "segment", "-segment_time", "30", "-segment_format", "matroska", filepath.Join(s.dir, fmt.Sprintf("%d-%%03d.mkv", n)))
		p.Stderr = os.Stderr
		if err := p.Start(); err != nil {
			return stored{}, errors.Join(err, quit())
		}
		programs = append(programs, p)
	}
	end, err := s.send(ctx, ports)
	return stored{
		cpu: func() (sum time.Duration, err error) {
			for _, p := range programs {
				used, failed := processCPU(p.Process.Pid)
				sum, err = sum+used, errors.Join(err, failed)
			}
			return sum, err
		},
		stop: func() error { return errors.Join(quit(), end()) }, // while packets come, or it waits for one
	}, err
}

// ffmpegInterrupted is how ffmpeg ends after an interrupt.
const ffmpegInterrupted = 255

// plainSDP says what comes at the ports of a stream (RFC 8866, RFC 6184 8.2, RFC 7587 7).
const plainSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
	"m=video %d RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n" +
	"m=audio %d RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n"

var loopback = net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}

// freePorts are UDP ports that nobody has at the moment, even ones: ffmpeg takes the next for RTCP.
func freePorts(count int) (ports []int, err error) {
	var held []*net.UDPConn
	defer func() {
		for _, c := range held {
			err = errors.Join(err, c.Close())
		}
	}()
	for len(ports) < count {
		c, err := net.ListenUDP("udp4", &loopback)
		if err != nil {
			return nil, err
		}
		held = append(held, c)
		if port := c.LocalAddr().(*net.UDPAddr).Port; port%2 == 0 {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// send plays the clip to all ports, two for each stream, until end is called; also after an error.
func (s storageRun) send(ctx context.Context, ports []int) (end func() error, err error) {
	source, err := media.SampleWith(s.clip)
	var socket *net.UDPConn
	if err == nil {
		socket, err = net.ListenUDP("udp4", &loopback)
	}
	if err != nil {
		return func() error { return nil }, err
	}
	playing, stop := context.WithCancel(ctx)
	sender := plainSender{socket: socket, ports: ports, packetizer: rtc.NewPacketizer(0)}
	var group actors.Group
	group.Go("send RTP", func() error {
		if err := source.Run(playing, sender.emit); playing.Err() == nil {
			return err
		}
		return nil
	})
	return func() error { stop(); return errors.Join(group.Wait(), socket.Close()) }, nil
}

// plainSender sends units as RTP, the same packets to every stream's ports.
type plainSender struct {
	socket     *net.UDPConn
	ports      []int
	packetizer *rtc.Packetizer
	sequence   [2]uint16
	buf        []byte
}

func (s *plainSender) emit(unit *messages.AccessUnit) error {
	frame, err := s.packetizer.Frame(unit)
	if err != nil {
		return err
	}
	for i, payload := range frame.Payloads {
		header := rtp.Header{
			Version: 2, PayloadType: 96 + uint8(unit.Track), SSRC: 1 + uint32(unit.Track), SequenceNumber: s.sequence[unit.Track],
			Timestamp: uint32(math.Round(unit.PTS.Seconds() * float64(subject.PlainHz[unit.Track]))), Marker: unit.Track == messages.Video && i == len(frame.Payloads)-1,
		}
		s.sequence[unit.Track]++
		head, err := header.Marshal()
		if err != nil {
			return err
		}
		s.buf = append(append(s.buf[:0], head...), payload...)
		for stream := 0; stream < len(s.ports); stream += 2 {
			to := &net.UDPAddr{IP: loopback.IP, Port: s.ports[stream+int(unit.Track)]}
			_, _ = s.socket.WriteToUDP(s.buf, to) // refused while ffmpeg is not there yet
		}
	}
	return nil
}
