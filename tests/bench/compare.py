#!/usr/bin/env python3
"""Holds the ratios of `make bench QUICK=1` against those that docs/benchmarks.md has for this kind of processor.

usage: compare.py [--write] [BENCH.json]

A ratio that fell by more than a sixth is an error, as is one that is no longer measured; --write puts the measured ones into the table.
Ratios to a peer in the same run carry over from machine to machine where seconds do not, but not from one kind of processor to another.
"""
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = os.path.join(ROOT, "docs/benchmarks.md")
FALLEN = 5 / 6
FIRST = "| `make bench QUICK=1` |"


def processor():
    """The kind of processor that decides how fast the peers' MKL is: its maker, and its widest matrix instructions."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        info = file.read()
    maker = next((name for mark, name in (("AuthenticAMD", "AMD"), ("GenuineIntel", "Intel")) if mark in info), "other")
    flags = set(re.search(r"^(?:flags|Features)\s*:(.*)$", info, re.M).group(1).split())
    wide = next((name for mark, name in (("amx_tile", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2")) if mark in flags), "no AVX2")
    return f"{maker}, {wide}"


def landed(text):
    """The table's columns and rows, and where it lies in the text: a ratio or None by name and processor."""
    start = text.index(FIRST)
    end = text.index("\n\n", start)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text[start:end].splitlines()]
    columns = lines[0][1:]
    rows = {name: {column: float(value) if value else None for column, value in zip(columns, values)} for name, *values in lines[2:]}
    return columns, rows, (start, end)


def table(columns, rows):
    lines = [FIRST + "".join(f" {column} |" for column in columns), "|---|" + "---|" * len(columns)]
    shown = lambda value: "" if value is None else f" {value:.2f}"
    return "\n".join(lines + [f"| {name} |" + "".join(f"{shown(values.get(column))} |" for column in columns) for name, values in rows.items()])


def main():
    write = "--write" in sys.argv
    files = [argument for argument in sys.argv[1:] if argument != "--write"]
    with open(files[0] if files else os.path.join(ROOT, "target/bench.json"), encoding="utf-8") as file:
        found = json.load(file)
    if not found["quick"]:
        sys.exit("these are not the figures of `make bench QUICK=1`")
    kind, ratios = found["processor"], {line["name"]: line["ratio"] for line in found["lines"]}
    with open(DOCS, encoding="utf-8") as file:
        text = file.read()
    columns, rows, (start, end) = landed(text)
    before = {name: values[kind] for name, values in rows.items() if values.get(kind) is not None}
    if write:
        columns += [] if kind in columns else [kind]
        for name, ratio in ratios.items():
            rows.setdefault(name, {})[kind] = ratio
        with open(DOCS, "w", encoding="utf-8") as file:
            file.write(text[:start] + table(columns, rows) + text[end:])
        return
    if not before:
        sys.exit(f"docs/benchmarks.md has no figures of this kind of processor ({kind}): compare.py --write puts these there")
    fallen = 0
    for name in before | ratios:
        was, now = before.get(name), ratios.get(name)
        bad = was is not None and (now is None or now < was * FALLEN)
        fallen += bad
        print(f"{name:52} {'new' if was is None else f'{was:.2f}':>7} -> {'gone' if now is None else f'{now:.2f}':>7}{'  FELL' if bad else ''}")
    if fallen:
        sys.exit(f"{fallen} of {len(before)} ratios fell by more than a sixth, or are gone")


if __name__ == "__main__":
    main()
