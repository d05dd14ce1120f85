#!/usr/bin/env python3
"""Our speed beside that of other libraries in the same run, two threads each; run it by `make bench`, or parts of it: bench.py PART...

Default-size model, random weights. Each line: ours, the peer's, the ratio and the bar that it should reach; all of them go to
target/bench.json too. With QUICK=1 a few minutes' parts alone, which compare.py holds against what docs/benchmarks.md has of them.
"""
import glob
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import datasets
import numpy as np
import torch
import webdataset
from PIL import Image
from transformers import FlavaImageProcessor

import answers
import compare
import encoders
import fitting
import peer
import processes
import shared
import steps
import tables
import zero_shot

THREADS = 2
BATCH = 32
QUICK = bool(os.environ.get("QUICK"))  # as the Makefile takes it
OUT = os.path.join(peer.ROOT, "target/bench.json")


def speed_program():
    programs = [p for p in glob.glob(os.path.join(peer.ROOT, "target/release/deps/speed-*")) if os.access(p, os.X_OK) and not p.endswith(".d")]
    return max(programs, key=os.path.getmtime)


def speed(*args):
    out = subprocess.run([speed_program(), *map(str, args)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def timed(repeats, f):
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return best


def wall(command, repeats=5):
    """Median seconds of a whole command, after one that warms the page cache."""
    times = [timed(1, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) for _ in range(repeats + 1)]
    return statistics.median(times[1:])


def peak_memory(command):
    """Largest resident set of a command, in MB."""
    code = f"import resource, subprocess, sys; subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    return int(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout)


class Report:
    def __init__(self):
        self.missed, self.lines = [], []

    def line(self, name, ours, theirs, unit, bar, bound=""):
        ratio = ours / theirs
        met = ratio >= bar
        if not met:
            self.missed.append(name)
        self.lines.append({"name": name, "ours": ours, "peer": theirs, "unit": unit, "ratio": ratio, "bar": bar})
        print(f"{name:52} {ours:9.2f} {theirs:9.2f} {unit:12} {ratio:6.2f}x  bar {bar:4.2f}x {'met' if met else 'MISSED'}  {bound}", flush=True)

    def write(self):
        with open(OUT, "w", encoding="utf-8") as f:
            json.dump({"processor": compare.processor(), "threads": THREADS, "quick": QUICK, "lines": self.lines}, f, indent=1)


def bench_encoders(report, tmp):
    encoders.bench(report, tmp, speed_program(), QUICK)
    if QUICK:
        return
    sgemm = [speed("sgemm")]
    ours = speed("image", os.path.join(tmp, "model"), BATCH, "f32")
    sgemm.append(speed("sgemm"))
    rate = max(found["gflops"] for found in sgemm)
    report.line("image CLS, f32, of the machine's best sgemm", ours["gflops"], rate, "GFLOP/s", 0.85,
                "bound: matrix products; the rest is attention's softmax, norms, waiting")
    plain = max(r["plain"] for r in sgemm[0]["rates"])
    print(f"  (sgemm: {rate:.0f} GFLOP/s with oneDNN's packed weights, {plain:.0f} as libtorch's linear runs it, which the peers use)")


def bench_preprocess(report, tmp):
    folder = os.path.join(tmp, "pictures")
    files = peer.pictures(folder, 150 if QUICK else 500)
    ours = speed("preprocess", folder)
    processor = FlavaImageProcessor()
    torch.set_num_threads(1)

    def theirs(file):
        return processor(Image.open(file).convert("RGB"), return_tensors="np")["pixel_values"][0]

    sample = files[:150]
    theirs(sample[0])
    rate = len(sample) / timed(2, lambda: [theirs(f) for f in sample])
    torch.set_num_threads(THREADS)
    digest = hashlib.sha256()
    for file in files[:50]:
        digest.update(theirs(file).tobytes())
    exact = "bit-exact on 50" if digest.hexdigest() == ours["sha256_of_50"] else "DIFFERENT PIXELS"
    if "DIFF" in exact:
        report.missed.append("bit-exact preprocessing")
    report.line("decode and preprocess, 500x375 JPEG, one core", ours["images_per_s"], rate, "images/s", 3.0,
                f"{exact}; {ours['ms_decode']:.2f} ms of {ours['ms']:.2f} decode, bound: Huffman decoding and, without nasm, the inverse DCT")


def bench_start(report):
    program = os.path.join(peer.ROOT, "target/release/flava-eval")
    ours = wall([program, "tasks"])
    theirs = wall([sys.executable, "-c", "from transformers import FlavaModel"], 3)
    report.line("start-up: `flava-eval tasks`, runs/s", 1 / ours, 1 / theirs, "runs/s", 10.0, f"{ours:.3f} s against {theirs:.2f} s; bound: loading libtorch_cpu.so")


def bench_memory(report, model_dir, tmp):
    """Peak memory over 60 pictures and over 600: it must not grow with the data."""
    program = os.path.join(peer.ROOT, "target/release/flava-eval")
    peaks = []
    for count in (60, 500):
        folder = os.path.join(tmp, f"some-{count}")
        os.makedirs(folder)
        for file in sorted(glob.glob(os.path.join(tmp, "pictures/*.jpg")))[:count]:
            os.symlink(file, os.path.join(folder, os.path.basename(file)))
        peaks.append(peak_memory([program, "embed", "--model", model_dir, "--images", folder, "--out", os.path.join(tmp, "f.safetensors"), "--force", "-q", "--batch-size", "8"]))
    report.line("peak memory, 60 pictures against 500", peaks[0], peaks[1], "MB", 0.95)


def tiny_pictures(count):
    """PNG files of 28x28 grey noise around a bar, the kind of data whose reading is all overhead."""
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 40, (28, 28), dtype=np.uint8)
        pixels[:, 2 + 2 * (i % 10): 5 + 2 * (i % 10)] += 200
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        yield file.getvalue(), i % 10


def bench_parquet(report, tmp, rows=60000):
    """A scan of pictures in parquet, left encoded, against datasets over its own prepared copy of the same file."""
    folder = os.path.join(tmp, "parquet")
    os.makedirs(os.path.join(folder, "mnist"))
    file = os.path.join(folder, "mnist/train-00000-of-00001.parquet")
    pictures, labels = zip(*tiny_pictures(rows))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(i) for i in range(10)])})
    datasets.Dataset.from_dict({"image": [{"bytes": b, "path": None} for b in pictures], "label": labels}, features=features).to_parquet(file)
    ours = speed("parquet", folder)
    start = time.perf_counter()
    peers = datasets.load_dataset("parquet", data_files=file, cache_dir=os.path.join(tmp, "prepared"), split="train")
    peers = peers.cast_column("image", datasets.Image(decode=False))
    prepared = time.perf_counter() - start
    assert ours["bytes"] == sum(map(len, pictures))
    theirs = rows / timed(2, lambda: sum(len(row["image"]["bytes"]) for row in peers))
    report.line(f"scan of {rows:,} parquet pictures", ours["rows_per_s"], theirs, "pictures/s", 5.0,
                f"opened in {ours['opening_s'] * 1e3:.0f} ms, datasets prepares for {prepared:.1f} s; bound: allocating and copying each picture")
    return pictures


def bench_shards(report, tmp, pictures, rows=10000, shard=1000):
    """Random access to pictures in tar shards against webdataset, which reads them in order."""
    folder = os.path.join(tmp, "shards")
    os.makedirs(os.path.join(folder, "train"))
    for index in range(rows // shard):
        with tarfile.open(os.path.join(folder, f"train/{index}.tar"), "w") as archive:
            for row in range(shard):
                picture = pictures[index * shard + row]
                for name, content in [(f"s{row:07}.cls", str(row % 10).encode()), (f"s{row:07}.png", picture)]:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    with open(os.path.join(folder, "train/nshards.txt"), "w") as f:
        f.write(f"{rows // shard}\n")
    os.environ["FLAVA_CACHE"] = os.path.join(tmp, "indexes")
    ours = speed("shards", folder)
    urls = os.path.join(folder, f"train/{{0..{rows // shard - 1}}}.tar")
    read = lambda: sum(len(sample["png"]) for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert ours["bytes"] == read()
    theirs = rows / timed(2, read)
    report.line(f"random access to {rows:,} pictures in shards", ours["rows_per_s"], theirs, "pictures/s", 5.0,
                f"opened in {ours['opening_s'] * 1e3:.1f} ms, {ours['first_opening_s'] * 1e3:.0f} ms without an index; webdataset reads in order; bound: a system call for each picture")


def bench_fetch(report, tmp, files=8, size=128 << 20):
    """Fetching from a server on this machine, against huggingface_hub and against curl, which checks nothing."""
    folder = os.path.join(tmp, "repository")
    os.makedirs(os.path.join(folder, "mnist"))
    for i in range(files - 1):
        with open(os.path.join(folder, f"mnist/train-{i:05}-of-{files - 1:05}.parquet"), "wb") as f:
            f.write(np.random.default_rng(i).bytes(size))
    with open(os.path.join(folder, "mnist/test-00000-of-00001.parquet"), "wb") as f:
        f.write(np.random.default_rng(files).bytes(size))
    hub = peer.Hub({"datasets/ylecun/mnist": folder})
    program = os.path.join(peer.ROOT, "target/release/flava-eval")
    row = subprocess.run([program, "tasks", "show", "mnist"], check=True, stdout=subprocess.PIPE, text=True).stdout
    task = os.path.join(tmp, "digits.toml")
    with open(task, "w", encoding="utf-8") as f:
        f.write(row.replace('name = "mnist"', 'name = "digits"').replace('revision = "77f3279092a1c1579b2250db8eafed0ad422088c"\n', ""))
    total = files * size / 1e6

    def rate(command, name):
        variables = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": os.path.join(tmp, name)}
        return total / timed(1, lambda: subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    ours = rate([program, "fetch", "--task-file", task, "--tasks", "digits", "--quiet"], "ours")
    theirs = rate([sys.executable, "-c", "from huggingface_hub import snapshot_download; snapshot_download('ylecun/mnist', repo_type='dataset', max_workers=8)"], "theirs")
    urls = [f"{hub.endpoint}/datasets/ylecun/mnist/resolve/main/{os.path.relpath(f, folder)}" for f in glob.glob(os.path.join(folder, "mnist/*"))]
    plain = rate(["curl", "-sLZ", "--parallel-max", "8", *[arg for url in urls for arg in ("-o", "/dev/null", url)]], "curl")
    hub.stop()
    report.line(f"fetch of {files} files of {size >> 20} MB, 8 at once", ours, theirs, "MB/s", 1.0,
                f"curl to /dev/null, unchecked: {plain:.0f} MB/s; bound: SHA-256 and the disk")


def bench_boards(report, _):
    """No peer has such a board: seconds against those that it may take."""
    board = os.path.join(peer.ROOT, "target/release/examples/board")
    for name, checkpoints, what, most in [("200 checkpoints x 60 records", 200, "60", 2.0), ("rank intervals of 50 checkpoints x 35 tasks", 50, "predictions", 30.0)]:
        found = json.loads(subprocess.run([board, str(checkpoints), what], check=True, capture_output=True, text=True).stdout)
        report.line(f"leaderboard: {name}", 1 / found["seconds"], 1 / most, "1/s", 1.0, f"{found['seconds']:.2f} s, {found['peak_mb']} MB")


def bench_data(report, tmp):
    pictures = bench_parquet(report, tmp)
    bench_shards(report, tmp, pictures)
    bench_fetch(report, tmp)


def bench_programs(report, tmp):
    bench_start(report)
    if not QUICK:
        peer.pictures(os.path.join(tmp, "pictures"), 500)
        bench_memory(report, peer.checkpoint(os.path.join(tmp, "model"), peer.sentences(2000)), tmp)


PARTS = {
    "encoders": bench_encoders,
    "pictures": bench_preprocess,
    "programs": bench_programs,
    "zero-shot": zero_shot.bench,
    "data": bench_data,
    "probe": lambda report, tmp: fitting.bench_probe(report, tmp, QUICK),
    "statistics": lambda report, _: fitting.bench_statistics(report, speed),
    "training": fitting.bench_training,
    "pretraining": lambda report, tmp: steps.bench(report, tmp, QUICK),
    "processes": processes.bench,
    "shared": shared.bench,
    "boards": bench_boards,
    "tables": tables.bench,
    "answers": answers.bench,
}
QUICK_PARTS = ["encoders", "pictures", "programs", "probe", "pretraining"]


def main():
    torch.set_num_threads(THREADS)
    datasets.disable_progress_bars()
    report = Report()
    print(f"{'':52} {'ours':>9} {'peer':>9}")
    for name in sys.argv[1:] or (QUICK_PARTS if QUICK else PARTS):
        with tempfile.TemporaryDirectory() as tmp:
            PARTS[name](report, tmp)
        report.write()
    print("every bar is met" if not report.missed else f"missed: {', '.join(report.missed)}")


if __name__ == "__main__":
    main()
