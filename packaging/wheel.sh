#!/usr/bin/env bash
# Builds the wheel: the programs, which find libtorch in the package torch of the environment, and the module flava_suite.
#
# usage: packaging/wheel.sh MATURIN [FOLDER]     (default target/wheels)
set -euo pipefail
cd "$(dirname "$0")/.."
maturin=$1 out=${2:-target/wheels}
cargo build --release --locked ${FEATURES:-} --bins
# As new a glibc as the programs ask for.
glibc=$(objdump -T target/release/flava-{eval,finetune,pretrain} | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1 | cut -d. -f2)
mkdir -p packaging/licences
cp LICENSE NOTICE packaging/licences
python3 packaging/licences.py third_party/libtorch packaging/licences/THIRD-PARTY.txt
mkdir -p "$out"
out=$(realpath "$out") maturin=$(realpath "$maturin")
(cd packaging && "$maturin" build --release --compatibility "manylinux_2_$glibc" ${FEATURES:-} --out "$out")
ls -l "$out"/*.whl
