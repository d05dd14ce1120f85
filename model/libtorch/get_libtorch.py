#!/usr/bin/env python3
"""Puts libtorch 2.11.0 under DIR (default third_party/libtorch), from the wheels of PyPI's `torch`.

usage: get_libtorch.py [--cuda yes|no|auto] [--platform linux-x86_64|linux-aarch64|macos-arm64] [DIR]

Only what a program links, compiles against or loads is unpacked. Without an NVIDIA driver that is the CPU
library and the two small CUDA libraries that it names; with one, everything that the wheel's metadata names
for CUDA. A LIBTORCH in the environment is checked and left alone. Needs Python 3.8 and pip, no package.
"""
import argparse
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile

VERSION = "2.11.0"
CPU_WHEELS = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]  # what libtorch_cpu.so names on Linux
CUDA_FILES = ["nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13"]
OLD_LINUX = [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014", "manylinux2010", "manylinux1"]
ARM = ["arm_compute.so", "arm_compute_graph.so", "gfortran.so.5", "nvpl_blas_core.so.0", "nvpl_blas_lp64_gomp.so.0", "nvpl_lapack_core.so.0",
       "nvpl_lapack_lp64_gomp.so.0"]


class Platform:
    """What pip calls a platform, what is fetched for it, and which files a program needs."""

    def __init__(self, tags, libraries, megabytes, cuda_files):
        self.tags = tags
        self.files = [f"torch/lib/lib{library}" for library in libraries] + cuda_files
        self.wheels = CPU_WHEELS if cuda_files else []
        self.megabytes = megabytes


PLATFORMS = {
    "linux-x86_64": Platform([f"{old}_x86_64" for old in OLD_LINUX], ["torch_cpu.so", "torch.so", "c10.so", "gomp.so.1"], 545, CUDA_FILES),
    "linux-aarch64": Platform([f"{old}_aarch64" for old in OLD_LINUX], ["torch_cpu.so", "torch.so", "c10.so", "gomp.so.1", *ARM], 430, CUDA_FILES),
    "macos-arm64": Platform([f"macosx_{release}_0_arm64" for release in (14, 13, 12, 11)], ["torch_cpu.dylib", "torch.dylib", "c10.dylib", "omp.dylib"], 81, []),
}
HEADERS = "torch/include/"
GIB = 2**30
NEEDS = {False: 2 * GIB, True: 14 * GIB}  # the wheels and what is unpacked of them, at the same time


def fail(message):
    sys.exit(f"set-up of libtorch: {message}")


def has_driver():
    return any(os.path.exists(p) for p in ("/dev/nvidiactl", "/dev/dxg"))


def version_of(torch):
    """Version of an unpacked libtorch or of an installed `torch` package, without its build suffix."""
    for name, pattern in (("build-version", r"(\S+)"), ("version.py", r"__version__ = ['\"](\S+)['\"]")):
        file = torch / name
        if file.exists():
            found = re.search(pattern, file.read_text())
            if found:
                return found.group(1).split("+")[0]
    return None


def own_platform():
    system = {"Linux": "linux", "Darwin": "macos"}.get(platform.system(), platform.system())
    return f"{system}-{platform.machine()}"


def check_own(path):
    torch = pathlib.Path(path)
    if not list(torch.glob("lib/libtorch_cpu.*")):
        fail(f"LIBTORCH is {path}, which has no lib/libtorch_cpu. Point it to the folder that holds lib/ and "
             "include/, or unset it to have libtorch downloaded.")
    found = version_of(torch)
    if found and found != VERSION:
        fail(f"LIBTORCH is {path}, which is libtorch {found}; tch 0.24 needs exactly {VERSION}.")
    print(f"libtorch: using {path} (from LIBTORCH)")


def is_complete(dest, of, cuda):
    files = of.files + (["torch/lib/libtorch_cuda.so"] if cuda else [])
    return version_of(dest / "torch") == VERSION and all((dest / f).exists() for f in files)


def download(into, of, wheels, deps):
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--implementation", "cp",
               "--python-version", "3.11", "--progress-bar", "off", "-d", str(into)]
    for tag in of.tags:
        command += ["--platform", tag]
    command += ["-q"] + ([] if deps else ["--no-deps"]) + wheels
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode == 0:
        return
    if "No module named pip" in run.stdout:
        fail("Python has no pip (on Debian: apt install python3-pip).")
    tail = "\n  ".join(run.stdout.strip().splitlines()[-6:])
    hint = "No space left on the disk." if "No space left" in run.stdout else (
        "Is there a network, and does pip reach its index? Without one, copy a libtorch "
        f"{VERSION} to this machine and set LIBTORCH to it.")
    fail(f"pip could not download {', '.join(wheels)}:\n  {tail}\n{hint}")


def cuda_wheels(torch_wheel):
    """What the wheel's metadata requires of CUDA on Linux: `name[extras]==version`, markers left out."""
    with zipfile.ZipFile(torch_wheel) as z:
        meta = next(n for n in z.namelist() if n.endswith(".dist-info/METADATA"))
        lines = z.read(meta).decode().splitlines()
    required = [line[len("Requires-Dist: "):] for line in lines if line.startswith("Requires-Dist: ")]
    return [r.split(";")[0].strip().replace(" ", "") for r in required
            if re.match(r"(nvidia|cuda-toolkit)", r) and "extra ==" not in r]


def licence(name):
    """Where the licence that a wheel holds goes, or None."""
    found = re.fullmatch(r"([^/]+)-[^-/]+\.dist-info/(?:licenses/)?(LICENSE|NOTICE|License)[^/]*", name)
    return f"licences/{found.group(1)}/{name.rsplit('/', 1)[1]}" if found else None


def wanted(name, of, cuda):
    if name.startswith(HEADERS) or name in of.files:
        return True
    return cuda and ".so" in name and name.startswith(("torch/lib/", "nvidia/")) and "libtorch_python" not in name


def unpack(wheels, part, of, cuda):
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as z:
            for name in z.namelist():
                if wanted(name, of, cuda):
                    z.extract(name, part)
                elif licence(name):
                    file = part / licence(name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(z.read(name))
    (part / "torch" / "build-version").write_text(VERSION + "\n")  # torch-sys compares this


def fetch(dest, of, cuda):
    dest.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(dest.parent).free
    if free < NEEDS[cuda]:
        fail(f"{dest.parent} has {free / GIB:.1f} GiB free, {NEEDS[cuda] / GIB:.0f} GiB are needed.")
    part = dest.with_name(dest.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    what, megabytes = ("with CUDA", 3000) if cuda else ("for CPU use", of.megabytes)
    minutes = -(-megabytes * 8 // (100 * 60))
    print(f"libtorch: fetching {VERSION} {what} into {dest}: {megabytes} MB, {minutes} min at 100 Mbit/s, once", flush=True)
    wheels = dest.with_name("wheels.part")  # what an interrupted set-up left goes, and pip's cache has most of it again
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    try:
        download(wheels, of, [f"torch=={VERSION}"], deps=False)
        if cuda:
            download(wheels, of, cuda_wheels(next(wheels.glob("torch-*.whl"))), deps=True)
        elif of.wheels:
            download(wheels, of, of.wheels, deps=False)
        unpack(wheels, part, of, cuda)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    if not is_complete(part, of, cuda):
        fail(f"the wheels of torch {VERSION} lack a library that was expected: {part} is incomplete.")
    shutil.rmtree(dest, ignore_errors=True)
    part.rename(dest)
    size = sum(f.stat().st_size for f in dest.rglob("*") if f.is_file())
    print(f"libtorch: {VERSION} in {dest} ({size / 1e6:.0f} MB)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", default="third_party/libtorch", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--cuda", choices=["auto", "yes", "no"], default="auto", help="default: yes if there is a driver")
    parser.add_argument("--platform", choices=PLATFORMS, default=own_platform(), help="default: this machine's")
    args = parser.parse_args()
    if os.environ.get("LIBTORCH"):
        return check_own(os.environ["LIBTORCH"])
    if args.platform not in PLATFORMS:
        fail(f"no wheels are known for {args.platform}: install libtorch {VERSION} and set LIBTORCH.")
    of = PLATFORMS[args.platform]
    cuda = has_driver() if args.cuda == "auto" else args.cuda == "yes"
    if is_complete(args.dir, of, cuda):
        return None
    try:
        return fetch(args.dir, of, cuda)
    except OSError as e:
        return fail(f"{e}. What was there before is untouched; run it again.")


if __name__ == "__main__":
    main()
