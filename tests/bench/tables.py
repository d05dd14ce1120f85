"""Tables of a million texts beside `datasets.load_dataset`, cache warm: bench.py tables.

Opened, and every text read once; ours from the file itself, which nothing was made of before.
"""
import csv
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROWS = 1_000_000
THEIRS = """
import sys, time, datasets
datasets.disable_progress_bars()
kind, file, cache = sys.argv[1:]
load = lambda: datasets.load_dataset(kind, data_files=file, cache_dir=cache, split="train")
load()
start = time.perf_counter()
count = sum(len(text) for text in (row["text"] for row in load()))
print(time.perf_counter() - start)
"""


def write(folder):
    texts = ((f'the {n}th text, "quoted", of some thirty words or so ' + "and so on " * (n % 9)).strip() for n in range(ROWS))
    paths = {"csv": os.path.join(folder, "t.csv"), "json": os.path.join(folder, "t.jsonl")}
    with open(paths["csv"], "w", newline="") as table, open(paths["json"], "w") as lines:
        writer = csv.writer(table)
        writer.writerow(["text", "label"])
        for number, text in enumerate(texts):
            writer.writerow([text, number % 2])
            lines.write(json.dumps({"text": text, "label": number % 2}) + "\n")
    return paths


def bench(report, folder):
    for kind, path in write(folder).items():
        program = os.path.join(ROOT, "target/release/examples/tables")
        ours = json.loads(subprocess.run([program, path], check=True, stdout=subprocess.PIPE, text=True).stdout)
        assert ours["rows"] == ROWS
        cache = os.path.join(folder, "cache")
        theirs = subprocess.run([sys.executable, "-c", THEIRS, kind, path, cache], check=True, stdout=subprocess.PIPE, text=True)
        seconds = float(theirs.stdout.splitlines()[-1])
        bound = f"memory {ours['peak_mb']:.0f} MB of a file of {os.path.getsize(path) / 2**20:.0f} MB"
        report.line(f"a million texts of {os.path.basename(path)}", ROWS / ours["seconds"], ROWS / seconds, "rows/s", 2.0, bound)
