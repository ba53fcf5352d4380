// What Go needs of GStreamer, in functions that neither take nor give a GObject type by macro. Strings
// returned are the caller's to free with g_free.

#include <gst/gst.h>
#include <gst/app/gstappsink.h>

typedef struct {
	guint8 *data;
	gsize size;
	gint64 pts; // CLOCK_MONOTONIC, nanoseconds; negative: the buffer has no time
	int codec;  // its place in unitCodecs, from 0; negative: another one
} unit;

int has_factory(const char *name);
int has_sound(const char *path); // 0: the movie has none; 1: it has, or nobody can tell
GstElement *parse(const char *text, char **error, char **missing);
GstElement *by_name(GstElement *pipeline, const char *name);
int is_appsink(GstElement *e);
void prepare(GstElement *sink, const char *caps, int sync);
void hear(GstElement *camera, GstElement *sink, const char *passed, const char *decoded);
int play(GstElement *pipeline);
int pull(GstElement *pipeline, GstElement *sink, unit *out); // 1: a unit, 0: none yet, -1: end of the stream
int wait_bus(GstElement *pipeline, char **text);             // 0: nothing, 1: error, 2: end of the stream
int rewind_to_start(GstElement *pipeline);
int set_property(GstElement *e, const char *name, const char *value);
void force_key(GstElement *encoder);
int draw_clock(GstElement *pipeline, GstElement *e);
