#!/usr/bin/env python3
"""Training steps beside transformers' FlavaForPreTraining and torchmultimodal's FLAVA: the same sizes, batch, labels and AdamW.

Part of bench.py. Masks and visual words are given, so that neither side runs a codebook. As a program of its own it is one of the peers,
so that each has its memory for itself: steps.py transformers|compiled|torchmultimodal MODEL BATCH.safetensors KIND PRECISION. It computes on
FLAVA_BENCH_DEVICE, or on the CPU.
"""
import json
import os
import resource
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import FlavaConfig, FlavaForPreTraining

import peer

# Of the default model, with fewer layers, so that a run takes minutes.
LAYERS, ROWS, STEPS = 4, 16, 5
DEVICE = os.environ.get("FLAVA_BENCH_DEVICE", "cpu")
PADDED = 77


def batch(kind, config, length, rows=ROWS, seed=0):
    """A batch as transformers takes it; texts are of 8 to `length` tokens."""
    g = torch.Generator().manual_seed(seed)
    image, text = config.image_config, config.text_config
    grid, out = image.image_size // image.patch_size, {}
    if kind != "texts":
        out["pixel_values"] = torch.randn(rows, 3, image.image_size, image.image_size, generator=g)
        out["bool_masked_pos"] = (torch.rand(rows, grid, grid, generator=g) < 0.38).long()
        out["mim_labels"] = torch.randint(image.vocab_size, (rows, grid, grid), generator=g)
    if kind != "images":
        lengths = torch.randint(8, length + 1, (rows,), generator=g)
        lengths[0] = length
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
        ids = torch.randint(1000, text.vocab_size, (rows, length), generator=g)
        hidden = (torch.rand(rows, length, generator=g) < 0.15) & mask.bool()
        hidden[:, 1] = True
        out.update(input_ids=ids * mask, attention_mask=mask, mlm_labels=torch.where(hidden, ids, -100),
                   input_ids_masked=torch.where(hidden, torch.full_like(ids, 103), ids) * mask)
    if kind == "pairs":
        out["itm_labels"] = (torch.arange(rows) % 10 != 9).long()
    return out


def padded(inputs, length):
    """Texts filled up, as a processor asked for max_length gives them."""
    out = dict(inputs)
    for name, value in (("input_ids", 0), ("attention_mask", 0), ("mlm_labels", -100), ("input_ids_masked", 0)):
        t = inputs[name]
        out[name] = torch.nn.functional.pad(t, (0, length - t.shape[1]), value=value)
    return out


def timed(step):
    best = float("inf")
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        step()
        if DEVICE != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def compiled_step(*args):
    return transformers_step(*args, prepare=torch.compile)


def transformers_step(model_dir, inputs, _, bf16, prepare=lambda model: model):
    model = FlavaForPreTraining.from_pretrained(model_dir).train().to(DEVICE)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.1, fused=True)
    forward = prepare(model)

    def step():
        optimiser.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            loss = forward(**{name: t.clone() for name, t in inputs.items()}, return_loss=True).loss
        loss.backward()
        optimiser.step()

    return timed(step)


class GivenLabels(torch.nn.Module):
    """In the codebook's place: its \"picture\" is the visual words already."""

    def forward(self, labels):
        return labels.clone()


def torchmultimodal_step(_, inputs, kind, bf16):
    from torchmultimodal.models.flava.model import FLAVAForPreTraining, FLAVAPretrainingLoss, flava_model

    config = dict(hidden_size=768, num_attention_heads=12, num_hidden_layers=LAYERS)
    parts = {f"{part}_{name}": value for part in ("image", "text", "multimodal") for name, value in config.items()}
    model = FLAVAForPreTraining(flava_model(**parts), GivenLabels(), FLAVAPretrainingLoss()).train().to(DEVICE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    labels = inputs.get("mlm_labels")
    given = dict(
        image=inputs.get("pixel_values"), image_for_codebook=inputs.get("mim_labels"), image_patches_mask=inputs.get("bool_masked_pos"),
        text=inputs.get("input_ids"), text_masked=inputs.get("input_ids_masked"), itm_labels=inputs.get("itm_labels"),
        mlm_labels=None if labels is None else torch.where(labels == -100, -1, labels),
        required_embedding={"images": "image", "texts": "text", "pairs": "mm"}[kind])

    def step():
        optimiser.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            loss = sum(value for value in model(**given).losses.values() if value is not None)
        loss.backward()
        optimiser.step()

    return timed(step)


def ours(*args):
    program = os.path.join(peer.ROOT, "target/release/examples/steps")
    return json.loads(subprocess.run([program, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout)


PEERS = {"transformers": transformers_step, "torchmultimodal": torchmultimodal_step}  # of the bench


def theirs(name, *args):
    out = subprocess.run([sys.executable, os.path.abspath(__file__), name, *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def bench_steps(report, path, quick):
    peers = ["transformers"] if quick else PEERS
    layers = dict(num_hidden_layers=LAYERS)
    config = FlavaConfig(image_config=layers, text_config=layers, multimodal_config=layers, init_codebook=False)
    FlavaForPreTraining(config).save_pretrained(path("steps"))
    for kind_of in ("f32", "bf16"):
        for kind, length, bar in (("images", 0, 1.3), ("texts", PADDED, 1.3), ("pairs", PADDED, 1.05)):
            if quick and kind == "pairs":  # which takes minutes
                continue
            save_file({name: t.contiguous() for name, t in batch(kind, config, length).items()}, path("batch.safetensors"))
            mine = ours(path("steps"), path("batch.safetensors"), kind_of, STEPS)
            share = mine["gflops"] / mine["bound_gflops"]
            for name in peers:
                other = theirs(name, path("steps"), path("batch.safetensors"), kind, kind_of)
                report.line(f"step, {kind}, {kind_of}, {name}", ROWS / mine["seconds"], ROWS / other["seconds"], "rows/s", bar,
                            f"{share:.0%} of a large product's speed; peak memory {mine['peak_mb']:.0f} MB, theirs {other['peak_mb']:.0f} MB")
        inputs = batch("texts", config, 24)
        save_file({name: t.contiguous() for name, t in inputs.items()}, path("batch.safetensors"))
        save_file({name: t.contiguous() for name, t in padded(inputs, PADDED).items()}, path("padded.safetensors"))
        mine = ours(path("steps"), path("batch.safetensors"), kind_of, STEPS)
        other = theirs("transformers", path("steps"), path("padded.safetensors"), "texts", kind_of)
        report.line(f"step, texts of real lengths, {kind_of}", ROWS / mine["seconds"], ROWS / other["seconds"], "rows/s", 2.0)


def bench_feed(report):
    """At mini size: does the loader keep up, what do labels cost, and what does a larger contrastive batch?"""
    mini = os.path.join(peer.ROOT, "evaluator/assets/mini")
    feed = ours("feed", mini)
    report.line("pairs loaded, to what the model takes", feed["loaded"], feed["taken"], "pairs/s", 2.0)
    report.line("step with cached visual words, to computed ones", feed["taken"], feed["taken_to_label"], "pairs/s", 1.0)
    small, large = (ours("cached", mini, rows, 64) for rows in (64, 1024))
    grown = [run["peak_mb"] - run["batch_mb"] for run in (small, large)]
    report.line("gradient caching, memory of 64 to that of 1,024", grown[0], grown[1], "MB", 0.9)


def bench(report, tmp, quick=False):
    bench_steps(report, lambda name: os.path.join(tmp, name), quick)
    if not quick:
        bench_feed(report)


if __name__ == "__main__":
    name, model, file, kind, precision = sys.argv[1:]
    torch.set_num_threads(2)
    seconds = {**PEERS, "compiled": compiled_step}[name](model, load_file(file, device=DEVICE), kind, precision == "bf16")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if DEVICE == "cpu" else torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 2**20}))
