#!/usr/bin/env bash
# Packs the programs with the libraries that they need: unpacked anywhere on Linux x86-64 with a glibc that is new enough, they run.
#
# usage: packaging/tarball.sh [FOLDER]     (default target/dist)
set -euo pipefail
out=$(realpath -m "${1:-$(dirname "$0")/../target/dist}")
cd "$(dirname "$0")/.."
. packaging/build.sh
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=flava-$version-x86_64-linux
libtorch=third_party/libtorch
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
mkdir -p "$packed/$name"/{bin,lib} "$out"
for program in flava-eval flava-finetune flava-pretrain; do
  strip -o "$packed/$name/bin/$program" "$built/$program"
done
cp "$libtorch"/torch/lib/{libtorch_cpu.so,libc10.so,libgomp.so.1} "$libtorch"/nvidia/cu13/lib/{libcudart.so.13,libcupti.so.13} "$packed/$name/lib"
for library in libstdc++.so.6 libgcc_s.so.1; do # of the compiler: systems without one may lack them
  cp -L "$(gcc -print-file-name=$library)" "$packed/$name/lib"
done
cp README.md LICENSE NOTICE CHANGELOG.md "$packed/$name"
python3 packaging/licences.py "$libtorch" "$packed/$name/THIRD-PARTY.txt" --gcc
chmod -R go+rX "$packed/$name"
tar -C "$packed" --owner=0 --group=0 --numeric-owner --sort=name -cf - "$name" | xz -T0 -4 > "$out/$name.tar.xz"
(cd "$out" && sha256sum "$name.tar.xz" > "$name.tar.xz.sha256")
echo "$out/$name.tar.xz: $(($(stat -c %s "$out/$name.tar.xz") / 1000000)) MB, unpacked $(($(du -sb "$packed/$name" | cut -f1) / 1000000)) MB; glibc 2.$glibc or newer"
