#!/usr/bin/env bash
# The demonstration behind `make run`: service and device on loopback with the built-in sample, until
# Ctrl-C. Ports and the data folder may be set: HTTP_PORT, HTTPS_PORT, ADMIN_PORT, RUN_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."

http=${HTTP_PORT:-8080} https=${HTTPS_PORT:-8443} admin=${ADMIN_PORT:-8090} dir=${RUN_DIR:-.run}
server='' device=''

# finish stops what was started, the device first, so that its viewers and the service hear of it.
finish() {
	trap - EXIT INT TERM
	for pid in $device $server; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}
trap finish EXIT
trap 'exit 0' INT TERM

# start runs a program in a process group of its own, so that Ctrl-C reaches this script alone, which
# stops both in order: log, program, arguments.
start() {
	set -m
	"${@:2}" >"$1" 2>&1 </dev/null &
	set +m
}

# fail shows the end of a log.
fail() {
	printf '%s; the end of %s:\n' "$1" "$2" >&2
	tail -n 20 "$2" >&2
	exit 1
}

# ready asks a door's /readyz, with bash alone, for not every machine has curl.
ready() {
	{ exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
	printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
	local status=''
	read -r -t 3 status <&3 || true
	exec 3<&- 3>&-
	[[ $status == *' 200 '* ]]
}

# await waits for a door: name, process, port, log.
await() {
	for ((i = 0; i < 300; i++)); do
		kill -0 "$2" 2>/dev/null || fail "the $1 ended" "$4"
		ready "$3" && return
		sleep 0.1
	done
	fail "the $1 is not ready after 30 s" "$4"
}

mkdir -p "$dir"
start "$dir/server.log" bin/heliograph-server --data-dir "$dir" --public "127.0.0.1:$https" --local "127.0.0.1:$http"
server=$!
await service "$server" "$http" "$dir/server.log"

source "$dir/env"
start "$dir/device.log" bin/heliograph-device --channel demo --admin "127.0.0.1:$admin"
device=$!
await device "$device" "$admin" "$dir/device.log"

printf '\n  page: http://localhost:%s/\n  logs: %s/server.log %s/device.log\n  Ctrl-C ends both\n\n' "$http" "$dir" "$dir"
while kill -0 "$server" 2>/dev/null; do
	kill -0 "$device" 2>/dev/null || fail 'the device ended' "$dir/device.log"
	sleep 1
done
fail 'the service ended' "$dir/server.log"
