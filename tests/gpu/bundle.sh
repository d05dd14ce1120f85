#!/usr/bin/env bash
# Packs what tests/gpu/run.sh needs on a machine with a card: programs, tests, goldens; under 60 MB.
#
# usage: tests/gpu/bundle.sh [BUNDLE.tar.xz]   (default target/gpu-bundle.tar.xz)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/gpu-bundle.tar.xz}
# shellcheck disable=SC2086
cargo build --release --locked ${FEATURES:-} --bins --example steps --example probe --bench speed
tests=$(cargo test --locked --no-run --test flava --message-format json | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "flava" and "test" in message["target"]["kind"]: print(message["executable"])')
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
mkdir -p "$packed/bin" "$packed/tree"
speed=$(ls -t target/release/deps/speed-* | grep -v '\.d$' | head -1)
for program in target/release/flava-{eval,finetune,pretrain} target/release/examples/{steps,probe} "$speed=speed" "$tests=flava-tests"; do
  name=$(basename "${program#*=}")
  strip -o "$packed/bin/$name" "${program%%=*}"
done
git ls-files -z --cached --others --exclude-standard tests evaluator/assets docs examples results/measured tasks/registry | tar --null -cf - -T - | tar -xf - -C "$packed/tree"
tar -C "$packed" -cf - bin tree | xz -T1 --lzma2=preset=6,dict=192MiB > "$out"
ls -l "$out"
