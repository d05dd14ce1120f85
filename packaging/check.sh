#!/usr/bin/env bash
# Tries what `make dist` and `make wheel` made as a new user has it: the tarball in a root with nothing but glibc, from a folder
# that it is moved to; the wheel in a fresh virtual environment.
#
# usage: packaging/check.sh [TARBALL] [WHEEL]
set -euo pipefail
here=$(realpath "$(dirname "$0")/..")
tarball=$(realpath "${1:-$(ls -t "$here"/target/dist/flava-*.tar.xz | head -1)}")
wheel=$(realpath "${2:-$(ls -t "$here"/target/wheels/flava_suite-*.whl | head -1)}")
cd "$here"
fast=mini-groups,mini-zero-shot,mini-retrieval
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

echo "tarball: $tarball"
mkdir -p "$root"/{lib64,lib/x86_64-linux-gnu,tmp,proc,moved}
cp /lib64/ld-linux-x86-64.so.2 "$root/lib64"
for library in libc.so.6 libm.so.6 libpthread.so.0 librt.so.1 libdl.so.2 libutil.so.1; do
  cp -L "/lib/x86_64-linux-gnu/$library" "$root/lib/x86_64-linux-gnu"
done
tar -C "$root/moved" -xf "$tarball"
bin=/moved/$(ls "$root/moved")/bin
run() { # nothing else is there, no shell either
  unshare --map-root-user --mount --pid --fork --mount-proc --root="$root" --wd=/tmp "$@"
}
for program in flava-eval flava-finetune flava-pretrain; do
  run "$bin/$program" --version | head -1
done
run "$bin/flava-eval" --tasks "$fast" --out /tmp/runs
if readelf -d "$root/moved"/*/bin/* | grep RUNPATH | grep -E '(\[|:)/'; then
  echo "the programs look for libtorch where they were built" && exit 1
fi
mkdir "$root/wheel" && (cd "$root/wheel" && python3 -m zipfile -e "$wheel" .)
if grep -raFl -e "$here/" -e "$HOME/" "$root/moved"/*/bin "$root/wheel"; then
  echo "these name a folder of the machine that they were built on" && exit 1
fi

echo "wheel: $wheel"
python3 -m venv "$root/venv"
"$root/venv/bin/pip" install -q --no-deps torch==2.11.0 $(sed -n 's/^CPU_WHEELS = \[\(.*\)\].*/\1/p' model/libtorch/get_libtorch.py | tr -d '",') "$wheel"
for program in flava-eval flava-finetune flava-pretrain; do
  "$root/venv/bin/$program" --version | head -1
done
"$root/venv/bin/flava-eval" --tasks "$fast" --out "$root/runs"
cmp <(cut -d, -f1-11 "$root/runs/results.csv") <(cut -d, -f1-11 "$root/tmp/runs/results.csv")
cd "$root"
"$root/venv/bin/python" -m flava_suite eval --version | head -1
"$root/venv/bin/python" - <<'END'
import flava_suite

rows = flava_suite.run("flava-eval", "--tasks", "mini-zero-shot", "--out", "runs-python")
main = [row for row in rows if row["main"]]
assert main[0]["task"] == "mini-zero-shot" and 0.8 < main[0]["value"] < 0.95 and main[0]["n"] == 1800, main
assert main[0]["publishable"] is True and main[0]["reason"] is None, main
try:
    flava_suite.run("flava-eval", "--tasks", "no-such-task")
except flava_suite.CommandError as error:
    assert error.code == 2 and error.rows == [], error
else:
    raise AssertionError("a task that is not there was run")
print(f"{len(rows)} rows of flava_suite.run, with {', '.join(list(rows[0])[:4])}, ..")
END
echo "both run"
