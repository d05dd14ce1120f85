#!/usr/bin/env python3
"""Writes the licences of what the programs contain into one file: of every crate, and of libtorch with what comes with it.

usage: licences.py LIBTORCH OUT     (LIBTORCH is the folder that `make setup` fetched)
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("licen", "copying", "notice", "copyright", "unlicense")


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
            yield f"{package['name']} {package['version']}", package["license"] or "see below", pathlib.Path(package["manifest_path"]).parent


def texts(folder):
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name.lower().startswith(NAMES):
            yield file.read_text(errors="replace").strip()


def main(libtorch, out):
    libtorch = pathlib.Path(libtorch) / "licences"
    own = [(folder.name, "see below", list(texts(folder))) for folder in sorted(libtorch.iterdir())] if libtorch.is_dir() else []
    if not own:
        sys.exit(f"{libtorch} has no licences: remove {libtorch.parent} and run make setup again")
    by_text, listed = {}, []
    for name, licence, found in [*((name, licence, list(texts(folder))) for name, licence, folder in crates()), *own]:
        listed.append(f"{name}: {licence}")
        for text in found:
            by_text.setdefault(text, []).append(name)
    parts = ["What the programs contain besides flava's own code, and under which licences.", "\n".join(listed)]
    parts += [f"{'-' * 100}\n{', '.join(names)}\n\n{text}" for text, names in by_text.items()]
    pathlib.Path(out).write_text("\n\n".join(parts) + "\n")
    print(f"{out}: {len(listed)} parts, {len(by_text)} texts")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
