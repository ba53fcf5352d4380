// Package tidy holds the project's style as tests: they read the tree and fail with the reason when
// a rule of the design is broken. `make lint` runs them.
//
// Each check is a function from a tree to findings, "file:line: what is wrong: why it is a rule".
// Beside its run over the real tree each has a test over small trees in memory that it must find
// fault with, so that no check can rot into one that finds nothing.
package tidy
