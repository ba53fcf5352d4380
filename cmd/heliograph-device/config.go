package main

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// config is what the user may set, by flag, environment or file. The environment names are those of
// the AWS SDKs, the C SDK's samples and the C reference.
type config struct {
	Channel   string `flag:"channel" env:"AWS_KVS_CHANNEL_NAME" default:"" help:"name of the signaling channel" group:"Channel"`
	Create    bool   `flag:"create-channel" env:"HELIOGRAPH_CREATE_CHANNEL" default:"true" help:"create the channel when it does not exist"`
	Region    string `flag:"region" env:"AWS_REGION,AWS_DEFAULT_REGION" default:"us-west-2" help:"AWS region"`
	Endpoint  string `flag:"endpoint" env:"CONTROL_PLANE_URI,AWS_ENDPOINT_URL_KINESIS_VIDEO" default:"" help:"control plane URL of a compatible service; empty: AWS"`
	DualStack bool   `flag:"dual-stack" env:"AWS_USE_DUALSTACK_ENDPOINT,KVS_DUALSTACK_ENDPOINTS" default:"false" help:"use AWS's endpoints that IPv6 reaches too (kinesisvideo.REGION.api.aws), and with them such TURN servers; nothing to --endpoint"`
	CAFile    string `flag:"ca-file" env:"AWS_KVS_CACERT_PATH,AWS_CA_CERT_PATH" default:"" help:"PEM file of the roots to trust; empty: the system's"`
	Profile   string `flag:"profile" env:"AWS_PROFILE" default:"" help:"profile of the shared AWS configuration"`

	IoTEndpoint  string `flag:"iot-endpoint" env:"AWS_IOT_CORE_CREDENTIAL_ENDPOINT,AWS_CREDENTIALS_ENDPOINT" default:"" help:"host of the IoT credentials provider; set, the device's certificate is what it has instead of keys" group:"Credentials by certificate (AWS IoT)"`
	IoTRoleAlias string `flag:"iot-role-alias" env:"AWS_IOT_CORE_ROLE_ALIAS,AWS_IOT_THING_ROLE_ALIAS" default:"" help:"role alias to ask for"`
	IoTThing     string `flag:"iot-thing" env:"AWS_IOT_CORE_THING_NAME,AWS_IOT_THING_NAME" default:"" help:"thing name; the channel has it too where none is named"`
	IoTCert      string `flag:"iot-cert" env:"AWS_IOT_CORE_CERT,AWS_IOT_THING_CERT_PATH" default:"" help:"PEM file of the device's certificate"`
	IoTKey       string `flag:"iot-key" env:"AWS_IOT_CORE_PRIVATE_KEY,AWS_IOT_THING_PRIVATE_KEY_PATH" default:"" help:"PEM file of its private key"`

	Source       string `flag:"source" env:"HELIOGRAPH_SOURCE" default:"sample" help:"where the stream comes from: sample, test, camera[:/dev/videoN], libcamera, rtsp://..., file:MOVIE, gst:PIPELINE, exec:COMMAND, h264:FILE?fps=30, h265:FILE?fps=30" group:"Media"`
	SourceStart  string `flag:"source-start" env:"HELIOGRAPH_SOURCE_START" default:"always" help:"when the source runs: always, or from the first viewer on (viewer)"`
	VideoCodec   string `flag:"video-codec" env:"HELIOGRAPH_VIDEO_CODEC" default:"h264" help:"what test and cameras are encoded to, and what rtsp and file hold: h264 or h265"`
	Encoder      string `flag:"encoder" env:"HELIOGRAPH_ENCODER" default:"auto" help:"GStreamer's encoder for test and cameras; auto: the hardware's, else in software"`
	VideoSize    string `flag:"video-size" env:"HELIOGRAPH_VIDEO_SIZE" default:"1280x720" help:"picture of test and cameras"`
	VideoFPS     int    `flag:"video-fps" env:"HELIOGRAPH_VIDEO_FPS" default:"30" help:"pictures per second of test and cameras"`
	VideoBitrate int    `flag:"video-bitrate" env:"HELIOGRAPH_VIDEO_BITRATE" default:"2000000" help:"bits per second of video of test and cameras at most; viewers' networks may ask for less"`
	BitrateMin   int    `flag:"bitrate-min" live:"true" env:"HELIOGRAPH_BITRATE_MIN" default:"150000" help:"bits per second of video that a source of variable bitrate is asked for at least; where networks carry less, it is asked for fewer, then smaller pictures"`
	BitrateMax   int    `flag:"bitrate-max" live:"true" env:"HELIOGRAPH_BITRATE_MAX" default:"0" help:"bits per second of video that it is asked for at most; 0: what it makes by itself"`
	BitrateSlew  int    `flag:"bitrate-slew" live:"true" env:"HELIOGRAPH_BITRATE_SLEW" default:"40" help:"per cent by which the bitrate rises in a second at most; it falls at once"`
	Audio        string `flag:"audio" env:"HELIOGRAPH_AUDIO" default:"auto" help:"sound of GStreamer sources: auto (microphone, or the source's own; a network camera's G.711 and Opus pass as they are), opus (the same, all of it as Opus, which storage sessions need), silence or none"`
	AudioSink    string `flag:"audio-sink" env:"HELIOGRAPH_AUDIO_SINK" default:"discard" help:"where the sound of a viewer goes, one viewer at a time: discard, file:PATH (Ogg Opus), or exec:COMMAND, which gets Ogg Opus on its stdin"`
	ViewersMax   int    `flag:"viewers-max" live:"true" env:"AWS_MAX_VIEWER_NUM" default:"10" help:"viewers served at the same time"`

	StorageChannel string        `flag:"storage-channel" env:"AWS_KVS_STORAGE_CHANNEL_NAME" default:"" help:"name of a channel that is mapped to a stream: the camera joins its storage session; the same as --channel: no viewers; empty: none" group:"Storage"`
	StorageLife    time.Duration `flag:"storage-life" env:"HELIOGRAPH_STORAGE_LIFE" default:"55m" help:"when to join the storage session anew, without a gap; AWS ends it after an hour"`

	ListenUDP   string        `flag:"listen-udp" env:"HELIOGRAPH_LISTEN_UDP" default:":0" help:"address of the UDP socket that all viewers share" group:"Network"`
	Interfaces  []string      `flag:"interface" env:"HELIOGRAPH_INTERFACE" default:"" help:"network interfaces whose addresses viewers are offered: names and patterns such as eth0,wlan*, or !docker* for all but those; empty: all. It counts where --listen-udp names no host"`
	Loopback    bool          `flag:"loopback" env:"HELIOGRAPH_LOOPBACK" default:"false" help:"offer loopback candidates too; always on when the endpoint is on loopback"`
	RelayOnly   bool          `flag:"relay-only" live:"true" env:"HELIOGRAPH_RELAY_ONLY" default:"false" help:"connect through TURN alone"`
	SpareRelay  bool          `flag:"spare-relay" env:"HELIOGRAPH_SPARE_RELAY" default:"true" help:"keep an allocation on the TURN server ready for the next viewer"`
	DataChannel bool          `flag:"data-channel" env:"ENABLE_SCTP_DATA_CHANNEL" default:"true" help:"accept data channels"`
	TWCC        bool          `flag:"twcc" env:"ENABLE_TWCC_SUPPORT" default:"true" help:"transport-wide congestion control feedback"`
	Consent     time.Duration `flag:"consent-timeout" env:"HELIOGRAPH_CONSENT_TIMEOUT" default:"25s" help:"how long a viewer may give no sign of life before its slot is free again"`
	Pacing      bool          `flag:"signaling-pacing" env:"HELIOGRAPH_SIGNALING_PACING" default:"true" help:"keep to AWS's limits of messages per second"`

	DataGrants   map[string][]string `flag:"data-grant" live:"true" default:"" help:"what viewers may ask for by data channel beyond the harmless: PATTERN=bitrate exec:NAME, for a pattern of client ids such as operator-*; may be repeated" group:"Data channel"`
	DataCommands map[string][]string `flag:"data-command" live:"true" default:"" help:"a program that a viewer may be granted: NAME=PROGRAM ARGUMENT, run without a shell; may be repeated"`

	Processors   int    `flag:"processors" env:"HELIOGRAPH_PROCESSORS" default:"1" help:"threads that run at the same time; one costs least, 0 = all there are" group:"Operation"`
	Admin        string `flag:"admin" env:"HELIOGRAPH_ADMIN" default:"127.0.0.1:8090" help:"loopback address of /sessions, /metrics, /readyz and /debug/pprof; empty: none"`
	PrintMetrics bool   `flag:"print-metrics" env:"METRIC_PRINT_ENABLED" default:"false" help:"print every viewer's setup phases as a table"`
	LogLevel     string `flag:"log-level" live:"true" env:"HELIOGRAPH_LOG_LEVEL,AWS_KVS_LOG_LEVEL" default:"info" help:"debug, info, warn, error, or the C SDK's 1 to 7"`
	LogFormat    string `flag:"log-format" env:"HELIOGRAPH_LOG_FORMAT" default:"auto" help:"auto, text or json"`
}

var errNoChannel = errors.New("no channel: set --channel or AWS_KVS_CHANNEL_NAME")

// nameChannel names it after the thing where it has no name, as the C SDK's samples do.
func (c *config) nameChannel() {
	if c.Channel == "" {
		c.Channel = c.IoTThing
	}
}

// device turns the settings into the device's configuration.
func (c config) device(ctx context.Context, log *zap.Logger) (device.Config, error) {
	c.nameChannel()
	switch {
	case c.Channel == "":
		return device.Config{}, errNoChannel
	case c.SourceStart != "always" && c.SourceStart != "viewer":
		return device.Config{}, errors.New("--source-start must be always or viewer")
	case c.Consent < time.Second || c.Consent > 5*time.Minute:
		return device.Config{}, errors.New("--consent-timeout must be from 1s to 5m")
	case c.StorageLife < time.Second:
		return device.Config{}, errors.New("--storage-life must be 1s or more")
	case c.Processors < 0:
		return device.Config{}, errors.New("--processors must be 1 or more, or 0 for all there are")
	}
	source, err := openSource(c, log)
	if err != nil {
		return device.Config{}, err
	}
	sink, err := openSink(c.AudioSink, log)
	if err != nil {
		return device.Config{}, err
	}
	roots, err := aws.ReadRoots(c.CAFile)
	if err != nil {
		return device.Config{}, err
	}
	clock := &aws.Clock{}
	provider, err := c.credentials(ctx, roots, clock)
	if err != nil {
		return device.Config{}, err
	}
	cfg := device.Config{
		Channel: c.Channel, NoCreate: !c.Create, Region: c.Region, ControlPlane: c.Endpoint, DualStack: c.DualStack,
		RootCAs: roots, Credentials: provider, Clock: clock, Source: source, SourceOnDemand: c.SourceStart == "viewer", ViewersMax: c.ViewersMax,
		StorageChannel: c.StorageChannel, StorageLife: c.StorageLife,
		Bitrate: device.BitrateLimits{Min: c.BitrateMin, Max: c.BitrateMax, SlewPercent: c.BitrateSlew},
		Sink:    sink, Grants: c.DataGrants, Commands: c.DataCommands,
		ListenUDP: c.ListenUDP, Interfaces: c.Interfaces, IncludeLoopback: c.Loopback || aws.OnLoopback(c.Endpoint), RelayOnly: c.RelayOnly, NoSpareRelay: !c.SpareRelay,
		NoDataChannel: !c.DataChannel, NoTWCC: !c.TWCC, ConsentTimeout: c.Consent, NoPacing: !c.Pacing, AdminListen: c.Admin, Log: log,
	}
	if c.PrintMetrics {
		cfg.PrintMetrics = os.Stdout
	}
	return cfg, nil
}

// live are the settings that may change while the device runs.
func (c config) live() *messages.Settings {
	return &messages.Settings{
		ViewersMax: c.ViewersMax, RelayOnly: c.RelayOnly, BitrateMin: c.BitrateMin, BitrateMax: c.BitrateMax, BitrateSlew: c.BitrateSlew,
		Grants: c.DataGrants, Commands: c.DataCommands,
	}
}

// credentials picks where they come from: the certificate when there is one, else AWS's chain.
func (c config) credentials(ctx context.Context, roots *x509.CertPool, clock *aws.Clock) (aws.Provider, error) {
	if c.IoTEndpoint == "" {
		return aws.DefaultChain(ctx, c.Region, c.Profile)
	}
	return aws.IoT(aws.IoTConfig{
		Endpoint: c.IoTEndpoint, RoleAlias: c.IoTRoleAlias, ThingName: c.IoTThing, CertFile: c.IoTCert, KeyFile: c.IoTKey, RootCAs: roots, Clock: clock,
	})
}
