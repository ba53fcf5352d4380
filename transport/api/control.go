package api

// The signed operations of the control plane and GetIceServerConfig (kvs-protocol.md 1.4, 2.1).
// Members stand in alphabetical order, as AWS sends them: two C parsers depend on the first key (7.4).

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// operations are the signed doors by path; case matters (kvs-protocol.md 1.2).
func (d *doors) operations() map[string]http.Handler {
	all := map[string]http.Handler{
		"/createSignalingChannel":        signed(d, d.createChannel),
		"/describeSignalingChannel":      signed(d, d.describeChannel),
		"/listSignalingChannels":         signed(d, d.listChannels),
		"/updateSignalingChannel":        signed(d, d.updateChannel),
		"/deleteSignalingChannel":        signed(d, d.deleteChannel),
		"/getSignalingChannelEndpoint":   signed(d, d.channelEndpoint),
		"/v1/get-ice-server-config":      signed(d, d.iceServers),
		"/v1/send-alexa-offer-to-master": signedFor(d, alexaWait, d.refuse, d.alexaOffer),
	}
	maps.Copy(all, d.resourceOperations())
	maps.Copy(all, d.streamOperations())
	maps.Copy(all, d.storageOperations())
	return all
}

type singleMaster struct {
	MessageTtlSeconds *int
}

func (c *singleMaster) validate() error {
	if c != nil && c.MessageTtlSeconds != nil && (*c.MessageTtlSeconds < messageTTLMinS || *c.MessageTtlSeconds > messageTTLMaxS) {
		return invalid("MessageTtlSeconds must lie between %d and %d", messageTTLMinS, messageTTLMaxS)
	}
	return nil
}

// ttl is zero when it is not given.
func (c *singleMaster) ttl() time.Duration {
	if c == nil || c.MessageTtlSeconds == nil {
		return 0
	}
	return time.Duration(*c.MessageTtlSeconds) * time.Second
}

type createInput struct {
	ChannelName               string
	ChannelType               string
	SingleMasterConfiguration *singleMaster
	Tags                      []tag
}

func (in *createInput) validate() error {
	if err := checkName(in.ChannelName); err != nil {
		return err
	}
	if in.ChannelType != "" && in.ChannelType != "SINGLE_MASTER" {
		return invalid("ChannelType must be SINGLE_MASTER")
	}
	return first(in.SingleMasterConfiguration.validate(), checkTags(tagMap(in.Tags)))
}

func (d *doors) createChannel(r *http.Request, in *createInput) (any, error) {
	m := &messages.CreateChannel{Name: in.ChannelName, MessageTTL: in.SingleMasterConfiguration.ttl(), Tags: tagMap(in.Tags)}
	info, err := d.Backend.CreateChannel(r.Context(), m)
	if err != nil {
		return nil, err
	}
	return struct{ ChannelARN string }{info.ARN}, nil
}

type describeInput struct {
	ChannelARN  string
	ChannelName string
}

func (in *describeInput) validate() error {
	if (in.ChannelARN == "") == (in.ChannelName == "") {
		return invalid("Either ChannelName or ChannelARN must be given")
	}
	if in.ChannelARN != "" {
		return checkARN(in.ChannelARN)
	}
	return checkName(in.ChannelName)
}

// channelInfo is ChannelInfo on the wire.
type channelInfo struct {
	ChannelARN                string
	ChannelName               string
	ChannelStatus             string
	ChannelType               string
	CreationTime              json.Number // epoch seconds, fractional
	SingleMasterConfiguration struct{ MessageTtlSeconds int }
	Version                   string
}

func wireInfo(c *messages.ChannelInfo) channelInfo {
	info := channelInfo{
		ChannelARN: c.ARN, ChannelName: c.Name, ChannelStatus: c.Status, ChannelType: c.Type,
		CreationTime: wireTime(c.Created), Version: c.Version,
	}
	info.SingleMasterConfiguration.MessageTtlSeconds = int(c.MessageTTL / time.Second)
	return info
}

func (d *doors) describeChannel(r *http.Request, in *describeInput) (any, error) {
	info, err := d.Backend.DescribeChannel(r.Context(), &messages.DescribeChannel{ARN: in.ChannelARN, Name: in.ChannelName})
	if err != nil {
		return nil, err
	}
	return struct{ ChannelInfo channelInfo }{wireInfo(info)}, nil
}

type listInput struct {
	ChannelNameCondition *nameCondition
	MaxResults           *int
	NextToken            string
}

func (in *listInput) validate() error {
	return checkPage(in.MaxResults, in.NextToken, in.ChannelNameCondition)
}

type nameCondition struct{ ComparisonOperator, ComparisonValue string }

func checkPage(max *int, token string, c *nameCondition) error {
	if max != nil && (*max < 1 || *max > listMax) {
		return invalid("MaxResults must lie between 1 and %d", listMax)
	}
	if len(token) > tokenCharsMax || !tokenPattern.MatchString(token) {
		return invalid("NextToken is none that this operation gave out")
	}
	if c != nil {
		if c.ComparisonOperator != "" && c.ComparisonOperator != "BEGINS_WITH" {
			return invalid("ComparisonOperator must be BEGINS_WITH")
		}
		return checkText("ComparisonValue", c.ComparisonValue, channelNameCharsMax, channelNamePattern)
	}
	return nil
}

// pageOf reads what a page is to hold. A token is the last name of the page before.
func pageOf(wanted *int, token string, c *nameCondition, byDefault int) (max int, prefix, after string, err error) {
	if max = byDefault; wanted != nil {
		max = *wanted
	}
	if c != nil {
		prefix = c.ComparisonValue
	}
	last, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		err = invalid("NextToken is none that this operation gave out")
	}
	return max, prefix, string(last), err
}

func (d *doors) listChannels(r *http.Request, in *listInput) (any, error) {
	max, prefix, after, err := pageOf(in.MaxResults, in.NextToken, in.ChannelNameCondition, listDefault)
	if err != nil {
		return nil, err
	}
	m := &messages.ListChannels{Prefix: prefix, After: after, Max: max}
	page, err := d.Backend.ListChannels(r.Context(), m)
	if err != nil {
		return nil, err
	}
	out := struct {
		ChannelInfoList []channelInfo
		NextToken       string `json:",omitempty"`
	}{ChannelInfoList: make([]channelInfo, 0, len(page.Channels))}
	for i := range page.Channels {
		out.ChannelInfoList = append(out.ChannelInfoList, wireInfo(&page.Channels[i]))
	}
	if page.More {
		out.NextToken = base64.StdEncoding.EncodeToString([]byte(page.Channels[len(page.Channels)-1].Name))
	}
	return out, nil
}

type updateInput struct {
	ChannelARN                string
	CurrentVersion            string
	SingleMasterConfiguration *singleMaster
}

func (in *updateInput) validate() error {
	return first(checkARN(in.ChannelARN), checkVersion(in.CurrentVersion), in.SingleMasterConfiguration.validate())
}

func (d *doors) updateChannel(r *http.Request, in *updateInput) (any, error) {
	return struct{}{}, d.Backend.UpdateChannel(r.Context(), &messages.UpdateChannel{
		ARN: in.ChannelARN, Version: in.CurrentVersion, MessageTTL: in.SingleMasterConfiguration.ttl(),
	})
}

type deleteInput struct {
	ChannelARN     string
	CurrentVersion string
}

func (in *deleteInput) validate() error {
	return first(checkARN(in.ChannelARN), optional("CurrentVersion", in.CurrentVersion, versionCharsMax, versionPattern))
}

func (d *doors) deleteChannel(r *http.Request, in *deleteInput) (any, error) {
	err := d.Backend.DeleteChannel(r.Context(), &messages.DeleteChannel{ARN: in.ChannelARN, Version: in.CurrentVersion})
	return struct{}{}, err
}

type endpointInput struct {
	ChannelARN                               string
	SingleMasterChannelEndpointConfiguration *struct {
		Protocols []string
		Role      string
	}
}

func (in *endpointInput) validate() error {
	if err := checkARN(in.ChannelARN); err != nil {
		return err
	}
	c := in.SingleMasterChannelEndpointConfiguration
	if c == nil {
		return nil
	}
	if c.Role != "" && c.Role != "MASTER" && c.Role != "VIEWER" {
		return invalid("Role must be MASTER or VIEWER")
	}
	if c.Protocols != nil && (len(c.Protocols) < 1 || len(c.Protocols) > 5) {
		return invalid("Protocols must have 1 to 5 items")
	}
	for _, p := range c.Protocols {
		if p != "WSS" && p != "HTTPS" && p != "WEBRTC" {
			return invalid("Protocols must be of WSS, HTTPS, WEBRTC")
		}
	}
	return nil
}

type endpoint struct {
	Protocol         string
	ResourceEndpoint string
}

// channelEndpoint names this very host for both roles: whether X-Amz-ClientId is there tells a
// viewer from a master (kvs-protocol.md 3.1). Unknown protocols break a C parser, so exactly what
// was asked for goes back (7.4).
func (d *doors) channelEndpoint(r *http.Request, in *endpointInput) (any, error) {
	protocols, role := []string{"HTTPS", "WSS"}, ""
	if c := in.SingleMasterChannelEndpointConfiguration; c != nil {
		role = c.Role
		if c.Protocols != nil {
			protocols = slices.Compact(slices.Sorted(slices.Values(c.Protocols)))
		}
	}
	m := &messages.EndpointWanted{ARN: in.ChannelARN, Storage: slices.Contains(protocols, "WEBRTC")}
	if err := d.Backend.Endpoint(r.Context(), m); err != nil {
		return nil, err
	}
	host, err := d.endpointHost(r)
	if err != nil {
		return nil, err
	}
	var out struct{ ResourceEndpointList []endpoint }
	for _, p := range protocols {
		scheme := strings.ToLower(p)
		if p == "WEBRTC" {
			scheme = "https"
		}
		if d.Names.On() {
			host = d.Names.Endpoint(p, role, d.Names.DualStack(r.Host))
		}
		out.ResourceEndpointList = append(out.ResourceEndpointList, endpoint{p, scheme + "://" + host})
	}
	return out, nil
}

var hostPattern = regexp.MustCompile(`^([a-zA-Z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?$`)

// endpointHost is the configured public name or the Host of the request, which its signature
// covers. A written :443 goes: browsers drop it from Host and would break the signature.
func (d *doors) endpointHost(r *http.Request) (string, error) {
	host := r.Host
	if d.PublicURL != "" {
		host = d.PublicURL
	}
	if !hostPattern.MatchString(host) {
		return "", invalid("The Host header is not a host name with an optional port")
	}
	if name, port, err := net.SplitHostPort(host); err == nil && port == "443" && !strings.Contains(name, ":") {
		host = name
	}
	return host, nil
}

type iceInput struct {
	ChannelARN string
	ClientId   string
	Service    string
	Username   string
}

func (in *iceInput) validate() error {
	if in.Service != "" && in.Service != "TURN" {
		return invalid("Service must be TURN")
	}
	if in.ClientId != "" && !signalingID(in.ClientId) {
		return invalid("ClientId must have 1 to 256 characters of [a-zA-Z0-9_.-]")
	}
	if in.Username != "" && !signalingID(in.Username) {
		return invalid("Username must have 1 to 256 characters of [a-zA-Z0-9_.-]")
	}
	return checkARN(in.ChannelARN)
}

// signalingID is the pattern of ClientId and Username here, which does allow AWS_ (kvs-protocol.md 2.1).
func signalingID(s string) bool {
	return len(s) <= channelNameCharsMax && channelNamePattern.MatchString(s)
}

type iceServer struct {
	Password string
	Ttl      int
	Uris     []string
	Username string
}

func (d *doors) iceServers(r *http.Request, in *iceInput) (any, error) {
	client := in.ClientId
	if client == "" {
		client = in.Username
	}
	servers, err := d.Backend.TurnServers(r.Context(), &messages.TurnWanted{ChannelARN: in.ChannelARN, ClientID: client, DualStack: d.Names.DualStack(r.Host)})
	if err != nil {
		return nil, err
	}
	out := struct{ IceServerList []iceServer }{[]iceServer{}}
	for _, t := range servers.Turn {
		out.IceServerList = append(out.IceServerList, iceServer{t.Password, int(servers.TTL / time.Second), t.URLs, t.Username})
	}
	return out, nil
}
