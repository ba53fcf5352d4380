// Package e2e holds the engine against clients that are not ours: Chromium on the viewer page, the official
// JavaScript WebRTC SDK as a viewer, and the official AWS SDK for JavaScript on the control plane and the
// storage session's API, one row per call (conformance_test.go, storage_test.go). All three are
// unmodified. The tests need Chromium, Node.js and the packages of package-lock.json:
//
//	cd bench/e2e && npm ci && go test -tags e2e .
//
// What is missing skips a test on a developer's machine and fails it where CI=true.
package e2e
