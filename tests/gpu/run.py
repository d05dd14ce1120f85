#!/usr/bin/env python3
"""What one CUDA card says of the programs: first whether they are right on it, then how fast, beside transformers in the same run.

usage: run.py BUNDLE OUT [--seconds N] [--device cuda|cpu] [--eager] [PART...]

BUNDLE is the folder that bundle.sh made, OUT takes results.jsonl and a log a part. Parts run in the order of --list, each alone: one that
fails, or that takes too long, does not stop the next. A line of JSON says what a part gave. On --device cpu those parts run that need no
card, which proves the script. Needs Python with torch 2.11, transformers 5 and scikit-learn, and neither network nor compiler.
"""
import argparse
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
IMAGES, JPEGS, ROWS = 256, 16384, 128
MANY_ROWS = {"images": 512, "texts": 512, "pairs": 256}


class Runner:
    """Where things are, and running programs within what is left of the time."""

    def __init__(self, args):
        self.bundle, self.out, self.device, self.compiled = args.bundle.resolve(), args.out.resolve(), args.device, args.device == "cuda" and not args.eager
        self.ends = time.monotonic() + args.seconds
        self.work = self.out / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.log = None

    def left(self):
        return self.ends - time.monotonic()

    def run(self, command, seconds, env=None, check=True, cwd=None):
        """Standard output of a command; what it says goes to the part's log."""
        limit = max(1.0, min(seconds, self.left()))
        with open(self.log, "a") as log:
            print("$", *command, file=log, flush=True)
            try:
                done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      timeout=limit, env=env, cwd=cwd or self.work)
            except subprocess.TimeoutExpired as late:
                log.write((late.stdout or b"").decode(errors="replace") + (late.stderr or b"").decode(errors="replace"))
                raise
            log.write(done.stdout + done.stderr)
        if check and done.returncode:
            raise RuntimeError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")
        return done

    def bare(self, name, *args, seconds=120, check=True, **variables):
        """One of the programs with an empty environment, as a new user has it."""
        cache = {"FLAVA_CACHE": str(self.work / f"cache-{self.device}"), "HOME": str(self.work)}
        return self.run([self.bundle / "bin" / name, *args], seconds, env={**cache, **variables}, check=check)

    def measured(self, name, *args, seconds=120):
        env = os.environ | {"FLAVA_BENCH_DEVICE": self.device}
        return json.loads(self.run([self.bundle / "bin" / name, *args], seconds, env=env).stdout.splitlines()[-1])

    def base_model(self):
        """The default-size model with random weights, and sentences."""
        import peer

        folder = self.work / "base"
        texts = peer.sentences(2000 if self.device == "cuda" else 64)
        if not (folder / "model.safetensors").exists():
            folder.mkdir(exist_ok=True)
            peer.checkpoint(str(folder), texts)
        return folder, texts


def sync(runner):
    if runner.device == "cuda":
        import torch

        torch.cuda.synchronize()


def best(runner, step, repeats=7):
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        sync(runner)
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def card(runner):
    """The card, and its ceilings: large products and a copy, on random data."""
    import torch
    import transformers

    found = {"torch": torch.__version__, "transformers": transformers.__version__, "cores": os.cpu_count()}
    if runner.device != "cuda":
        return found
    properties = torch.cuda.get_device_properties(0)
    found |= {"card": properties.name, "memory_gib": properties.total_memory / 2**30}
    for name, kind in (("f32", torch.float32), ("bf16", torch.bfloat16), ("f16", torch.float16)):
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=kind) for _ in range(2))
        found[f"tflops_{name}"] = 2 * 8192**3 / best(runner, lambda: a @ b, 10) / 1e12
    block = torch.randn(2**30, device="cuda")
    found["copy_gb_per_s"] = 2 * block.numel() * 4 / best(runner, block.clone) / 1e9
    return found


def tests(runner, filters, seconds, threads=8, **variables):
    folder = runner.bundle
    if runner.device == "cuda":  # before any test asks libtorch whether there is CUDA
        variables["LD_PRELOAD"] = "libtorch_cuda.so"
    env = os.environ | {"FLAVA_TEST_ROOT": str(folder / "tree"), "FLAVA_TEST_PROGRAMS": str(folder / "bin"), **variables}
    done = runner.run([folder / "bin" / "flava-tests", "--test-threads", str(threads), *filters], seconds, env=env, check=False, cwd=folder / "tree")
    totals = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed", done.stdout)
    failed = re.findall(r"^test (\S+) \.\.\. FAILED", done.stdout, re.M)
    if not totals or failed or done.returncode:
        raise RuntimeError(f"failed: {', '.join(failed) or done.stderr[-600:]}; passed {totals[0][0] if totals else '?'}")
    return {"passed": int(totals[0][0])}


def goldens(runner):
    """Every golden state, loss and gradient, fifty steps of AdamW, parts against the whole, and the probe, on the device in f32."""
    return tests(runner, ["parity::golden", "parity::training", "parity::halves", "parity::probe"], 120, FLAVA_TEST_DEVICE=runner.device)


def journeys(runner):
    """The programs from outside with --device auto: embedding, fine-tuning, pretraining, and going on after a kill."""
    if runner.device != "cuda":
        return tests(runner, ["journeys::embed"], 200)
    return tests(runner, ["journeys::embed", "journeys::finetune", "journeys::resume", "journeys::trainer"], 100, threads=16)


def scores(path):
    with open(path, newline="") as file:
        return {(row["task"], row["variant"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}


def suite(runner):
    """The mini suite of the embedded model on the device, against the same on the CPU."""
    def measure(device, name):
        start = time.perf_counter()
        runner.bare("flava-eval", "--device", device, "--tasks", "all,!*-tuned", "--no-cache", "--out", runner.work / name)
        return time.perf_counter() - start, scores(runner.work / name / "results.csv")

    (seconds, ours), (seconds_cpu, expected) = measure(runner.device, "suite"), measure("cpu", "suite-reference")
    off = {"/".join(key): abs(ours[key] - value) for key, value in expected.items()}
    worst = max(off, key=off.get)
    if ours.keys() != expected.keys() or off[worst] > 5e-3:
        raise RuntimeError(f"{worst} differs by {off[worst]}")
    return {"metrics": len(off), "largest_difference": off[worst], "of": worst, "seconds": seconds, "seconds_cpu": seconds_cpu}


def features(runner):
    """Features of real JPEGs in f32 and half kinds, against the CPU's in f32."""
    import peer
    from safetensors.torch import load_file

    folder = runner.work / "few"
    peer.pictures(str(folder), 24)
    def embed(device, precision):
        file = runner.work / f"few-{device}-{precision}.safetensors"
        file.unlink(missing_ok=True)
        runner.bare("flava-eval", "embed", "--images", folder, "--device", device, "--precision", precision, "--out", file)
        return load_file(file)["embedding"].double()

    expected = embed("cpu", "f32")
    found = {}
    for precision, bound in (("f32", 2e-5), ("bf16", 0.05), ("f16", 5e-3)):
        found[precision] = (embed(runner.device, precision) - expected).abs().max().item()
        if not found[precision] <= bound:
            raise RuntimeError(f"{precision} differs by {found[precision]}, more than {bound}")
    return {"largest_difference": found}


def memory_short(runner):
    """Where memory is short, fewer rows go through at once, and the training ends as it would."""
    command = ["flava-finetune", "mini-paraphrase-tuned", "--device", "cuda", "--limit", "512", "--set", "epochs=1", "--set", "batch_size=256"]
    done = runner.bare(*command, "--out", runner.work / "short", PYTORCH_CUDA_ALLOC_CONF="per_process_memory_fraction:0.0015")
    lines = [line for line in done.stderr.splitlines() if "memory" in line]
    if not lines:
        raise RuntimeError("nothing was said of memory: " + done.stderr[-800:])
    return {"said": lines[:2]}


# Few steps of every stage, with an epsilon that keeps AdamW from dividing rounding by rounding.
SHORT = """extends = "mini"
[corpora]
images.rows = 640
texts.rows = 2000
pairs.rows = 1000
[stage]
codebook.schedule = { steps = 20, warmup = 5, eps = 1e-4 }
text.schedule = { steps = 30, warmup = 5, eps = 1e-4 }
image.schedule = { steps = 20, warmup = 5, eps = 1e-4 }
joint.schedule = { steps = 40, warmup = 5, eps = 1e-4 }
"""


def collectives(runner):
    """A joint training in a group of one, over NCCL on a GPU, against the same alone: units, overlap, and weights that come and go."""
    from safetensors.torch import load_file

    recipe = runner.work / "short.toml"
    recipe.write_text(SHORT)
    backend = "nccl" if runner.device == "cuda" else "gloo"
    of_one = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "FLAVA_COLLECTIVES": backend}

    def trained(name, *args, **variables):
        folder = runner.work / name
        said = runner.bare("flava-pretrain", "run", recipe, "--device", runner.device, "--out", folder, *args, **variables).stderr
        rates = [float(rate.replace(",", "")) for rate in re.findall(r"joint, step .* ([\d,.]+) rows/s", said)]
        files = (folder / "joint" / "last").glob("model*.safetensors")
        return {name: tensor for file in files for name, tensor in load_file(file).items()}, max(rates)

    expected, rate = trained("alone")
    found = {"backend": backend, "rows_per_s_alone": rate, "difference": {}, "rows_per_s": {}}
    for number, shard in enumerate(("again", "none", "optimiser", "full")):  # again alone: what a GPU's sums change by their order
        folder = runner.work / f"group-{shard}"
        shutil.copytree(runner.work / "alone", folder, ignore=lambda at, names: {"joint", "model"} & set(names))
        group = {} if shard == "again" else {"MASTER_PORT": str(29511 + number), **of_one}
        weights, found["rows_per_s"][shard] = trained(folder.name, *(["--shard", shard] if group else []), **group)
        far = [(weights[name].double() - tensor.double()).norm() / max(tensor.double().norm(), 1) for name, tensor in expected.items()]
        found["difference"][shard] = max(far).item()
        if not found["difference"][shard] < 1e-3:
            raise RuntimeError(f"{shard}: weights differ by {found['difference']}")
    return found


def encoders(runner):
    """Features a second of the default-size model, ours and transformers' in bf16, eager and compiled."""
    import torch
    from transformers import BertTokenizerFast, FlavaModel

    folder, texts = runner.base_model()
    file = runner.work / "sentences.txt"
    file.write_text("\n".join(texts) + "\n")
    batch = IMAGES if runner.device == "cuda" else 4
    found = {"image": runner.measured("speed", "image", folder, batch, "bf16"), "text": runner.measured("speed", "text", folder, file, "bf16"),
             "pairs": runner.measured("speed", "pairs", folder, batch // 2, "bf16"), "image_f32": runner.measured("speed", "image", folder, batch, "f32")}
    print(json.dumps({"part": "encoders", "so_far": found}), flush=True)
    model = FlavaModel.from_pretrained(folder, dtype=torch.bfloat16).eval().to(runner.device)
    pixels = torch.randn(batch, 3, 224, 224, device=runner.device, dtype=torch.bfloat16)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokens = {size: [{name: t.to(runner.device) for name, t in tokenizer(texts[i:i + size], padding=True, truncation=True, max_length=77, return_tensors="pt").items()}
                     for i in range(0, len(texts), size)] for size in (64, 512)}
    ids = torch.randint(1000, 30000, (batch // 2, 77), device=runner.device)
    with torch.inference_mode():
        def rates(image_model):
            return {"image": batch / best(runner, lambda: image_model(pixels), 7 if runner.device == "cuda" else 1)}

        found["transformers"] = rates(model.image_model)
        found["transformers"]["text"] = max(len(texts) / best(runner, lambda: [model.text_model(**t) for t in some], 3) for some in tokens.values())
        found["transformers"]["pairs"] = len(ids) / best(runner, lambda: model(input_ids=ids, pixel_values=pixels[:len(ids)], skip_multimodal_encoder=False), 3)
        if runner.compiled and runner.left() > 60:
            found["compiled"] = rates(torch.compile(model.image_model))
    return found


def training(runner, precision="bf16"):
    """Pretraining steps of the default-size model, ours, transformers' eager and compiled."""
    import steps
    from safetensors.torch import save_file
    from transformers import FlavaConfig, FlavaForPreTraining

    parts = {} if runner.device == "cuda" else {f"{part}_config": {"num_hidden_layers": 1} for part in ("image", "text", "multimodal")}
    config = FlavaConfig(init_codebook=False, **parts)
    folder, rows = runner.work / "steps", ROWS if runner.device == "cuda" else 2
    if not folder.exists():
        FlavaForPreTraining(config).save_pretrained(folder)
    found = {}
    for kind, many_rows in MANY_ROWS.items():
        file = runner.work / f"{kind}.safetensors"
        save_file({name: t.contiguous() for name, t in steps.batch(kind, config, 77, rows).items()}, file)
        ours = runner.measured("steps", folder, file, precision, 10)
        found[kind] = {"ours": rows / ours["seconds"], "peak_mb": ours["peak_mb"], "share": ours["gflops"] / ours["bound_gflops"]}
        if runner.device == "cuda":
            save_file({name: t.contiguous() for name, t in steps.batch(kind, config, 77, many_rows).items()}, runner.work / "many.safetensors")
            many = runner.measured("steps", folder, runner.work / "many.safetensors", precision, 5)
            found[kind] |= {"ours_many_rows": many_rows / many["seconds"], "many_rows_peak_mb": many["peak_mb"], "many_rows_share": many["gflops"] / many["bound_gflops"]}
        for name in ("transformers", "compiled"):
            if name == "compiled" and (not runner.compiled or runner.left() < 75):
                continue
            env = os.environ | {"FLAVA_BENCH_DEVICE": runner.device}
            done = runner.run([sys.executable, steps.__file__, name, folder, file, kind, precision], 100, env=env)
            theirs = json.loads(done.stdout.splitlines()[-1])
            found[kind] |= {name: rows / theirs["seconds"], f"{name}_peak_mb": theirs["peak_mb"], f"ratio_{name}": theirs["seconds"] / ours["seconds"]}
        print(json.dumps({"part": "training", "so_far": found}), flush=True)
    return found


def jpegs(runner):
    """Features from JPEG files to safetensors, all cores: is decoding or the card the bound?"""
    import peer

    folder, _ = runner.base_model()
    count = JPEGS if runner.device == "cuda" else 16
    made = sorted(peer.pictures(str(runner.work / "photos"), min(count, 256)))
    many = runner.work / "many"
    many.mkdir(exist_ok=True)
    for i in range(count):  # the same few hundred under many names: a file is decoded each time
        (many / f"{i:05}.jpg").exists() or os.link(made[i % len(made)], many / f"{i:05}.jpg")
    def seconds(images):
        out = runner.work / "many.safetensors"
        out.unlink(missing_ok=True)
        start = time.perf_counter()
        runner.bare("flava-eval", "embed", "--model", folder, "--images", images, "--precision", "bf16", "--device", runner.device, "--out", out)
        return time.perf_counter() - start
    few = runner.work / "few-photos"
    few.mkdir(exist_ok=True)
    (few / "0.jpg").exists() or os.link(made[0], few / "0.jpg")
    start, all_seconds = seconds(few), seconds(many)
    return {"images": count, "seconds": all_seconds, "of_it_start": start, "images_per_s": count / (all_seconds - start)}


def probe(runner):
    """The whole search of the probe over as many rows, features and classes as ImageNet has."""
    sizes = (1281167, 768, 1000) if runner.device == "cuda" else (3000, 32, 10)
    return runner.measured("probe", "synthetic", *sizes, seconds=170)


PARTS = [card, goldens, suite, features, memory_short, collectives, journeys, encoders, jpegs, probe, training]
NEEDS_CARD = [memory_short]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.__name__ for part in PARTS))
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out, which takes minutes")
    args = parser.parse_intermixed_args()
    by_name = {part.__name__: part for part in PARTS}
    chosen = [by_name[name] for name in args.parts] or [p for p in PARTS if args.device == "cuda" or p not in NEEDS_CARD]
    runner, bad = Runner(args), 0
    with open(runner.out / "results.jsonl", "a") as results:
        for part in chosen:
            runner.log, start = runner.out / f"{part.__name__}.log", time.monotonic()
            try:
                line = {"part": part.__name__, "ok": True, **part(runner)} if runner.left() > 5 else {"part": part.__name__, "ok": False, "error": "no time left"}
            except Exception as e:  # the next part has nothing to do with it
                line = {"part": part.__name__, "ok": False, "error": f"{type(e).__name__}: {e}"[-2500:]}
            line["wall"] = round(time.monotonic() - start, 1)
            bad += not line["ok"]
            print(json.dumps(line), flush=True)
            print(json.dumps(line), file=results, flush=True)
    sys.exit(min(bad, 1))


if __name__ == "__main__":
    main()
