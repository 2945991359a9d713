#!/bin/sh
# Make the gRPC stubs from agent.proto: proto/generate.sh [OUTPUT_FOLDER]
#
# The generator is old on purpose: code of grpcio-tools 1.62.3 runs on protobuf 4.24 to 7, and on Python 3.7;
# code of a newer one refuses an older runtime. It wants protobuf 4 for itself, hence an environment of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here}
environment=${XDG_CACHE_HOME:-$HOME/.cache}/liteback/grpcio-tools-1.62.3

if ! "$environment/bin/python" -c 'import grpc_tools, pkg_resources' 2>/dev/null; then
    # grpcio-tools 1.62.3 has wheels up to Python 3.12 and imports pkg_resources, which setuptools 81 dropped.
    "${PYTHON:-python3}" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet 'grpcio-tools==1.62.3' 'setuptools<81'
fi
exec "$environment/bin/python" -W ignore -m grpc_tools.protoc -I "$here" \
    --python_out="$output" --pyi_out="$output" --grpc_python_out="$output" "$here/liteback_proto/agent.proto"
