#!/usr/bin/env bash
# Builds the wheel: the programs, which find libtorch in the package torch of the environment, and the module flava_suite.
#
# usage: packaging/wheel.sh MATURIN [FOLDER]     (default target/wheels)
set -euo pipefail
maturin=$(realpath -s "$1") out=$(realpath -m "${2:-$(dirname "$0")/../target/wheels}")
cd "$(dirname "$0")/.."
. packaging/build.sh
mkdir -p packaging/licences "$out"
cp LICENSE NOTICE packaging/licences
python3 packaging/licences.py third_party/libtorch packaging/licences/THIRD-PARTY.txt
(cd packaging && "$maturin" build --release --compatibility "manylinux_2_$glibc" ${FEATURES:-} --out "$out")
ls -l "$out"/*.whl
