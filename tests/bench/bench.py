#!/usr/bin/env python3
"""Our speed beside Hugging Face's in the same run, two threads each; run it by `make bench`.

Default-size model, random weights. Each line: ours, the peer's, the ratio and the bar that it should reach.
"""
import glob
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from PIL import Image
from transformers import BertTokenizerFast, FlavaForPreTraining, FlavaImageProcessor

import peer

THREADS = 2
BATCH = 32


def speed(*args):
    programs = [p for p in glob.glob(os.path.join(peer.ROOT, "target/release/deps/speed-*")) if os.access(p, os.X_OK) and not p.endswith(".d")]
    program = max(programs, key=os.path.getmtime)
    out = subprocess.run([program, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True)
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
        self.missed = []

    def line(self, name, ours, theirs, unit, bar, bound=""):
        ratio = ours / theirs
        met = ratio >= bar
        if not met:
            self.missed.append(name)
        print(f"{name:52} {ours:9.2f} {theirs:9.2f} {unit:12} {ratio:6.2f}x  bar {bar:4.2f}x {'met' if met else 'MISSED'}  {bound}", flush=True)


def bench_image(report, model_dir, model):
    sgemm = speed("sgemm")
    ours = speed("image", model_dir, BATCH, "f32")
    pixels = torch.randn(BATCH, 3, 224, 224)
    with torch.inference_mode():
        model.flava.image_model(pixels)
        theirs = BATCH / timed(3, lambda: model.flava.image_model(pixels).last_hidden_state[:, 0])
    again = speed("sgemm")
    rate = max(sgemm["gflops"], again["gflops"])
    report.line("image CLS, f32, batch 32", ours["images_per_s"], theirs, "images/s", 1.1, f"{ours['gflops']:.0f} GFLOP/s")
    report.line("  of the machine's best sgemm", ours["gflops"], rate, "GFLOP/s", 0.85, "bound: matrix products; the rest is attention's softmax, norms, waiting")
    bf16 = speed("image", model_dir, BATCH, "bf16")
    report.line("image CLS, bf16, against the peer's f32", bf16["images_per_s"], theirs, "images/s", 2.0, f"{bf16['gflops']:.0f} GFLOP/s")
    print(f"  (bf16 is {bf16['images_per_s'] / ours['images_per_s']:.2f} times our own f32)")
    plain = max(r["plain"] for r in sgemm["rates"])
    print(f"  (sgemm: {rate:.0f} GFLOP/s with oneDNN's packed weights, {plain:.0f} as libtorch's linear runs it, which the peer uses)")


def bench_text(report, model_dir, model, texts, tmp):
    file = os.path.join(tmp, "sentences.txt")
    with open(file, "w", encoding="utf-8") as f:
        f.write("\n".join(texts) + "\n")
    ours = speed("text", model_dir, file)
    tokenizer = BertTokenizerFast(os.path.join(model_dir, "vocab.txt"))
    sample = texts[:256]

    def run():
        with torch.inference_mode():
            for start in range(0, len(sample), 64):
                batch = tokenizer(sample[start:start + 64], padding="max_length", truncation=True, max_length=77, return_tensors="pt")
                model.flava.text_model(**batch)

    run()
    theirs = len(sample) / timed(2, run)
    bound = f"{ours['tokens_per_sentence']:.1f} tokens a sentence instead of 77; bound: matrix products"
    report.line("text CLS, f32, 2,000 sentences", ours["sentences_per_s"], theirs, "sentences/s", 3.0, bound)


def bench_preprocess(report, tmp):
    folder = os.path.join(tmp, "pictures")
    files = peer.pictures(folder, 500)
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
        peaks.append(peak_memory([program, "embed", "--model", model_dir, "--images", folder, "--out", os.path.join(tmp, "f.safetensors"), "-q", "--batch-size", "8"]))
    report.line("peak memory, 60 pictures against 500", peaks[0], peaks[1], "MB", 0.95)


def main():
    torch.set_num_threads(THREADS)
    report = Report()
    with tempfile.TemporaryDirectory() as tmp:
        texts = peer.sentences(2000)
        model_dir = peer.checkpoint(os.path.join(tmp, "model"), texts)
        model = FlavaForPreTraining.from_pretrained(model_dir).eval()
        print(f"{'':52} {'ours':>9} {'peer':>9}")
        bench_image(report, model_dir, model)
        bench_text(report, model_dir, model, texts, tmp)
        bench_preprocess(report, tmp)
        bench_start(report)
        bench_memory(report, model_dir, tmp)
    print("every bar is met" if not report.missed else f"missed: {', '.join(report.missed)}")


if __name__ == "__main__":
    main()
