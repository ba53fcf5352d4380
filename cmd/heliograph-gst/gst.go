//go:build gst

package main

// Flow: open parses a pipeline, play starts it; then one goroutine for each appsink pulls units, one
// waits at the bus. Nothing is freed: the process ends with its pipeline.

/*
#cgo pkg-config: gstreamer-1.0 gstreamer-app-1.0 gstreamer-pbutils-1.0 gstreamer-video-1.0
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// unitCodecs are in the order of the numbers that shim.c gives.
var unitCodecs = [...]messages.Codec{messages.H264, messages.H265, messages.Opus, messages.PCMU, messages.PCMA}

// What the sinks of video and sound take, so that parsers before them convert.
const (
	videoCaps = "video/x-h264,stream-format=byte-stream,alignment=au;video/x-h265,stream-format=byte-stream,alignment=au"
	audioCaps = "audio/x-opus;audio/x-mulaw,rate=8000,channels=1;audio/x-alaw,rate=8000,channels=1"
)

func initGStreamer() { C.gst_init(nil, nil) }

// hasElement tells whether an element is installed, and its hardware there.
func hasElement(name string) bool {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.has_factory(c) != 0
}

// hasSound tells whether a movie has any. A pipeline would wait for it.
func hasSound(path string) bool {
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	return C.has_sound(c) != 0
}

type pipeline struct {
	p       *C.GstElement
	sinks   map[string]*C.GstElement // by name
	encoder *C.GstElement            // nil: there is none that takes wishes
	format  *C.GstElement            // nil: the picture is what it is
}

// open parses a pipeline and finds its named elements. With sync units are given out when they are due.
func open(text string, sync bool) (*pipeline, error) {
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	var failure, missing *C.char
	p := C.parse(c, &failure, &missing)
	if missing != nil {
		// GStreamer also lists those that it could not set up.
		names := slices.DeleteFunc(strings.Fields(C.GoString(missing)), hasElement)
		if len(names) > 0 {
			return nil, missingElements(names)
		}
	}
	if p == nil {
		return nil, fmt.Errorf("parse pipeline: %s", C.GoString(failure))
	}
	g := &pipeline{p: p, sinks: map[string]*C.GstElement{}, encoder: byName(p, encoderName), format: byName(p, formatName)}
	for name, caps := range map[string]string{videoName: videoCaps, audioName: audioCaps} {
		sink := byName(p, name)
		switch {
		case sink == nil && name == videoName:
			return nil, errors.New("the pipeline has no video: end it in `appsink name=video`")
		case sink == nil:
			continue
		case C.is_appsink(sink) == 0:
			return nil, fmt.Errorf("the element named %s is no appsink", name)
		}
		wanted := C.CString(caps)
		C.prepare(sink, wanted, cbool(sync))
		C.free(unsafe.Pointer(wanted))
		g.sinks[name] = sink
	}
	return g, nil
}

func byName(p *C.GstElement, name string) *C.GstElement {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.by_name(p, c)
}

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// hear lets a network camera's sound go to the sink of sound once the camera has told what it is.
func (g *pipeline) hear(sound *cameraSound) {
	passed, decoded := C.CString(strings.Join(sound.passed, " ")), C.CString(sound.decoded) // the pipeline keeps both
	C.hear(byName(g.p, cameraName), g.sinks[audioName], passed, decoded)
}

// play starts the pipeline. What is wrong comes by the bus.
func (g *pipeline) play() { C.play(g.p) }

// drawClock puts the clock strip on the pictures that leave the element named clock.
func (g *pipeline) drawClock() {
	if e := byName(g.p, clockName); e != nil {
		C.draw_clock(g.p, e)
	}
}

// copyUnits writes what a sink gets, for ever, or until silence is all that a live source has had to give
// for so long; 0: however long.
func (g *pipeline) copyUnits(sink *C.GstElement, w io.Writer, silence time.Duration) error {
	last := time.Now()
	for {
		var u C.unit
		switch C.pull(g.p, sink, &u) {
		case -1:
			time.Sleep(eosPause) // until the pipeline begins again, or the process ends
			continue
		case 0:
			if silence > 0 && time.Since(last) > silence {
				return fmt.Errorf("the camera has sent no picture for %v", silence)
			}
			continue
		}
		last = time.Now()
		data := unsafe.Slice((*byte)(u.data), int(u.size))
		unit := media.PipeUnit{PTS: time.Duration(u.pts), Monotonic: true, Data: data}
		if u.codec >= 0 {
			unit.Codec = unitCodecs[u.codec]
		}
		var err error
		if u.pts >= 0 && u.size > 0 { // without a time it is a header on its own
			err = writeUnit(w, unit)
		}
		C.g_free(C.gpointer(u.data))
		if err != nil {
			return err
		}
	}
}

// writeUnit writes a unit, G.711 in packets of 20 ms: cameras send as much at once as they like.
func writeUnit(w io.Writer, unit media.PipeUnit) error {
	if unit.Codec != messages.PCMU && unit.Codec != messages.PCMA {
		return media.WritePipeUnit(w, unit)
	}
	for part := range slices.Chunk(unit.Data, g711PacketBytes) {
		unit.Data = part
		if err := media.WritePipeUnit(w, unit); err != nil {
			return err
		}
		unit.PTS += time.Duration(len(part)) * time.Second / g711BytesPerS
	}
	return nil
}

const (
	g711BytesPerS   = 8000
	g711PacketBytes = g711BytesPerS / 50
)

// sinksTake is the hint where elements do not agree, which they tell without saying which of them.
const sinksTake = "two elements do not agree on a format: `appsink name=video` takes H.264 or H.265, `appsink name=audio` takes Opus or G.711, so that encoders must stand before them"

const eosPause = 10 * time.Millisecond

// watch waits for an error or the end; with loop the stream then begins again. unlinked says what it means
// that nobody takes what the source gives.
func (g *pipeline) watch(loop bool, unlinked string) error {
	for {
		var text *C.char
		switch C.wait_bus(g.p, &text) {
		case 1:
			message := C.GoString(text)
			switch {
			case unlinked != "" && strings.Contains(message, "reason not-linked"):
				message = unlinked
			case strings.Contains(message, "reason not-negotiated"):
				message += "; " + sinksTake
			}
			return errors.New(message)
		case 2:
			if !loop || C.rewind_to_start(g.p) == 0 {
				return errors.New("the stream has ended")
			}
		}
	}
}

// set sets a property of an element.
func (g *pipeline) set(element *C.GstElement, property, value string) bool {
	k, v := C.CString(property), C.CString(value)
	defer C.free(unsafe.Pointer(k))
	defer C.free(unsafe.Pointer(v))
	return C.set_property(element, k, v) != 0
}

func (g *pipeline) forceKey() { C.force_key(g.encoder) }
