#!/usr/bin/env bash
# The archives behind `make dist`: dist/heliograph-VERSION-linux-ARCH.tar.gz with the static programs, their
# unit files and documents, and dist/SHA256SUMS. The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1 ldflags=$2
documents=(LICENSE README.md deploy/recipes.md deploy/faults.md)
units=(deploy/heliograph-device.service deploy/heliograph-server.service deploy/device.yaml)
epoch=$(git log -1 --format=%ct)

rm -rf dist
for platform in amd64 arm64 arm; do
	name=heliograph-$version-linux-${platform/%arm/armv7}
	echo "dist: $name"
	mkdir -p "dist/$name/bin"
	GOOS=linux GOARCH=$platform GOARM=7 CGO_ENABLED=0 ${GO:-go} build -trimpath -buildvcs=false -ldflags "$ldflags" -o "dist/$name/bin/" ./cmd/...
	cp "${documents[@]}" "${units[@]}" "dist/$name/"
	tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
		-C dist -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
	rm -rf "dist/${name:?}"
done
cd dist && sha256sum ./*.tar.gz | sed 's| \./| |' | tee SHA256SUMS
