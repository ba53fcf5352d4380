# Heliograph. `make` lists the targets; they need Go, make and git, `e2e` also node and chromium, `gst` GStreamer.

GO         ?= go
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
SETTINGS   := github.com/heliograph-rtc/heliograph/cmd/internal/settings
LDFLAGS    := -s -w -X $(SETTINGS).version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEVICES    := linux/arm64 linux/arm darwin/arm64 windows/amd64
GOFILES     = $(shell git ls-files --cached --others --exclude-standard -- '*.go')

ARM_TESTS  := ./media/... ./transport/rtc ./transport/aws ./transport/signaling ./actors ./actors/device

# What the user may set: `make fuzz FUZZTIME=1m`, `make load ARGS="--viewers 20 --rtt 40ms"`.
FUZZTIME ?= 10s
ARGS     ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every program into bin/ (static, no cgo)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# heliograph-gst links Debian's GStreamer (1.22 or later), so it is no part of build. GST is empty without it.
GST = $(shell pkg-config --exists gstreamer-app-1.0 gstreamer-pbutils-1.0 gstreamer-video-1.0 2>/dev/null && echo gst)

.PHONY: gst
gst: ## build heliograph-gst, the sources that need GStreamer, into bin/
	@[ -n "$(GST)" ] || { echo 'gst: GStreamer is missing: apt install gcc pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev'; exit 1; }
	@mkdir -p bin
	CGO_ENABLED=1 $(GO) build -tags gst -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/heliograph-gst

.PHONY: run
run: build ## start service and device on loopback; open the address it prints
	@exec deploy/run.sh

# The race detector needs a C compiler; compiling runtime/cgo is the exact question.
RACE = $(shell CGO_ENABLED=1 $(GO) build -race runtime/cgo >/dev/null 2>&1 && echo -race)

.PHONY: test
test: ## run the tests, with the race detector where a C compiler is present
	@race='$(RACE)'; \
	if [ -n "$$race" ]; then echo 'test: with the race detector'; export CGO_ENABLED=1; \
	else echo 'test: WITHOUT the race detector, for lack of a C compiler (gcc)'; fi; \
	$(GO) test $$race -timeout 15m ./... && \
	if [ -n "$(GST)" ]; then CGO_ENABLED=1 $(GO) test -tags gst -timeout 5m ./cmd/heliograph-gst; \
	else echo 'test: WITHOUT heliograph-gst, for lack of GStreamer'; fi

NODE_STAMP := bench/e2e/node_modules/.package-lock.json

$(NODE_STAMP): bench/e2e/package-lock.json
	cd bench/e2e && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: e2e
e2e: $(NODE_STAMP) ## run the browser and SDK tests (headless chromium, node)
	$(GO) test -tags e2e -count=1 -timeout 15m ./bench/e2e/...

.PHONY: lint
lint: ## check format, vet, staticcheck, go.mod, the project's own rules, device builds
	@bad=$$(gofmt -l $(GOFILES)); [ -z "$$bad" ] || { echo "lint: not formatted, run gofmt -w on:"; echo "$$bad"; exit 1; }
	@$(GO) vet -tags e2e ./...
	@$(GO) run $(STATICCHECK) -tags e2e ./...
	@[ -z "$(GST)" ] || $(GO) vet -tags gst ./cmd/heliograph-gst
	@$(GO) mod tidy -diff || { echo 'lint: go.mod or go.sum is not tidy, run go mod tidy'; exit 1; }
	@out=$$($(GO) test -count=1 ./cmd/internal/tidy 2>&1) || { echo "$$out"; exit 1; }
	@for platform in $(DEVICES); do \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} GOARM=7 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/heliograph-device \
			|| { echo "lint: the device does not build for $$platform"; exit 1; }; \
	done

.PHONY: load
load: build ## ten viewers against a service and device of its own; ARGS adds flags
	@bin/heliograph-load --embedded $(ARGS)

.PHONY: bench
bench: build ## what service and device cost, next to baselines; ARGS replaces --quick
	@bin/heliograph-bench all $(or $(ARGS),--quick)

.PHONY: readme
readme: build ## write the README's table of what was measured anew, from bench/results
	bin/heliograph-bench table bench/results --into README.md

# Both builds differ in the profile alone and take turns in one run: ratio is what the build without
# costs, divided by what the one with it does. PGO is the profile; ARGS shortens the run (--quick).
PGO ?= .run/pgo/merged.pb.gz

.run/pgo/merged.pb.gz: | build
	bin/heliograph-bench fanout --modes burst,paced-reference --profile .run/pgo $(ARGS) || [ -f $@ ]

.PHONY: pgo
pgo: build $(PGO) ## rebuild with the profile of fanout, and show before and after in one interleaved run
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -pgo=off -o bin/pgo/before ./cmd/heliograph-bench
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -pgo=$(PGO) -o bin/pgo/after ./cmd/heliograph-bench
	bin/pgo/after fanout --modes burst,paced-reference --viewers 10 --against bin/pgo/before $(ARGS)

.PHONY: micro
micro: ## run the micro-benchmarks of kernel and transport
	$(GO) test -run '^$$' -bench . -benchmem ./actors/... ./transport/...

# Without minimizing, which eats the time of a short run. Go before 1.27 may fail a run when its time is
# up (go.dev/issue/75804): an end in "context deadline exceeded" without a failing input is a pass.
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@git grep --untracked -E '^func Fuzz[A-Za-z0-9_]*\(' -- '*_test.go' | while IFS=: read -r file line; do \
		name=$${line#func }; name=$${name%%(*}; \
		printf 'fuzz: %s in %s: ' "$$name" "$${file%/*}"; \
		out=$$($(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 0x "./$${file%/*}" 2>&1 </dev/null) || \
		case $$out in \
			*'Failing input'*) echo "$$out"; exit 1 ;; \
			*'context deadline exceeded'*) ;; \
			*) echo "$$out"; exit 1 ;; \
		esac; \
		echo "$$out" | grep -o 'execs: [0-9]*' | tail -n 1; \
	done

.PHONY: dist
dist: ## release archives for linux amd64, arm64 and armv7 in dist/
	@GO='$(GO)' deploy/dist.sh '$(VERSION)' '$(LDFLAGS)'

.PHONY: test-arm64
test-arm64: ## run the tests of media, transport and actors as a 64-bit ARM board would, under qemu-user
	TEST_EMULATOR=qemu-aarch64-static GOARCH=arm64 CGO_ENABLED=0 $(GO) test -exec qemu-aarch64-static -timeout 10m $(ARM_TESTS)

.PHONY: bench-arm64
bench-arm64: ## one static heliograph-bench for 64-bit ARM boards, with service and sample within: dist/heliograph-bench-arm64
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/heliograph-bench-arm64 ./cmd/heliograph-bench

.PHONY: bench-armv7
bench-armv7: ## the same for 32-bit ARM: dist/heliograph-bench-armv7
	CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=7 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/heliograph-bench-armv7 ./cmd/heliograph-bench

.PHONY: clean
clean: ## remove what build, run, dist and e2e left
	rm -rf bin dist .run bench/e2e/node_modules bench/e2e/out
