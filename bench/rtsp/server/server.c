// A network camera: GStreamer's RTSP server with one pipeline, at rtsp://127.0.0.1:PORT/camera.
//
//	server PORT PIPELINE     PORT 0: any that is free; PIPELINE: its payloaders are named pay0, pay1
//
// It prints its port when it serves, and ends with its input.

#include <stdio.h>
#include <unistd.h>
#include <gst/rtsp-server/rtsp-server.h>

static gboolean on_input(GIOChannel *input, GIOCondition condition, gpointer loop) {
	char byte;
	if (read(STDIN_FILENO, &byte, 1) > 0) return G_SOURCE_CONTINUE;
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

int main(int argc, char **argv) {
	gst_init(NULL, NULL);
	if (argc != 3) {
		fprintf(stderr, "usage: %s PORT PIPELINE\n", argv[0]);
		return 2;
	}
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	GstRTSPServer *server = gst_rtsp_server_new();
	gst_rtsp_server_set_address(server, "127.0.0.1");
	gst_rtsp_server_set_service(server, argv[1]);
	GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();
	gst_rtsp_media_factory_set_launch(factory, argv[2]);
	gst_rtsp_media_factory_set_shared(factory, TRUE);
	GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server);
	gst_rtsp_mount_points_add_factory(mounts, "/camera", factory);
	g_object_unref(mounts);
	if (gst_rtsp_server_attach(server, NULL) == 0) {
		fprintf(stderr, "cannot listen on port %s\n", argv[1]);
		return 1;
	}
	g_io_add_watch(g_io_channel_unix_new(STDIN_FILENO), G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, loop);
	printf("%d\n", gst_rtsp_server_get_bound_port(server));
	fflush(stdout);
	g_main_loop_run(loop);
	return 0;
}
