#!/bin/sh
# What an aarch64 program needs beside its kernel: Debian bookworm's Python 3.11, and the wheels that the agent wants.
# usage: userland.sh TARGET PYTHON
#
# Packages and wheels are only unpacked: no arm64 program runs, nothing is installed here, no root is needed. The archive
# is the one that this machine's own apt is set up with, the wheels come from where pip of PYTHON gets its own.
set -eu
target=$1 python=$2
constraints=$(dirname "$0")/../../.ci/constraints.txt

# An apt of its own beside this machine's: another architecture, and nothing installed yet.
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
: > "$apt/status"
private_apt() {
  apt-get -q -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" \
    -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Install-Recommends=0 -o APT::Sandbox::User= \
    -o Acquire::Languages=none -o Debug::NoLocking=1 "$@"
}
private_apt update
private_apt install -y --download-only python3.11 libstdc++6
mkdir -p "$target"
for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$target"; done

# 2_34 is tflite-runtime's tag; pip takes each tag literally, so the older ones have to be named too.
"$python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" --only-binary :all: \
  --python-version 3.11 --implementation cp --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
  --platform manylinux2014_aarch64 --target "$target/usr/local/lib/python3.11/dist-packages" \
  tflite-runtime numpy grpcio grpcio-health-checking protobuf
