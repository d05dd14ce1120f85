"""Answers for a folder of pictures beside `flava-eval embed` on the same ones: whoever predicts computes what embed does, and
little else. Part of bench.py."""

import os
import random
import statistics
import subprocess
import time

from PIL import Image, ImageDraw

import peer

PICTURES = 10_000


def pictures(folder, count=PICTURES):
    rng = random.Random(0)
    colour = lambda: tuple(rng.randrange(256) for _ in range(3))
    os.makedirs(os.path.join(folder, "pictures"))
    with open(os.path.join(folder, "train.csv"), "w") as table:
        table.write("image,label\n")
        for i in range(count):
            image = Image.new("RGB", (160, 120), colour())
            draw = ImageDraw.Draw(image)
            for _ in range(6):
                x, y, size = rng.randrange(160), rng.randrange(120), rng.randrange(10, 60)
                draw.ellipse((x, y, x + size, y + size), fill=colour())
            image.save(os.path.join(folder, f"pictures/{i:05}.jpg"), quality=90)
            if i < 400:
                table.write(f"pictures/{i:05}.jpg,c{i % 10}\n")


def bench(report, tmp):
    pictures(tmp)
    programs = {name: os.path.join(peer.ROOT, "target/release", name) for name in ("flava-eval", "flava-finetune")}

    def run(program, *args):
        start = time.perf_counter()
        subprocess.run([programs[program], *args, "-q"], check=True, cwd=tmp, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start

    run("flava-eval", "probe", "--train", "train.csv", "--save-probe", "probe", "--out", "run")
    run("flava-finetune", "--train", "train.csv", "--set", "steps=3", "--set", "evaluate_every=3", "--out", "tuned")
    ways = {
        "embed": ("flava-eval", "embed", "--images", "pictures", "--out", "f.safetensors", "--force"),
        "a probe": ("flava-eval", "probe", "--probe", "probe", "--images", "pictures", "--answers", "p.csv"),
        "prompts": ("flava-eval", "zero-shot", "--images", "pictures", "--classes", "a,b,c", "--answers", "z.csv"),
        "a fine-tuned model": ("flava-finetune", "predict", "--model", "tuned", "--images", "pictures", "--answers", "t.csv"),
    }
    seconds = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            seconds[name].append(run(*way))
    rates = {name: PICTURES / statistics.median(times) for name, times in seconds.items()}
    for name in list(ways)[1:]:
        report.line(f"answers of {name}, beside embed", rates[name], rates["embed"], "pictures/s", 0.95)
