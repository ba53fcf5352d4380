package service

// What the doors ask of recordings. The registry knows the streams; their folders are read where the request
// is answered, for nobody else has to wait for that. A folder's name comes of a stream's ARN, never of a
// request.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/media/recorder"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

const (
	streamsPage = 1000
	segmentsMax = 5000 // in one answer: 40 hours
)

// Recordings implements api.Backend. A channel has the recording of the stream that it was mapped to last.
func (d *door) Recordings(ctx context.Context, channel string) ([]api.Recording, error) {
	found := []api.Recording{}
	if channel != "" {
		storage, err := d.Storage(ctx, &messages.StorageWanted{ResourceName: messages.ResourceName{Name: channel}})
		if err != nil || storage.StreamARN == "" {
			return found, err
		}
		_, stream := resourceOf(storage.StreamARN)
		return d.addRecording(found, storage.StreamARN, api.Recording{Stream: stream, Channel: channel})
	}
	list := &messages.ListStreams{Max: streamsPage}
	for {
		page, err := d.ListStreams(ctx, list)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Streams {
			mapped, err := d.Mapping(ctx, &messages.MappingWanted{ResourceName: messages.ResourceName{ARN: s.ARN}})
			if err != nil {
				return nil, err
			}
			_, channel := resourceOf(mapped.ChannelARN)
			if found, err = d.addRecording(found, s.ARN, api.Recording{Stream: s.Name, Channel: channel}); err != nil {
				return nil, err
			}
		}
		if !page.More {
			return found, nil
		}
		list.After = page.Streams[len(page.Streams)-1].Name
	}
}

// addRecording adds a stream's recording when it has one.
func (d *door) addRecording(found []api.Recording, arn string, of api.Recording) ([]api.Recording, error) {
	if d.cfg.Dir == "" {
		return found, nil
	}
	var err error
	of.Start, of.End, err = recorder.Extent(recordingDir(d.cfg.Dir, arn))
	if err != nil || of.End.IsZero() {
		return found, err
	}
	return append(found, of), nil
}

// recordingOf is the folder of a stream's recording.
func (d *door) recordingOf(ctx context.Context, stream string) (dir string, err error) {
	info, err := d.DescribeStream(ctx, &messages.DescribeStream{ResourceName: messages.ResourceName{Name: stream}})
	switch {
	case err != nil:
		return "", err
	case d.cfg.Dir == "":
		return "", refuse(api.RefusedNothing, "The service keeps nothing: start it with --data-dir")
	}
	return recordingDir(d.cfg.Dir, info.ARN), nil
}

// Segments implements api.Backend.
func (d *door) Segments(ctx context.Context, stream string, from, to time.Time) (*api.RecordedSegments, error) {
	dir, err := d.recordingOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	segments, more, err := recorder.ListFirst(dir, from, to, segmentsMax)
	if err != nil {
		return nil, err
	}
	found := &api.RecordedSegments{Stream: stream, Segments: make([]api.RecordedSegment, 0, len(segments)), More: more}
	for _, s := range segments {
		found.Segments = append(found.Segments, api.RecordedSegment{Start: s.Start, End: s.End, Bytes: s.Bytes, Gap: s.Gap})
	}
	return found, nil
}

// OpenSpan implements api.Backend.
func (d *door) OpenSpan(ctx context.Context, stream string, from, to time.Time, format string) (*api.Span, error) {
	dir, err := d.recordingOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	span, err := d.library.Open(dir, from, to, format)
	switch {
	case errors.Is(err, recorder.ErrNothing):
		return nil, refuse(api.RefusedNothing, err.Error())
	case errors.Is(err, recorder.ErrTooLong):
		return nil, refuse(api.RefusedSpan, fmt.Sprintf("the span is too long: ask for %v at most, with from and to", recorder.SpanMax))
	case errors.Is(err, recorder.ErrCodecChanges):
		return nil, refuse(api.RefusedSpan, err.Error()+": ask for what is before it, or behind")
	case err != nil:
		return nil, err
	}
	return &api.Span{ReadSeekCloser: span, Start: span.Start, End: span.End, MediaType: span.MediaType, Tag: span.Tag}, nil
}
