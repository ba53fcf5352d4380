//go:build gst

#include "shim.h"
#include <string.h>
#include <gst/pbutils/pbutils.h>
#include <gst/video/video.h>

enum { pullTimeoutMs = 100, busTimeoutMs = 200, discoverMaxS = 5 };

int has_factory(const char *name) {
	GstElementFactory *f = gst_element_factory_find(name);
	if (f == NULL) return 0;
	gst_object_unref(f);
	return 1;
}

int has_sound(const char *path) {
	char *uri = gst_filename_to_uri(path, NULL);
	GstDiscoverer *discoverer = gst_discoverer_new(discoverMaxS * GST_SECOND, NULL);
	GstDiscovererInfo *info = uri == NULL || discoverer == NULL ? NULL : gst_discoverer_discover_uri(discoverer, uri, NULL);
	int has = 1;
	if (info != NULL && gst_discoverer_info_get_result(info) == GST_DISCOVERER_OK) {
		GList *streams = gst_discoverer_info_get_audio_streams(info);
		has = streams != NULL;
		gst_discoverer_stream_info_list_free(streams);
	}
	if (info != NULL) gst_discoverer_info_unref(info);
	if (discoverer != NULL) g_object_unref(discoverer);
	g_free(uri);
	return has;
}

GstElement *parse(const char *text, char **error, char **missing) {
	GstParseContext *context = gst_parse_context_new();
	GError *err = NULL;
	GstElement *p = gst_parse_launch_full(text, context, GST_PARSE_FLAG_FATAL_ERRORS | GST_PARSE_FLAG_PLACE_IN_BIN, &err);
	char **names = gst_parse_context_get_missing_elements(context);
	if (names != NULL) *missing = g_strjoinv(" ", names);
	g_strfreev(names);
	gst_parse_context_free(context);
	if (err != NULL) {
		*error = g_strdup(err->message);
		g_error_free(err);
		return NULL;
	}
	// PLACE_IN_BIN gives a bin for any text; a pipeline gives it clock and bus.
	GstElement *pipeline = gst_pipeline_new(NULL);
	gst_bin_add(GST_BIN(pipeline), p);
	return pipeline;
}

GstElement *by_name(GstElement *pipeline, const char *name) { return gst_bin_get_by_name(GST_BIN(pipeline), name); }

int is_appsink(GstElement *e) { return GST_IS_APP_SINK(e); }

// prepare: a live pipeline plays without waiting for every sink's first buffer; a camera may have no sound.
void prepare(GstElement *sink, const char *text, int sync) {
	GstCaps *caps = gst_caps_from_string(text);
	gst_app_sink_set_caps(GST_APP_SINK(sink), caps);
	gst_caps_unref(caps);
	g_object_set(sink, "sync", sync, "async", sync, "max-buffers", 16, "drop", FALSE, "emit-signals", FALSE, NULL);
}

// sound is where a network camera's sound goes. passed are names of RTP encodings, each before the element
// that takes them; decoded is the pipeline for all others, whose first element is named entry.
typedef struct {
	GstElement *sink;
	char **passed;
	const char *decoded;
} sound;

// add_branch adds a pipeline between a camera's pad and the sink.
static gboolean add_branch(GstPad *pad, GstElement *sink, const char *text, GError **err) {
	GstElement *branch = gst_parse_bin_from_description(text, FALSE, err);
	if (branch == NULL) return FALSE;
	GstElement *bin = GST_ELEMENT(gst_element_get_parent(sink)), *entry = gst_bin_get_by_name(GST_BIN(branch), "entry");
	GstPad *in = gst_element_get_static_pad(entry, "sink"), *out = gst_bin_find_unlinked_pad(GST_BIN(branch), GST_PAD_SRC);
	gst_element_add_pad(branch, gst_ghost_pad_new("sink", in));
	gst_element_add_pad(branch, gst_ghost_pad_new("src", out));
	gst_object_unref(out);
	gst_object_unref(in);
	gst_object_unref(entry);
	gst_bin_add(GST_BIN(bin), branch);
	gst_object_unref(bin);
	in = gst_element_get_static_pad(branch, "sink");
	gboolean linked = gst_element_link(branch, sink) && gst_element_sync_state_with_parent(branch) && gst_pad_link(pad, in) == GST_PAD_LINK_OK;
	gst_object_unref(in);
	return linked;
}

// on_pad takes the first track of sound.
static void on_pad(GstElement *camera, GstPad *pad, sound *s) {
	GstCaps *caps = gst_pad_query_caps(pad, NULL);
	const GstStructure *track = gst_caps_is_empty(caps) || gst_caps_is_any(caps) ? NULL : gst_caps_get_structure(caps, 0);
	GstPad *taken = gst_element_get_static_pad(s->sink, "sink");
	if (track != NULL && g_strcmp0(gst_structure_get_string(track, "media"), "audio") == 0 && !gst_pad_is_linked(taken)) {
		const char *encoding = gst_structure_get_string(track, "encoding-name");
		char *text = g_strdup(s->decoded);
		for (int i = 0; s->passed[i] != NULL && s->passed[i + 1] != NULL; i += 2)
			if (g_strcmp0(encoding, s->passed[i]) == 0) {
				g_free(text);
				text = g_strconcat(s->passed[i + 1], " name=entry", NULL);
			}
		GError *err = NULL;
		if (!add_branch(pad, s->sink, text, &err))
			GST_ELEMENT_ERROR(camera, STREAM, FAILED, ("cannot take the camera's sound: %s", err == NULL ? encoding : err->message), (NULL));
		g_clear_error(&err);
		g_free(text);
	}
	gst_object_unref(taken);
	gst_caps_unref(caps);
}

void hear(GstElement *camera, GstElement *sink, const char *passed, const char *decoded) {
	sound *s = g_new(sound, 1); // lives as long as the pipeline, which is for ever
	*s = (sound){sink, g_strsplit(passed, " ", -1), decoded};
	g_signal_connect(camera, "pad-added", G_CALLBACK(on_pad), s);
}

// play puts everything on the monotonic system clock, whatever clocks sound cards and servers offer.
int play(GstElement *pipeline) {
	GstClock *clock = gst_system_clock_obtain();
	g_object_set(clock, "clock-type", GST_CLOCK_TYPE_MONOTONIC, NULL);
	gst_pipeline_use_clock(GST_PIPELINE(pipeline), clock);
	gst_object_unref(clock);
	return gst_element_set_state(pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
}

static gint64 time_of(GstElement *pipeline, const GstSegment *segment, GstClockTime pts) {
	if (!GST_CLOCK_TIME_IS_VALID(pts) || segment->format != GST_FORMAT_TIME) return -1;
	guint64 running = 0;
	int sign = gst_segment_to_running_time_full(segment, GST_FORMAT_TIME, pts, &running);
	gint64 base = (gint64)gst_element_get_base_time(pipeline);
	return sign >= 0 ? base + (gint64)running : base - (gint64)running;
}

int pull(GstElement *pipeline, GstElement *sink, unit *out) {
	GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), pullTimeoutMs * GST_MSECOND);
	if (sample == NULL) return gst_app_sink_is_eos(GST_APP_SINK(sink)) ? -1 : 0;
	GstBuffer *buffer = gst_sample_get_buffer(sample);
	const char *media = gst_structure_get_name(gst_caps_get_structure(gst_sample_get_caps(sample), 0));
	static const char *codecs[] = {"video/x-h264", "video/x-h265", "audio/x-opus", "audio/x-mulaw", "audio/x-alaw"};
	out->codec = -1;
	for (int i = 0; i < (int)G_N_ELEMENTS(codecs); i++)
		if (strcmp(media, codecs[i]) == 0) out->codec = i;
	// In the order of decoding: where that is not the order of pts, pictures are out of order, and the reader says so.
	out->pts = time_of(pipeline, gst_sample_get_segment(sample), GST_BUFFER_PTS(buffer));
	gst_buffer_extract_dup(buffer, 0, -1, (gpointer *)&out->data, &out->size);
	gst_sample_unref(sample);
	return 1;
}

int wait_bus(GstElement *pipeline, char **text) {
	GstBus *bus = gst_element_get_bus(pipeline);
	GstMessage *m = gst_bus_timed_pop_filtered(bus, busTimeoutMs * GST_MSECOND, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
	gst_object_unref(bus);
	if (m == NULL) return 0;
	int kind = 2;
	if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_ERROR) {
		GError *err = NULL;
		char *debug = NULL;
		gst_message_parse_error(m, &err, &debug);
		// The last line of the debug text often says what the message leaves out.
		char *last = debug == NULL ? NULL : strrchr(debug, '\n');
		*text = g_strdup_printf("%s: %s%s%s", GST_OBJECT_NAME(m->src), err->message, last == NULL ? "" : " ", last == NULL ? "" : last + 1);
		g_error_free(err);
		g_free(debug);
		kind = 1;
	}
	gst_message_unref(m);
	return kind;
}

int rewind_to_start(GstElement *pipeline) {
	return gst_element_seek_simple(pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_KEY_UNIT, 0);
}

int set_property(GstElement *e, const char *name, const char *value) {
	if (g_object_class_find_property(G_OBJECT_GET_CLASS(e), name) == NULL) return 0;
	gst_util_set_object_arg(G_OBJECT(e), name, value);
	return 1;
}

void force_key(GstElement *encoder) {
	GstPad *pad = gst_element_get_static_pad(encoder, "src");
	if (pad == NULL) return;
	gst_pad_send_event(pad, gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0));
	gst_object_unref(pad);
}

// The clock strip along the lower edge: 32 blocks, white for 1, most significant bit first. 24 bits are
// the milliseconds of the wall clock modulo 2^24, 8 their sum over the three bytes, inverted.
enum { clockBlocks = 32 };

static GstPadProbeReturn on_picture(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
	GstElement *pipeline = data;
	GstEvent *event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
	GstCaps *caps = gst_pad_get_current_caps(pad);
	GstVideoInfo video;
	if (event == NULL || caps == NULL || !gst_video_info_from_caps(&video, caps)) return GST_PAD_PROBE_OK;
	const GstSegment *segment;
	gst_event_parse_segment(event, &segment);
	GstBuffer *buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
	GST_PAD_PROBE_INFO_DATA(info) = buffer;
	gint64 age = g_get_monotonic_time() - time_of(pipeline, segment, GST_BUFFER_PTS(buffer)) / 1000;
	guint32 ms = (guint32)((g_get_real_time() - age) / 1000) & 0xffffff;
	guint32 sum = ~((ms >> 16) + (ms >> 8) + ms) & 0xff;
	guint32 code = ms << 8 | sum;
	GstVideoFrame frame;
	if (gst_video_frame_map(&frame, &video, buffer, GST_MAP_WRITE)) {
		guint8 *luma = GST_VIDEO_FRAME_PLANE_DATA(&frame, 0);
		int stride = GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
		int side = GST_VIDEO_FRAME_WIDTH(&frame) / clockBlocks, height = GST_VIDEO_FRAME_HEIGHT(&frame);
		for (int y = height - side; y < height; y++)
			for (int i = 0; i < clockBlocks; i++)
				memset(luma + y * stride + i * side, code >> (clockBlocks - 1 - i) & 1 ? 235 : 16, side);
		for (int plane = 1; plane < 3; plane++) // no colour under it
			for (int y = (height - side) / 2; y < height / 2; y++)
				memset((guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, plane) + y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, plane), 128, side * clockBlocks / 2);
		gst_video_frame_unmap(&frame);
	}
	gst_caps_unref(caps);
	gst_event_unref(event);
	return GST_PAD_PROBE_OK;
}

int draw_clock(GstElement *pipeline, GstElement *e) {
	GstPad *pad = gst_element_get_static_pad(e, "src");
	if (pad == NULL) return 0;
	gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_picture, pipeline, NULL);
	gst_object_unref(pad);
	return 1;
}
