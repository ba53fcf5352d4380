package service

// The registry's calls on streams and on what channels and streams share: tags and the mapping
// between them (kvs-protocol.md 1.4). They run in edges, like those of registry.go.

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

const (
	tagsMax           = 50
	retentionHoursMax = 87_600 // ten years
	tierDefault       = "HOT"
)

// resourceCall is the call that answers a message about tags, storage or streams.
func (g *registry) resourceCall(msg any) func(context.Context) (any, error) {
	return func(c context.Context) (any, error) {
		switch m := msg.(type) {
		case *messages.ChangeTags:
			return g.changeTags(c, m)
		case *messages.TagsWanted:
			return g.tags(c, m)
		case *messages.StorageWanted:
			return g.storage(c, m)
		case *messages.ChangeStorage:
			return g.changeStorage(c, m)
		case *messages.MappingWanted:
			return g.mapping(c, m)
		case *messages.CreateStream:
			return g.createStream(c, m)
		case *messages.DescribeStream:
			return g.describeStream(c, m)
		case *messages.ListStreams:
			return g.listStreams(c, m)
		case *messages.UpdateStream:
			return g.updateStream(c, m)
		case *messages.DeleteStream:
			return g.deleteStream(c, m)
		}
		return nil, refuse("ServiceUnavailableException", "The service does not know the question")
	}
}

func (g *registry) createStream(ctx context.Context, m *messages.CreateStream) (*messages.StreamInfo, error) {
	now := time.Now()
	s := backplane.Stream{
		Resource: backplane.Resource{
			ARN: g.arn("stream", m.Name, now), Name: m.Name, Status: statusCreating, Created: now, Changed: now, Tags: m.Tags,
		},
		Device: m.Device, MediaType: m.MediaType, KmsKeyID: m.KmsKeyID, Tier: m.Tier, RetentionHours: m.RetentionHours,
	}
	if s.KmsKeyID == "" {
		s.KmsKeyID = "arn:aws:kms:" + g.cfg.Region + ":" + g.cfg.Account + ":alias/aws/kinesisvideo"
	}
	if s.Tier == "" {
		s.Tier = tierDefault
	}
	made, err := g.back.CreateStream(ctx, s, g.limits.StreamsMax)
	if errors.Is(err, backplane.ErrExists) {
		if _, gone := g.stream(ctx, messages.ResourceName{Name: m.Name}); errors.Is(gone, backplane.ErrNotFound) {
			made, err = g.back.CreateStream(ctx, s, g.limits.StreamsMax)
		}
	}
	if errors.Is(err, backplane.ErrFull) {
		return nil, refuse("AccountStreamLimitExceededException", "The account has as many streams as it may have")
	}
	return g.streamInfo(made), err
}

func (g *registry) streamInfo(s backplane.Stream) *messages.StreamInfo {
	return &messages.StreamInfo{
		ARN: s.ARN, Name: s.Name, Status: g.status(s.Resource), Version: s.Version, Device: s.Device, MediaType: s.MediaType,
		KmsKeyID: s.KmsKeyID, Tier: s.Tier, RetentionHours: s.RetentionHours, Created: s.Created,
	}
}

// stream finds a stream by its ARN, which must be that of the stream which now has the name, or by its name.
func (g *registry) stream(ctx context.Context, of messages.ResourceName) (backplane.Stream, error) {
	name := of.Name
	if of.ARN != "" {
		kind, named := resourceOf(of.ARN)
		if name = named; kind != "stream" {
			return backplane.Stream{}, backplane.ErrNotFound
		}
	}
	s, err := g.back.Stream(ctx, name)
	if err == nil && of.ARN != "" && s.ARN != of.ARN {
		return backplane.Stream{}, backplane.ErrNotFound
	}
	if err == nil && g.status(s.Resource) == statusDeleted {
		_ = g.back.DeleteStream(ctx, s.Name, s.Version) // somebody else's success is as good
		return backplane.Stream{}, backplane.ErrNotFound
	}
	return s, err
}

// resourceOf splits an ARN into the kind and the name that it ends in.
func resourceOf(arn string) (kind, name string) {
	part := strings.Split(arn[strings.LastIndexByte(arn, ':')+1:], "/")
	if len(part) != 3 {
		return "", ""
	}
	return part[0], part[1]
}

func (g *registry) describeStream(ctx context.Context, m *messages.DescribeStream) (*messages.StreamInfo, error) {
	s, err := g.stream(ctx, m.ResourceName)
	return g.streamInfo(s), err
}

func (g *registry) listStreams(ctx context.Context, m *messages.ListStreams) (*messages.StreamPage, error) {
	all, err := g.back.Streams(ctx)
	page := &messages.StreamPage{}
	for _, s := range all {
		if !strings.HasPrefix(s.Name, m.Prefix) || s.Name <= m.After || g.status(s.Resource) == statusDeleted {
			continue
		}
		if len(page.Streams) == m.Max {
			page.More = true
			break
		}
		page.Streams = append(page.Streams, *g.streamInfo(s))
	}
	return page, err
}

func (g *registry) updateStream(ctx context.Context, m *messages.UpdateStream) (*messages.StreamInfo, error) {
	s, err := g.stream(ctx, m.ResourceName)
	if err != nil {
		return nil, err
	}
	s, err = g.back.UpdateStream(ctx, s.Name, s.ARN, func(s *backplane.Stream) error {
		if err := g.begin(&s.Resource, m.Version, statusUpdating); err != nil {
			return err
		}
		retention := s.RetentionHours + m.RetentionChange
		if retention < 0 || retention > retentionHoursMax {
			return refuse("InvalidArgumentException", "The data retention must lie between 0 and 87600 hours")
		}
		s.RetentionHours = retention
		for member, value := range map[*string]string{&s.Device: m.Device, &s.MediaType: m.MediaType, &s.Tier: m.Tier} {
			if value != "" {
				*member = value
			}
		}
		return nil
	})
	return g.streamInfo(s), err
}

// deleteStream refuses while a channel stores into the stream: its media would have no place.
func (g *registry) deleteStream(ctx context.Context, m *messages.DeleteStream) (*messages.StreamDeleted, error) {
	s, err := g.stream(ctx, messages.ResourceName{ARN: m.ARN})
	if err != nil {
		return nil, err
	}
	if _, err := g.back.MappedChannel(ctx, s); err == nil {
		return nil, refuse("ResourceInUseException", "A channel is mapped to the stream: disable its media storage first")
	} else if !errors.Is(err, backplane.ErrNotFound) {
		return nil, err
	}
	s, err = g.back.UpdateStream(ctx, s.Name, s.ARN, func(s *backplane.Stream) error {
		return g.begin(&s.Resource, m.Version, statusDeleting)
	})
	if err == nil && g.limits.Transition == 0 {
		err = g.back.DeleteStream(ctx, s.Name, s.Version)
	}
	if err == nil && g.cfg.Dir != "" {
		if err := os.RemoveAll(recordingDir(g.cfg.Dir, s.ARN)); err != nil {
			g.sys.Log().Warn("recording of a deleted stream is left", zap.Error(err))
		}
	}
	return &messages.StreamDeleted{}, err
}

// Tags.

func (g *registry) changeTags(ctx context.Context, m *messages.ChangeTags) (*messages.Tags, error) {
	var after map[string]string
	alter := func(r *backplane.Resource) error {
		after = maps.Clone(r.Tags)
		if after == nil {
			after = map[string]string{}
		}
		maps.Copy(after, m.Set)
		for _, key := range m.Remove {
			delete(after, key)
		}
		if len(after) > tagsMax {
			return refuse("TagsPerResourceExceededLimitException", "A resource has at most 50 tags")
		}
		r.Tags = after
		return nil
	}
	if kind, _ := resourceOf(m.ARN); kind == "channel" {
		c, err := g.channel(ctx, m.ARN, "")
		if err == nil {
			_, err = g.back.UpdateChannel(ctx, c.Name, c.ARN, func(c *backplane.Channel) error { return alter(&c.Resource) })
		}
		return &messages.Tags{Tags: after}, err
	}
	s, err := g.stream(ctx, m.ResourceName)
	if err == nil {
		_, err = g.back.UpdateStream(ctx, s.Name, s.ARN, func(s *backplane.Stream) error { return alter(&s.Resource) })
	}
	return &messages.Tags{Tags: after}, err
}

func (g *registry) tags(ctx context.Context, m *messages.TagsWanted) (*messages.Tags, error) {
	if kind, _ := resourceOf(m.ARN); kind == "channel" {
		c, err := g.channel(ctx, m.ARN, "")
		return &messages.Tags{Tags: c.Tags}, err
	}
	s, err := g.stream(ctx, m.ResourceName)
	return &messages.Tags{Tags: s.Tags}, err
}

// The mapping.

// storage tells what is, not what the channel's record says alone: the stream may be gone.
func (g *registry) storage(ctx context.Context, m *messages.StorageWanted) (*messages.Storage, error) {
	c, err := g.channel(ctx, m.ARN, m.Name)
	if err != nil {
		return nil, err
	}
	return g.storageOf(ctx, c)
}

func (g *registry) storageOf(ctx context.Context, c backplane.Channel) (*messages.Storage, error) {
	if !c.Storage {
		return &messages.Storage{StreamARN: c.StreamARN}, nil
	}
	s, err := g.stream(ctx, messages.ResourceName{ARN: c.StreamARN})
	if err != nil && !errors.Is(err, backplane.ErrNotFound) {
		return nil, err
	}
	return &messages.Storage{Enabled: err == nil && backplane.Mapped(c, s), StreamARN: c.StreamARN}, nil
}

func (g *registry) changeStorage(ctx context.Context, m *messages.ChangeStorage) (*messages.Storage, error) {
	c, err := g.channel(ctx, m.ChannelARN, "")
	if err != nil {
		return nil, err
	}
	if err := g.active(c.Resource); err != nil {
		return nil, err
	}
	if !m.Enabled {
		_, err := g.back.UpdateChannel(ctx, c.Name, c.ARN, func(c *backplane.Channel) error {
			c.Storage = false
			return nil
		})
		if err == nil {
			err = g.announceStorage(ctx, c, false)
		}
		return &m.Storage, err
	}
	s, err := g.stream(ctx, messages.ResourceName{ARN: m.StreamARN})
	if err != nil {
		return nil, err
	}
	now, err := g.storageOf(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case now.Enabled && now.StreamARN != s.ARN:
		return nil, refuse("ResourceInUseException", "The channel is mapped to another stream: disable its media storage first")
	case s.RetentionHours == 0:
		return nil, refuse("NoDataRetentionException", "The stream's data retention must be greater than 0 hours")
	}
	if err := g.active(s.Resource); err != nil {
		return nil, err
	}
	if err := g.back.MapChannel(ctx, c, s); err != nil {
		return nil, err
	}
	return &m.Storage, g.announceStorage(ctx, c, true)
}

func (g *registry) mapping(ctx context.Context, m *messages.MappingWanted) (*messages.Mapping, error) {
	s, err := g.stream(ctx, m.ResourceName)
	if err != nil {
		return nil, err
	}
	c, err := g.back.MappedChannel(ctx, s)
	if errors.Is(err, backplane.ErrNotFound) {
		return &messages.Mapping{}, nil
	}
	return &messages.Mapping{ChannelARN: c.ARN}, err
}
