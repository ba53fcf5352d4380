package service

// The outermost edge: what the doors ask, put to the tree. Only here does anybody wait for an
// answer; a message that nobody takes fails the request at once.

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

const (
	rootPath     = "service"
	registryPath = "service/registry"
	relayPath    = "service/relay"
	faultsPath   = "service/faults"
)

// door implements api.Backend.
type door struct{ *world }

var _ api.Backend = (*door)(nil)

// ask returns the answer, or the *messages.Refused that came instead.
func ask[T any](ctx context.Context, d *door, path string, msg any) (T, error) {
	var none T
	reply, err := d.sys.Ask(ctx, path, msg)
	if err != nil {
		return none, err
	}
	switch r := reply.(type) {
	case T:
		return r, nil
	case *messages.Refused:
		return none, r
	}
	return none, fmt.Errorf("unexpected answer %T", reply)
}

func (d *door) CreateChannel(ctx context.Context, m *messages.CreateChannel) (*messages.ChannelInfo, error) {
	return ask[*messages.ChannelInfo](ctx, d, registryPath, m)
}

func (d *door) DescribeChannel(ctx context.Context, m *messages.DescribeChannel) (*messages.ChannelInfo, error) {
	return ask[*messages.ChannelInfo](ctx, d, registryPath, m)
}

func (d *door) ARN(ctx context.Context, kind, name string) (string, error) {
	found, err := ask[*messages.ResourceARN](ctx, d, registryPath, &messages.ARNWanted{Kind: kind, Name: name})
	if err != nil {
		return "", err
	}
	return found.ARN, nil
}

func (d *door) ListChannels(ctx context.Context, m *messages.ListChannels) (*messages.ChannelPage, error) {
	return ask[*messages.ChannelPage](ctx, d, registryPath, m)
}

func (d *door) DeleteChannel(ctx context.Context, m *messages.DeleteChannel) error {
	_, err := ask[*messages.ChannelDeleted](ctx, d, registryPath, m)
	return err
}

func (d *door) UpdateChannel(ctx context.Context, m *messages.UpdateChannel) error {
	_, err := ask[*messages.ChannelInfo](ctx, d, registryPath, m)
	return err
}

func (d *door) Endpoint(ctx context.Context, m *messages.EndpointWanted) error {
	_, err := ask[*messages.ChannelInfo](ctx, d, registryPath, m)
	return err
}

func (d *door) ChangeTags(ctx context.Context, m *messages.ChangeTags) error {
	_, err := ask[*messages.Tags](ctx, d, registryPath, m)
	return err
}

func (d *door) Tags(ctx context.Context, m *messages.TagsWanted) (*messages.Tags, error) {
	return ask[*messages.Tags](ctx, d, registryPath, m)
}

func (d *door) Storage(ctx context.Context, m *messages.StorageWanted) (*messages.Storage, error) {
	return ask[*messages.Storage](ctx, d, registryPath, m)
}

func (d *door) ChangeStorage(ctx context.Context, m *messages.ChangeStorage) error {
	_, err := ask[*messages.Storage](ctx, d, registryPath, m)
	return err
}

func (d *door) Mapping(ctx context.Context, m *messages.MappingWanted) (*messages.Mapping, error) {
	return ask[*messages.Mapping](ctx, d, registryPath, m)
}

func (d *door) CreateStream(ctx context.Context, m *messages.CreateStream) (*messages.StreamInfo, error) {
	return ask[*messages.StreamInfo](ctx, d, registryPath, m)
}

func (d *door) DescribeStream(ctx context.Context, m *messages.DescribeStream) (*messages.StreamInfo, error) {
	return ask[*messages.StreamInfo](ctx, d, registryPath, m)
}

func (d *door) ListStreams(ctx context.Context, m *messages.ListStreams) (*messages.StreamPage, error) {
	return ask[*messages.StreamPage](ctx, d, registryPath, m)
}

func (d *door) UpdateStream(ctx context.Context, m *messages.UpdateStream) error {
	_, err := ask[*messages.StreamInfo](ctx, d, registryPath, m)
	return err
}

func (d *door) DeleteStream(ctx context.Context, m *messages.DeleteStream) error {
	_, err := ask[*messages.StreamDeleted](ctx, d, registryPath, m)
	return err
}

func (d *door) TurnServers(ctx context.Context, m *messages.TurnWanted) (*messages.TurnServers, error) {
	return ask[*messages.TurnServers](ctx, d, registryPath, m)
}

func (d *door) AlexaOffer(ctx context.Context, m *messages.AlexaOfferWanted) (*messages.AlexaAnswered, error) {
	return ask[*messages.AlexaAnswered](ctx, d, registryPath, m)
}

func (d *door) JoinStorage(ctx context.Context, m *messages.JoinStorageWanted) error {
	_, err := ask[*messages.StorageJoined](ctx, d, registryPath, m)
	return err
}

func (d *door) Overview(ctx context.Context) (*messages.Overview, error) {
	return ask[*messages.Overview](ctx, d, registryPath, &messages.OverviewWanted{})
}

func (d *door) SetFault(ctx context.Context, m *messages.FaultWanted) (*messages.Faults, error) {
	return ask[*messages.Faults](ctx, d, faultsPath, m)
}

func (d *door) StandingFaults(ctx context.Context) (*messages.Faults, error) {
	return ask[*messages.Faults](ctx, d, faultsPath, &messages.FaultsWanted{})
}

func (d *door) ClearFaults(ctx context.Context, m *messages.ClearFaults) (*messages.Faults, error) {
	return ask[*messages.Faults](ctx, d, faultsPath, m)
}

func (d *door) Connect(ctx context.Context, m *messages.ConnectWanted) (api.Seat, error) {
	admitted, err := ask[*messages.Admitted](ctx, d, registryPath, m)
	if err != nil {
		return nil, err
	}
	return &seat{d, admitted.Path}, nil
}

// seat is an admitted connection that waits for its socket.
type seat struct {
	door *door
	path string
}

func (s *seat) Take(socket messages.Socket) error {
	ctx, cancel := context.WithTimeout(context.Background(), socketWait)
	defer cancel()
	_, err := ask[*messages.SocketTaken](ctx, s.door, s.path, &messages.SocketOpened{Socket: socket})
	return err
}

func (s *seat) Abandon() { s.door.sys.Tell(s.path, &messages.SocketAbandoned{}) }

func (d *door) Play(ctx context.Context, m *messages.WhepWanted) (*messages.WhepAnswered, error) {
	return ask[*messages.WhepAnswered](ctx, d, registryPath, m)
}

func (d *door) Touch(ctx context.Context, session string) error {
	return d.toSession(ctx, session, &messages.WhepTouched{})
}

func (d *door) End(ctx context.Context, session string) error {
	return d.toSession(ctx, session, &messages.WhepEnded{})
}

// A session's name holds what finds its actor, so that nobody keeps a list.
var sessionPattern = regexp.MustCompile(`^([a-zA-Z0-9_]{1,128})-([0-9a-f]{32})$`)

func sessionName(channelID, connection string) string { return channelID + "-" + connection }

func (d *door) toSession(ctx context.Context, session string, msg any) error {
	part := sessionPattern.FindStringSubmatch(session)
	if part == nil {
		return refuse("ResourceNotFoundException", "There is no such session")
	}
	_, err := ask[*messages.WhepAlive](ctx, d, connectionPath(part[1], part[2]), msg)
	if errors.Is(err, actors.ErrDeadLetter) {
		return refuse("ResourceNotFoundException", "There is no such session")
	}
	return err
}

func channelName(id string) string { return "channel-" + id }

func connectionName(connection string) string { return "connection-" + connection }

func connectionPath(channelID, connection string) string {
	return "service/" + channelName(channelID) + "/" + connectionName(connection)
}

func refuse(kind, text string) *messages.Refused { return &messages.Refused{Type: kind, Message: text} }

// relay asks whether the relay serves. The question goes through the root, which has spawned the
// relay before it answers anybody.
func (d *door) relay(ctx context.Context) (*messages.TurnServers, error) {
	return ask[*messages.TurnServers](ctx, d, rootPath, &messages.TurnWanted{})
}

// ready is what /readyz asks: the store answers, and so does the relay.
func (d *door) ready(ctx context.Context) error {
	if _, err := d.Overview(ctx); err != nil {
		return fmt.Errorf("read channels: %w", err)
	}
	if _, err := d.relay(ctx); err != nil {
		return fmt.Errorf("ask relay: %w", err)
	}
	return nil
}

// sessions is the census of /sessions.
func (d *door) sessions(ctx context.Context) (any, error) {
	overview, err := d.Overview(ctx)
	if err != nil {
		return nil, err
	}
	ingests, err := ask[*messages.Ingests](ctx, d, rootPath, &messages.IngestsWanted{})
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"channels":  overview.Channels,
		"ingest":    ingests.Sessions,
		"mailboxes": d.sys.Mailboxes(),
		"backplane": d.back.Stats(),
	}, nil
}
