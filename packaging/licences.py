#!/usr/bin/env python3
"""Writes the licences of what the programs contain into one file: of every crate, and of libtorch with what comes with it.

usage: licences.py LIBTORCH OUT [--gcc]     (LIBTORCH is the folder that `make setup` fetched; --gcc: GCC's libraries are packed too)
"""
import glob
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("licen", "copying", "notice", "copyright", "unlicense")
# What crates that carry no text of their own are under: Apache-2.0 is the project's LICENSE.
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer in the
   documentation and/or other materials provided with the distribution.
3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote products derived from this
   software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED
TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF
LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE."""


def crates():
    """Every crate of others that is compiled into the programs: name, version, licence and folder."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in found["packages"]}
    needs = {node["id"]: [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
             for node in found["resolve"]["nodes"]}
    reached, waiting = set(), [found["resolve"]["root"]]
    while waiting:
        crate = waiting.pop()
        if crate not in reached:
            reached.add(crate)
            waiting.extend(needs[crate])
    for crate in sorted(reached, key=lambda crate: packages[crate]["name"]):
        package = packages[crate]
        if package["source"]:
            name, licence = f"{package['name']} {package['version']}", package["license"] or "see below"
            found = list(texts(pathlib.Path(package["manifest_path"]).parent))
            yield name, licence, found or [standard(name, licence, package["authors"])]


def texts(folder):
    """Those of a folder and, of what a crate brings along of others, of the folders in it."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name.lower().startswith(NAMES) and file.suffix.lower() in ("", ".txt", ".md", ".rst", ".apache", ".mit"):
            yield file.read_text(errors="replace").strip()


def standard(name, licence, authors):
    """The text of a licence, with the authors as they name themselves, for a crate that carries none."""
    if "Apache-2.0" in licence:
        return (ROOT / "LICENSE").read_text().strip()
    holders = f"Copyright (c) {', '.join(authors) or f'the authors of {name}'}"
    for kind, text in (("MIT", MIT), ("BSD-3-Clause", BSD)):
        if kind in licence:
            return f"{holders}\n\n{text}"
    sys.exit(f"{name} is under {licence} and has no text of it: add one")


def of_gcc():
    """GCC's own, with the exception for its run-time libraries, as Debian keeps them."""
    found = sorted(glob.glob("/usr/share/doc/gcc-*-base/copyright"))
    if not found:
        sys.exit("GCC's licence is in no /usr/share/doc/gcc-*-base/copyright: libstdc++ cannot be packed without")
    return "libstdc++, libgcc, libgomp", "GPL-3.0 with the GCC Runtime Library Exception", [pathlib.Path(found[-1]).read_text().strip()]


def main(libtorch, out, *more):
    libtorch = pathlib.Path(libtorch) / "licences"
    own = [(folder.name, "see below", list(texts(folder))) for folder in sorted(libtorch.iterdir())] if libtorch.is_dir() else []
    if not own:
        sys.exit(f"{libtorch} has no licences: remove {libtorch.parent} and run make setup again")
    if more == ("--gcc",):
        own.append(of_gcc())
    by_text, listed = {}, []
    for name, licence, found in [*crates(), *own]:
        listed.append(f"{name}: {licence}")
        for text in found:
            by_text.setdefault(text, []).append(name)
    parts = ["What the programs contain besides flava's own code, and under which licences.", "\n".join(listed)]
    parts += [f"{'-' * 100}\n{', '.join(names)}\n\n{text}" for text, names in by_text.items()]
    pathlib.Path(out).write_text("\n\n".join(parts) + "\n")
    print(f"{out}: {len(listed)} parts, {len(by_text)} texts")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--gcc"]):
        sys.exit(__doc__)
    main(*sys.argv[1:])
