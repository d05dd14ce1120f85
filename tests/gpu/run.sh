#!/usr/bin/env bash
# Runs a bundle on the CUDA card of this machine, with the libtorch of its Python: correctness, then figures, in eight minutes.
#
# usage: tests/gpu/run.sh BUNDLE.tar.xz OUT [what run.py takes: --seconds N, --device cpu, PART...]
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# \?//p' "$0"; exit 2; }
bundle=$1 out=$2; shift 2
mkdir -p "$out"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked" "$out/work"' EXIT
tar -xf "$bundle" -C "$unpacked"
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
python3 -c 'import sys, torch; v = torch.__version__.split("+")[0]; sys.exit(v != "2.11.0" and f"torch is {v}; the programs need 2.11.0")'
ln -s "$torch" "$unpacked/bin/libtorch" # the programs look beside themselves
export LD_LIBRARY_PATH="$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
python3 "$(dirname "$0")/run.py" "$unpacked" "$out" "$@"
