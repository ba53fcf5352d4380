// Package messages holds every type that crosses a mailbox, one file per conversation.
//
// A message is a value or a pointer to a struct that nobody writes after it was sent. Each type
// carries a line "Path: a -> b -> c": the actors it passes, first the sender, then every actor
// whose Receive has an arm for it. A test holds the paths against those arms. Lower-case names
// that are no actor (source, peer, api, socket, backplane, admin, start) are the edges where a message
// enters.
//
// The package imports nothing of ours, so that every layer can speak it.
package messages
