package playback

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	testFPS   = 30
	frameTick = videoClockHz / testFPS
	frameTime = time.Second / testFPS
)

var (
	zero = time.Unix(1_700_000_000, 0)
	sps  = []byte{0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 1, 2, 3}
	pps  = []byte{0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80}
)

// stream packetises pictures as pion does for a browser.
type stream struct {
	payloader codecs.H264Payloader
	seq       uint16
	time      uint32
}

func (s *stream) picture(key bool, size int) []Packet {
	unit := append([]byte{0, 0, 0, 1, 0x41}, bytes.Repeat([]byte{0xab}, size)...)
	if key {
		unit[4] = 0x65
		unit = append(append(append([]byte{}, sps...), pps...), unit...)
	}
	payloads := s.payloader.Payload(1200, unit)
	var out []Packet
	for i, p := range payloads {
		packet := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: s.time, Marker: i == len(payloads)-1},
			Payload: p,
		}
		out = append(out, NewPacket(&packet, packet.MarshalSize(), 0, H264))
		s.seq++
	}
	s.time += frameTick
	return out
}

// watcher feeds packets to an account at the times of a live stream.
type watcher struct {
	video  *Video
	now    time.Time
	wishes int
}

func newWatcher() *watcher { return &watcher{video: NewVideo(), now: zero} }

func (w *watcher) see(packets ...Packet) {
	for _, a := range packets {
		if w.video.Push(w.now, a) {
			w.wishes++
		}
	}
}

// play lets a picture time pass after each picture.
func (w *watcher) play(pictures ...[]Packet) {
	for _, p := range pictures {
		w.see(p...)
		w.now = w.now.Add(frameTime)
	}
}

func (w *watcher) expect(t *testing.T, pictures, lost uint64) {
	t.Helper()
	if w.video.Pictures != pictures || w.video.Lost() != lost {
		t.Errorf("%d pictures, %d lost; want %d and %d", w.video.Pictures, w.video.Lost(), pictures, lost)
	}
}

func TestEveryPictureCounts(t *testing.T) {
	s, w := &stream{seq: 65_530}, newWatcher() // sequence numbers wrap at once
	for i := range 90 {
		w.play(s.picture(i%30 == 0, 3000))
	}
	w.expect(t, 90, 0)
	if w.video.KeyFrames != 3 || w.video.Freezes != 0 || w.wishes != 0 || w.video.order.late != 0 {
		t.Errorf("%+v", w.video)
	}
	if fps, source := w.video.FPS(), w.video.SourceFPS(); fps < 29.99 || fps > 30.01 || source < 29.9 || source > 30.1 {
		t.Errorf("%v fps of %v", fps, source)
	}
	if !w.video.FirstKey.Equal(zero) {
		t.Errorf("first key frame after %v", w.video.FirstKey.Sub(zero))
	}
}

func TestTimestampWrapsToo(t *testing.T) {
	s, w := &stream{time: 1<<32 - 10*frameTick}, newWatcher()
	for i := range 60 {
		w.play(s.picture(i == 0, 100))
	}
	w.expect(t, 60, 0)
	if source := w.video.SourceFPS(); source < 29.9 || source > 30.1 {
		t.Errorf("source makes %v fps", source)
	}
}

func TestReorderedPacketsFindTheirPlace(t *testing.T) {
	s, w := &stream{seq: 65_533}, newWatcher()
	key, p1, p2 := s.picture(true, 5000), s.picture(false, 5000), s.picture(false, 5000)
	for i := len(key) - 1; i >= 0; i-- { // the very first packets come backwards
		w.see(key[i])
	}
	w.see(p2...)
	w.expect(t, 1, 0)
	w.see(p1...)
	w.expect(t, 3, 0)
	w.see(p1[0], key[0]) // and twice
	w.expect(t, 3, 0)
	if w.video.order.late != 2 {
		t.Errorf("%d late", w.video.order.late)
	}
}

func TestRetransmissionFillsTheGap(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 5000))
	torn := s.picture(false, 5000)
	w.see(torn[0], torn[2])
	w.now = w.now.Add(100 * time.Millisecond)
	w.see(torn[3:]...)
	w.play(s.picture(false, 100))
	w.expect(t, 1, 0)
	if missed, filled := w.video.Gaps(); missed != 1 || filled != 0 {
		t.Errorf("%d packets missed, %d came late", missed, filled)
	}
	w.see(torn[1], torn[1])
	w.expect(t, 3, 0)
	if missed, filled := w.video.Gaps(); missed != 1 || filled != 1 {
		t.Errorf("%d packets missed, %d came late", missed, filled)
	}
	if w.wishes != 0 {
		t.Errorf("%d key frame wishes", w.wishes)
	}
}

func TestLossBreaksTheChainUntilTheNextKeyFrame(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 5000), s.picture(false, 5000))
	w.play(s.picture(false, 5000)[1:]) // the first packet never comes
	for range 40 {                     // more than a second: the gap is given up
		w.play(s.picture(false, 2000))
	}
	w.expect(t, 2, 1)
	if w.wishes == 0 {
		t.Error("nobody asked for a key frame")
	}
	w.play(s.picture(true, 5000), s.picture(false, 5000))
	w.expect(t, 4, 1)
	if w.video.Freezes != 1 || w.video.Frozen < time.Second {
		t.Errorf("%d freezes, %v", w.video.Freezes, w.video.Frozen)
	}
}

// A burst of losses is one second of waiting, not one for each gap in it.
func TestGapsAreGivenUpTogether(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 5000))
	for range 20 { // of each of them the second packet is lost
		torn := s.picture(false, 5000)
		w.play(append(torn[:1:1], torn[2:]...))
	}
	for range 40 {
		w.play(s.picture(false, 2000))
	}
	w.expect(t, 1, 20)
	w.play(s.picture(true, 5000), s.picture(false, 5000))
	w.expect(t, 3, 20)
}

// A decoder needs nothing before a key frame: it does not wait for what is missing there.
func TestKeyFrameEndsTheWait(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 5000))
	w.play(s.picture(false, 5000)[1:])
	w.play(s.picture(false, 5000), s.picture(false, 5000), s.picture(true, 5000))
	w.expect(t, 1, 0)
	w.play(s.picture(false, 100))
	w.expect(t, 3, 1)
	if w.video.Freezes != 0 {
		t.Errorf("%d freezes", w.video.Freezes)
	}
}

func TestLostEndOfAPictureDoesNotSpoilTheNextKeyFrame(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 5000))
	torn := s.picture(false, 5000)
	w.play(torn[:len(torn)-1]) // marker lost
	w.play(s.picture(true, 5000))
	w.now = w.now.Add(2 * time.Second)
	w.play(s.picture(false, 100))
	w.expect(t, 3, 1) // the two key frames and the last one
}

func TestLateJoinerWaitsForAKeyFrameAndAsksForOne(t *testing.T) {
	s, w := &stream{}, newWatcher()
	s.picture(true, 100)
	for range 60 {
		w.play(s.picture(false, 100))
	}
	w.expect(t, 0, 0)
	if w.wishes != 2 { // after half a second and a second later
		t.Errorf("%d key frame wishes in 2 s", w.wishes)
	}
	key := w.now
	w.play(s.picture(true, 100), s.picture(false, 100))
	w.expect(t, 2, 0)
	if !w.video.FirstKey.Equal(key) {
		t.Error("first key frame at the wrong time")
	}
}

func TestParameterSetsAreNeeded(t *testing.T) {
	s, w := &stream{}, newWatcher()
	key := s.picture(true, 100)
	for i := range key { // an IDR picture, but its parameter sets are gone
		key[i].nal.pps = false
	}
	w.play(key, s.picture(false, 100))
	w.expect(t, 0, 0)
}

func TestCatchUpIsCountedApart(t *testing.T) {
	s, w := &stream{}, newWatcher()
	for i := range 20 { // at once, unstamped
		w.see(s.picture(i == 0, 2000)...)
	}
	w.now = w.now.Add(10 * time.Millisecond)
	for range 61 {
		p := s.picture(false, 1000-12-5)
		for i := range p {
			p[i].stamp = w.now.Add(-40 * time.Millisecond)
		}
		w.play(p)
	}
	w.expect(t, 81, 0)
	if w.video.CatchUp != 20 {
		t.Errorf("%d catch-up frames", w.video.CatchUp)
	}
	if fps := w.video.FPS(); fps < 29.9 || fps > 30.1 {
		t.Errorf("%v fps", fps)
	}
	if rate := w.video.BitrateBps(); rate < 230_000 || rate > 250_000 {
		t.Errorf("%v bit/s", rate)
	}
	for _, q := range []float64{0.5, 0.99} {
		if got := w.video.Latency.Quantile(q).(time.Duration); got < 39900*time.Microsecond || got > 40100*time.Microsecond {
			t.Errorf("latency %v: %v", q, got)
		}
	}
	if n := w.video.Latency.Count(); n != 61 {
		t.Errorf("%d latencies", n)
	}
}

func TestLatencyHasABeginning(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.video.LatencyFrom = zero.Add(7 * frameTime)
	for i := range 10 {
		p := s.picture(i%8 == 0, 100)
		for k := range p {
			p[k].stamp = w.now
		}
		w.play(p)
	}
	if all, keys := w.video.Latency.Count(), w.video.KeyLatency.Count(); all != 3 || keys != 1 {
		t.Errorf("%d latencies, %d of key frames; three pictures were captured late enough, one of them a key frame", all, keys)
	}
	if want := zero.Add(9 * frameTime); !w.video.Shown.Equal(want) {
		t.Errorf("shown: %v, captured last: %v", w.video.Shown, want)
	}
}

func TestJoiningInAHurryDoesNotRaiseTheRate(t *testing.T) {
	s, w := &stream{}, newWatcher()
	for i := range 20 { // held up on the way
		w.see(s.picture(i == 0, 100)...)
	}
	for range 100 {
		w.play(s.picture(false, 100))
	}
	if fps := w.video.FPS(); fps < 29.9 || fps > 30.1 {
		t.Errorf("%v fps", fps)
	}
}

func TestFreezesCountBetweenPicturesAndAtTheEnd(t *testing.T) {
	s, w := &stream{}, newWatcher()
	w.play(s.picture(true, 100), s.picture(false, 100))
	w.now = w.now.Add(400 * time.Millisecond)
	w.play(s.picture(false, 100))
	if w.video.Freezes != 0 {
		t.Errorf("400 ms are %d freezes", w.video.Freezes)
	}
	w.now = w.now.Add(700 * time.Millisecond)
	w.play(s.picture(false, 100))
	if w.video.Freezes != 1 {
		t.Errorf("700 ms are %d freezes", w.video.Freezes)
	}
	w.video.Finish(w.now.Add(100 * time.Millisecond))
	if w.video.Freezes != 1 {
		t.Error("a short end counts as a freeze")
	}
	w.video.Finish(w.now.Add(time.Second))
	if w.video.Freezes != 2 || w.video.FPS() > 4 {
		t.Errorf("a dead end: %d freezes, %v fps", w.video.Freezes, w.video.FPS())
	}
}

func TestAudioLoss(t *testing.T) {
	a := NewAudio()
	now := zero
	for i := range uint16(200) {
		now = now.Add(20 * time.Millisecond)
		if i == 10 || i == 11 || i == 30 {
			continue
		}
		a.Push(now, Packet{seq: i + 65_500, bytes: 72})
	}
	if a.Packets != 197 || a.Lost() != 3 || a.bytes != 197*72 {
		t.Errorf("%d packets, %d lost", a.Packets, a.Lost())
	}
}

func TestCaptureTimeIsRead(t *testing.T) {
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: []byte{0x41}}
	raw, err := rtp.NewAbsCaptureTimeExtension(zero).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetExtension(3, raw); err != nil {
		t.Fatal(err)
	}
	if got := NewPacket(&p, 0, 3, H264).stamp; got.Sub(zero).Abs() > time.Microsecond {
		t.Errorf("stamp %v", got)
	}
	if got := NewPacket(&p, 0, 0, H264).stamp; !got.IsZero() {
		t.Errorf("a stamp that was not negotiated: %v", got)
	}
}

func TestNALParts(t *testing.T) {
	for name, c := range map[string]struct {
		payload []byte
		want    nalParts
	}{
		"slice":          {[]byte{0x41, 1}, nalParts{slice: true}},
		"sps":            {[]byte{0x67, 1}, nalParts{sps: true, begin: true}},
		"stap":           {[]byte{0x78, 0, 1, 0x09, 0, 1, 0x67, 0, 1, 0x68}, nalParts{sps: true, pps: true, begin: true}},
		"stap, no start": {[]byte{0x78, 0, 1, 0x68, 0, 1, 0x67}, nalParts{sps: true, pps: true}},
		"first fragment": {[]byte{0x7c, 0x85, 1}, nalParts{idr: true, fragment: true, first: true}},
		"last fragment":  {[]byte{0x7c, 0x41, 1}, nalParts{slice: true, fragment: true, last: true}},
		"empty":          {nil, nalParts{bad: true}},
		"short stap":     {[]byte{0x78, 0, 9, 0x67}, nalParts{bad: true}},
		"short fragment": {[]byte{0x7c, 0x85}, nalParts{bad: true}},
		"whole fragment": {[]byte{0x7c, 0xc1, 1}, nalParts{bad: true, slice: true, fragment: true, first: true, last: true}},
		"interleaved":    {[]byte{25, 0, 0}, nalParts{bad: true}},
	} {
		if got := readNAL(c.payload); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// FuzzVideo feeds arbitrary packets: no picture may come of a gap, and nothing may crash or grow.
func FuzzVideo(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0x67, 1, 0, 1, 0x68, 2, 1, 1, 0x65})
	f.Add([]byte{0, 1, 3, 0x78, 0, 1, 9, 1, 0, 200, 0x7c, 0x85})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWatcher()
		markers := uint64(0)
		for len(data) >= 4 {
			p := rtp.Packet{Header: rtp.Header{
				SequenceNumber: uint16(data[0]) << 4, Timestamp: uint32(data[1]), Marker: data[1]&1 != 0,
			}, Payload: data[2:4]}
			p.SequenceNumber += uint16(data[2] & 0xf)
			w.see(NewPacket(&p, 4, 0, H264))
			w.now = w.now.Add(time.Duration(data[3]) * time.Millisecond)
			markers++
			data = data[4:]
		}
		if w.video.Pictures > markers || len(w.video.order.waiting) > waitingMax+1 {
			t.Errorf("%d pictures of %d packets, %d waiting", w.video.Pictures, markers, len(w.video.order.waiting))
		}
	})
}
