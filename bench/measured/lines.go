package measured

// lines are what the README tells, in its order.
var lines = []line{
	{"fanout", "sender's CPU per packet in bursts, 10 viewers / 50",
		"{fanout mode=burst variant=heliograph viewers=10 cpu_us_per_packet us} / {fanout mode=burst variant=heliograph viewers=50 cpu_us_per_packet us} us",
		"{fanout mode=burst variant=pion viewers=10 cpu_us_per_packet us} / {fanout mode=burst variant=pion viewers=50 cpu_us_per_packet us} us"},
	{"fanout", "sender's CPU per second, 1080p30 at 4 Mbit/s with sound, 10 viewers / 50",
		"{fanout mode=paced-1080p variant=heliograph viewers=10 cpu_s_per_s ms} / {fanout mode=paced-1080p variant=heliograph viewers=50 cpu_s_per_s ms} ms",
		"{fanout mode=paced-1080p variant=pion viewers=10 cpu_s_per_s ms} / {fanout mode=paced-1080p variant=pion viewers=50 cpu_s_per_s ms} ms"},
	{"fanout", "viewers of that stream per core, by the growth of its CPU from 1 to 100 viewers",
		"{fanout heliograph_viewers_per_core n}", "{fanout pion_viewers_per_core n}"},
	{"fanout", "sender's CPU per second, 720p25 at 325 kbit/s with sound, none / one viewer / 10",
		"{fanout mode=paced-reference variant=heliograph viewers=0 cpu_s_per_s ms} / {fanout mode=paced-reference variant=heliograph viewers=1 cpu_s_per_s ms} / {fanout mode=paced-reference variant=heliograph viewers=10 cpu_s_per_s ms} ms",
		"{fanout mode=paced-reference variant=pion viewers=0 cpu_s_per_s ms} / {fanout mode=paced-reference variant=pion viewers=1 cpu_s_per_s ms} / {fanout mode=paced-reference variant=pion viewers=10 cpu_s_per_s ms} ms"},
	{"model", "instructions in user space, for a viewer more: a picture of {model work=picture packets n} packets / of them AES-GCM; a packet of sound",
		"{model work=picture instructions n} / {model work=picture aes_instructions n}; {model work=sound instructions n}", ""},
	{"model", "what the model says of bursts to fifty viewers, by what they take (1: it is right); viewers of 1080p30 per core by the model",
		"{model burst_predicted_by_measured n.2}; {model viewers_per_core n}", ""},
	{"fanout --against", "a round of tuning (above), the build before / after it: allocations per packet in bursts to one viewer, of 1080p30 to ten; CPU per packet likewise",
		"{tuning mode=burst variant=against viewers=1 allocs_per_packet n.1} / {tuning mode=burst variant=heliograph viewers=1 allocs_per_packet n.1}, " +
			"{tuning mode=paced-1080p variant=against viewers=10 allocs_per_packet n.1} / {tuning mode=paced-1080p variant=heliograph viewers=10 allocs_per_packet n.1}; " +
			"{tuning mode=burst variant=against viewers=1 cpu_us_per_packet us} / {tuning mode=burst variant=heliograph viewers=1 cpu_us_per_packet us}, " +
			"{tuning mode=paced-1080p variant=against viewers=10 cpu_us_per_packet us} / {tuning mode=paced-1080p variant=heliograph viewers=10 cpu_us_per_packet us} us", ""},
	{"setup", "offer to first decodable key frame, RTT 0: one viewer p50, ten at once p50 / worst",
		"{setup path=direct arrive=one rtt_s=0 first_key_frame_p50_s ms}, {setup path=direct arrive=at_once viewers=10 limits=lifted rtt_s=0 first_key_frame_p50_s ms} / {setup path=direct arrive=at_once viewers=10 limits=lifted rtt_s=0 first_key_frame_max_max_s ms} ms", ""},
	{"setup", "RTT 20 ms: ten at once p50 / worst, ten staggered p50 / worst",
		"{setup path=direct arrive=at_once viewers=10 limits=lifted rtt_s=0.02 first_key_frame_p50_s ms} / {setup path=direct arrive=at_once viewers=10 limits=lifted rtt_s=0.02 first_key_frame_max_max_s ms}, {setup path=direct arrive=staggered viewers=10 rtt_s=0.02 first_key_frame_p50_s ms} / {setup path=direct arrive=staggered viewers=10 rtt_s=0.02 first_key_frame_max_max_s ms} ms", ""},
	{"setup", "the same ten at once where AWS's limits hold (5 answers a second): p50 / worst",
		"{setup path=direct arrive=at_once limits=AWS first_key_frame_p50_s ms} / {setup path=direct arrive=at_once limits=AWS first_key_frame_max_max_s ms} ms", ""},
	{"setup", "RTT 50 ms, RTT 100 ms: one viewer p50",
		"{setup path=direct arrive=one rtt_s=0.05 first_key_frame_p50_s ms}, {setup path=direct arrive=one rtt_s=0.1 first_key_frame_p50_s ms} ms", ""},
	{"setup", "through TURN alone, RTT 0, ten at once: p95", "{setup path=relay arrive=at_once viewers=10 limits=lifted rtt_s=0 first_key_frame_p95_s ms} ms", ""},
	{"latency", "capture to complete picture, ten viewers: the sample p50 / p99",
		"{latency run=sample part=plain viewers=10 latency_p50_s ms} / {latency run=sample part=plain viewers=10 latency_p99_s ms} ms", ""},
	{"latency", "1080p30 at 4 Mbit/s p50 / p99, where a key frame of 100 packets goes out in two turns",
		"{latency run=1080p part=plain viewers=10 latency_p50_s ms} / {latency run=1080p part=plain viewers=10 latency_p99_s ms} ms", ""},
	{"storage", "ten streams of 1080p30 recorded, CPU per second and stream: by the service / by its recorder alone, from plain RTP / by `ffmpeg -c copy`, from the same",
		"{storage variant=heliograph cpu_s_per_stream_s ms} / {storage variant=recorder cpu_s_per_stream_s ms} / {storage variant=ffmpeg cpu_s_per_stream_s ms} ms", ""},
	{"storage", "bytes on disk per second and stream, likewise; files that ffmpeg decodes without a word",
		"{storage variant=heliograph disk_bytes_per_stream_s kB} / {storage variant=recorder disk_bytes_per_stream_s kB} / {storage variant=ffmpeg disk_bytes_per_stream_s kB} kB; " +
			"{storage variant=heliograph files_valid n} of {storage variant=heliograph files n}", ""},
	{"mailbox", "ten viewers' 34 candidates at once, 20 times: lost of {mailbox load=crowd kind=heliograph sent n} by our mailbox / by the POSIX message queue of 10 that drops",
		"{mailbox load=crowd kind=heliograph dropped n} / {mailbox load=crowd kind=mqueue policy=refuse dropped n}", ""},
	{"churn", "{churn when=after joins n} joins and leaves: goroutines, files, peer connections, mailboxes, heap; before / after",
		"{churn when=before goroutines n}, {churn when=before open_files n}, {churn when=before peer_connections n}, {churn when=before mailboxes n}, {churn when=before heap_bytes MB.1} MB / " +
			"{churn when=after goroutines n}, {churn when=after open_files n}, {churn when=after peer_connections n}, {churn when=after mailboxes n}, {churn when=after heap_bytes MB.1} MB", ""},
	{"soak", "{soak joins n} joins and leaves beside six viewers that stay, and nothing grows: frames dropped / packets lost of those six",
		"{soak frames_dropped n} / {soak packets_lost n}", ""},
	{"camera", "CPU per second: test picture 720p30 encoded (x264) and sent to ten viewers / the same GStreamer pipeline alone, to nobody",
		"{camera mode=encode variant=heliograph cpu_s_per_s ms} / {camera mode=encode variant=gst-launch cpu_s_per_s ms} ms", ""},
	{"camera", "the device's share with ten viewers of 720p30: RTSP passed through / the sample",
		"{camera mode=rtsp variant=heliograph cpu_s_per_s ms} / {camera mode=rtsp variant=sample cpu_s_per_s ms} ms", ""},
	{"footprint", "memory (RSS) of the daemon, a file of {footprint binary_bytes MB} MB: idle / one viewer / ten; of it without the pages of that file",
		"{footprint state=idle rss_bytes MB} / {footprint state=one_viewer rss_bytes MB} / {footprint state=ten_viewers rss_bytes MB} MB; " +
			"{footprint state=idle private_rss_bytes MB} / {footprint state=one_viewer private_rss_bytes MB} / {footprint state=ten_viewers private_rss_bytes MB} MB", ""},
}
