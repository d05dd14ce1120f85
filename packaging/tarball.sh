#!/usr/bin/env bash
# Packs the programs with the libraries that they need: unpacked anywhere on Linux x86-64 with glibc 2.35 or newer, they run.
#
# usage: packaging/tarball.sh [FOLDER]     (default target/dist)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=flava-$version-x86_64-linux
libtorch=third_party/libtorch
cargo build --release --locked ${FEATURES:-} --bins
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
mkdir -p "$packed/$name"/{bin,lib} "$out"
for program in flava-eval flava-finetune flava-pretrain; do
  strip -o "$packed/$name/bin/$program" "target/release/$program"
done
cp "$libtorch"/torch/lib/{libtorch_cpu.so,libc10.so,libgomp.so.1} "$libtorch"/nvidia/cu13/lib/* "$packed/$name/lib"
for library in libstdc++.so.6 libgcc_s.so.1; do # of the compiler: systems without one may lack them
  cp -L "$(gcc -print-file-name=$library)" "$packed/$name/lib"
done
cp README.md LICENSE NOTICE CHANGELOG.md "$packed/$name"
python3 packaging/licences.py "$libtorch" "$packed/$name/THIRD-PARTY.txt"
chmod -R go+rX "$packed/$name"
tar -C "$packed" --owner=0 --group=0 --numeric-owner --sort=name -cf - "$name" | xz -T0 -4 > "$out/$name.tar.xz"
(cd "$out" && sha256sum "$name.tar.xz" > "$name.tar.xz.sha256")
echo "$out/$name.tar.xz: $(du -m "$out/$name.tar.xz" | cut -f1) MB, unpacked $(du -sm "$packed/$name" | cut -f1) MB"
