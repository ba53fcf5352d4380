package bench

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/messages"
)

const storedChannel = "heliograph-stored"

// storing maps a channel to a stream.
func storing(t *testing.T, s *service.Service, name string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}}
	t.Cleanup(transport.CloseIdleConnections)
	sdk := kinesisvideo.New(kinesisvideo.Options{
		Region: s.Region, BaseEndpoint: &s.PublicURL, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey, ""),
	})
	channel, err := sdk.CreateSignalingChannel(t.Context(), &kinesisvideo.CreateSignalingChannelInput{ChannelName: &name})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := sdk.CreateStream(t.Context(), &kinesisvideo.CreateStreamInput{StreamName: &name, DataRetentionInHours: sdkaws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sdk.UpdateMediaStorageConfiguration(t.Context(), &kinesisvideo.UpdateMediaStorageConfigurationInput{
		ChannelARN: channel.ChannelARN,
		MediaStorageConfiguration: &types.MediaStorageConfiguration{
			Status: types.MediaStorageConfigurationStatusEnabled, StreamARN: stream.StreamARN,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// storageWorld is a world whose device stores by a channel of its own.
func storageWorld(t *testing.T, on func(*service.Config), cam func(*device.Config)) *World {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	w, err := StartWorld(ctx, WorldConfig{Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Service: on, Device: func(w *World, c *device.Config) {
		storing(t, w.Service, storedChannel)
		c.StorageChannel = storedChannel
		if cam != nil {
			cam(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// taken is what the service's storage session tells of itself.
func taken(t *testing.T, w *World) []messages.IngestStatus {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Service.LocalURL+"/sessions", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var census struct{ Ingest []messages.IngestStatus }
	if err := json.NewDecoder(resp.Body).Decode(&census); err != nil {
		t.Fatal(err)
	}
	return census.Ingest
}

// asks tries again until ask has nothing to object to.
func asks(t *testing.T, within time.Duration, ask func() error) {
	t.Helper()
	deadline := time.After(within)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// The device joins the storage session of one channel, and a viewer watches by another.
func TestDeviceStores(t *testing.T) {
	w := storageWorld(t, nil, nil)
	asks(t, readyWithin, func() error {
		all := taken(t, w)
		if len(all) != 1 || len(all[0].Participants) != 1 || all[0].Participants[0].Video.Frames < 30 || all[0].Participants[0].Audio.Frames < 30 {
			return fmt.Errorf("the service takes in %+v", all)
		}
		return nil
	})
	status, err := w.Device.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.State != "storing" || len(status.Peers) != 1 || status.Failures != 0 || !strings.Contains(status.StreamARN, "stream/"+storedChannel) {
		t.Errorf("%+v", status)
	}
	phases := status.Peers[0].Phases
	for _, phase := range []string{messages.PhaseJoinStorageSession, messages.PhaseFindPair, messages.PhaseDTLSHandshake, messages.PhaseFirstFrame, messages.PhaseConnectWebsocket} {
		if phases[phase] <= 0 {
			t.Errorf("phase %s was not measured: %v", phase, phases)
		}
	}
	v, err := NewViewer(w.Viewer(1, "watcher"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	select {
	case <-v.Playing():
	case <-time.After(readyWithin):
		t.Error("nobody can watch meanwhile")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
