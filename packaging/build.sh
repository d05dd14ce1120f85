# Builds the programs for other machines into target/portable, where no text in them names a folder of this one; sourced by the others.
if [ -n "${LIBTORCH:-}" ]; then
  echo "LIBTORCH is set: what is packed is built with the libtorch of make setup; unset it" >&2
  exit 1
fi
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export CARGO_TARGET_DIR=$PWD/target/portable
export RUSTFLAGS="--remap-path-prefix=$cargo_home/registry/src=crates --remap-path-prefix=$PWD=flava"
export CFLAGS="-ffile-prefix-map=$cargo_home/registry/src=crates -ffile-prefix-map=$PWD=flava"
export CXXFLAGS=$CFLAGS
cargo build --release --locked ${FEATURES:-} --bins
built=$CARGO_TARGET_DIR/release
# The oldest glibc that has all that they ask for.
glibc=$(objdump -T "$built"/flava-{eval,finetune,pretrain} third_party/libtorch/torch/lib/*.so* | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -1 | cut -d. -f2)
