#!/usr/bin/env python3
"""Fine-tuned models in transformers beside `flava-finetune predict`; run it by `make parity`.

Tunes the embedded model on a table of texts and on one of questions about images, answers for the same rows by
`flava-finetune predict` and by examples/tuned_in_transformers.py, and compares (tolerance 1e-4).
"""
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/flava-finetune"
EXAMPLE = ROOT / "examples/tuned_in_transformers.py"
TOLERANCE = 1e-4


def run(folder, *command):
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def compare(folder, name, inputs, example):
    run(folder, PROGRAM, "predict", "--model", name, *inputs, "--answers", f"{name}.csv", "--quiet")
    with open(folder / f"{name}.csv") as file:
        ours = list(csv.reader(file))[1:]
    theirs = list(csv.reader(run(folder, sys.executable, EXAMPLE, name, *example).splitlines()))
    assert len(ours) == len(theirs) > 0, (len(ours), len(theirs))
    worst = max(abs(float(a[-1]) - float(b[-1])) for a, b in zip(ours, theirs))
    assert all(a[1:-1] == b[1:-1] for a, b in zip(ours, theirs)) and worst < TOLERANCE, f"{name}: {worst}"
    print(f"{name}: {len(ours)} answers of transformers equal ours, largest difference {worst:.1e}")


def main():
    random = numpy.random.default_rng(0)
    colours = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        texts = [(f"a {['dull', 'fine'][row % 2]} film, {row}", ["bad", "good"][row % 2]) for row in range(60)]
        with open(folder / "texts.csv", "w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *texts])
        (folder / "new.txt").write_text("".join(f"{text}\n" for text, _ in texts))
        files, lines = [], []
        for row in range(30):
            name = list(colours)[row % 3]
            pixels = numpy.array(colours[name], dtype=numpy.uint8) + random.integers(0, 40, (50, 60, 3), dtype=numpy.uint8)
            files.append(f"{row}.png")
            Image.fromarray(pixels).save(folder / files[-1])
            lines.append({"image": files[-1], "question": "what colour is it?", "answer": name})
        (folder / "vqa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for name, table in [("texts", "texts.csv"), ("vqa", "vqa.jsonl")]:
            run(folder, PROGRAM, "--train", table, "--set", "epochs=1", "--out", name, "--quiet")
        compare(folder, "texts", ["--texts", "new.txt"], ["new.txt"])
        compare(folder, "vqa", ["--csv", "vqa.jsonl"], [*files, "--text", "what colour is it?"])


if __name__ == "__main__":
    main()
