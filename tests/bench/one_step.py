#!/usr/bin/env python3
"""One step of fine-tuning beside PyTorch's, with what is frozen, rates by depth, and smoothed labels; two of a LoRA; run
it by `make parity`.

flava-finetune makes one step of AdamW over all rows of a table; the same is done with transformers' FlavaModel, the
head's first weights (those of a step of no length), torch.optim.AdamW and torch's cross entropy. All weights are
compared (tolerance 2e-6).
"""
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("FLAVA_FINETUNE", ROOT / "target/release/flava-finetune"))
sys.path.insert(0, str(ROOT / "examples"))
from tuned_in_transformers import Tuned  # noqa: E402

TOLERANCE = 2e-6
RATE, DECAY, EPS, SMOOTHING, DEPTH = 1e-3, 0.05, 1e-3, 0.1, 0.7
FROZEN = ["text.embeddings", "text.layers.0"]
RANK, ALPHA = 4, 12.0


def train(folder, name, rate, **settings):
    settings = dict(
        warmup=0, decay="constant", batch_size=64, learning_rate=rate, weight_decay=DECAY, eps=EPS, dropout=0.0,
        **{"head.dropout": 0.0}, betas="[0.9, 0.999]", clip_norm=0.0, head_rate_factor=3.0,
        **({"steps": 1} | settings),
    )
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [PROGRAM, "--train", "t.csv", "--validation", "t.csv", "--test", "v.csv", "--out", name, "--quiet", *sets]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    last = folder / name / "last"
    weights = next(file for file in ("model.safetensors", "adapter_model.safetensors") if (last / file).exists())
    return load_file(last / weights) | load_file(last / "head.safetensors")


def step_of(name, layers):
    """How far below the head a parameter lies (BEiT's layer decay)."""
    block = re.match(r"text_model\.encoder\.layer\.(\d+)\.", name)
    if block:
        return layers - int(block[1])
    return layers + 1 if name.startswith("text_model.embeddings.") else 0


def is_frozen(name):
    return name.startswith(("text_model.embeddings.", "text_model.encoder.layer.0."))


def theirs(folder, rows, fancy):
    tuned = Tuned(folder / "first")
    texts, labels = [text for text, _ in rows], torch.tensor([["bad", "good"].index(label) for _, label in rows])
    layers = tuned.model.config.text_config.num_hidden_layers
    head = {name: tensor.clone().requires_grad_() for name, tensor in tuned.head.items()}
    tuned.head = head
    groups = [{"params": [tensor], "lr": RATE * 3.0} for tensor in head.values()]
    kept = {}
    for name, parameter in tuned.model.named_parameters():
        if name.startswith("text_model.") and "pooler" not in name and not (fancy and is_frozen(name)):
            groups.append({"params": [parameter], "lr": RATE * (DEPTH ** step_of(name, layers) if fancy else 1.0)})
        else:
            parameter.requires_grad_(False)
        kept[name] = parameter
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=EPS, weight_decay=DECAY)
    outputs = tuned.classifier(tuned.cls(texts, None))
    smoothing = SMOOTHING if fancy else 0.0
    torch.nn.functional.cross_entropy(outputs, labels, label_smoothing=smoothing).backward()
    optimiser.step()
    return kept | head


def theirs_of_lora(folder, rows, first):
    """Two steps of additions to the attention's projections, and of the head."""
    tuned = Tuned(folder / "first")
    texts, labels = [text for text, _ in rows], torch.tensor([["bad", "good"].index(label) for _, label in rows])
    tuned.model.requires_grad_(False)
    head = {name: tensor.clone().requires_grad_() for name, tensor in tuned.head.items()}
    tuned.head = head
    added = {name: tensor.clone().requires_grad_() for name, tensor in first.items() if "lora_" in name}
    for name in added:
        layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        if layer == name.removeprefix("base_model.model."):
            continue
        a, b = added[name], added[name.replace("lora_A", "lora_B")]
        tuned.model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, a=a, b=b: output + ALPHA / RANK * (inputs[0] @ a.T) @ b.T
        )
    groups = [{"params": list(added.values()), "lr": RATE}, {"params": list(head.values()), "lr": RATE * 3.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=EPS, weight_decay=DECAY)
    for _ in range(2):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(tuned.classifier(tuned.cls(texts, None)), labels).backward()
        optimiser.step()
    return added | head


def compare(ours, expected, least, what):
    worst, moved = 0.0, 0
    for name, tensor in expected.items():
        name = next((own for own in (name, f"flava.{name}") if own in ours), None)
        if name is None:
            continue
        worst = max(worst, (ours[name].float() - tensor.detach()).abs().max().item())
        moved += 1
    assert moved > least and worst < TOLERANCE, f"{what}: {moved} tensors, {worst}"
    print(f"{what}: {moved} tensors, largest difference {worst:.1e}")


def main():
    rows = [(f"a {['dull', 'fine'][n % 2]} film of {n} minutes", ["bad", "good"][n % 2]) for n in range(24)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, some in [("t.csv", rows), ("v.csv", rows[:8])]:
            with open(folder / name, "w", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *some])
        # A step too short to move anything: `first/best` is what both start from.
        train(folder, "first", 1e-30)
        for fancy in (False, True):
            settings = {}
            if fancy:
                frozen = ", ".join(f'"{part}"' for part in FROZEN)
                settings = {"freeze": f"[{frozen}]", "layer_rate_decay": DEPTH, "label_smoothing": SMOOTHING}
            ours = train(folder, f"ours-{fancy}", RATE, **settings)
            with torch.enable_grad():
                expected = theirs(folder, rows, fancy)
            what = "frozen parts, rates by depth, smoothed labels" if fancy else "plain"
            compare(ours, expected, 30, f"one step, {what}")
        lora = {"lora.rank": RANK, "lora.alpha": ALPHA, "lora.on": '["query", "key", "value", "output"]'}
        first = train(folder, "lora-first", 1e-30, **lora)
        ours = train(folder, "lora", RATE, steps=2, **lora)
        with torch.enable_grad():
            expected = theirs_of_lora(folder, rows, first)
        compare(ours, expected, 15, "two steps of a LoRA")
        assert any(value.abs().max() > 1e-4 for name, value in ours.items() if "lora_B" in name), "nothing was learned"


if __name__ == "__main__":
    main()
