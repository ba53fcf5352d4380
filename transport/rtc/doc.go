// Package rtc is the device's end of a viewer's peer connection, on pion.
//
// An Engine holds what all viewers share: certificate, codecs, UDP sockets. Engine.Answer turns one
// SDP offer into a Peer and an answer. From then on the owner of the Peer reads its events with
// Read, pumps its RTCP with ReadReports, and sends frames with WriteFrame. Packetizer splits an
// access unit once for all viewers; WriteFrame puts this viewer's RTP header before each payload and
// seals and sends a frame in few system calls (batch.go, sealer.go). NACKs are answered from the shared frames (history.go).
//
// The package starts no goroutine. pion's call-backs put events into a bounded queue and wait when
// it is full; Close releases them.
package rtc
