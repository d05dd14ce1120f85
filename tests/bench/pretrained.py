#!/usr/bin/env python3
"""Checkpoints of flava-pretrain in transformers; run it by `make parity`.

Runs every mini recipe for a few steps, loads what it wrote as FlavaForPreTraining, FlavaImageCodebook and BertTokenizerFast, with no
missing and no unexpected key, and compares word pieces, states and embeddings with ours. The embedded model is checked the same way.
"""
import os
import subprocess
import sys
import tempfile

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import BertTokenizerFast, FlavaForPreTraining, FlavaImageCodebook, FlavaImageProcessor

import parity
import peer

COLUMNS = sorted(name.removesuffix(".toml") for name in os.listdir(os.path.join(peer.ROOT, "pretrain/recipes/columns")))
STEPS = {"codebook": 3, "text": 3, "image": 3, "beit": 3, "joint": 4}
SENTENCES = ["two large cat face left of one small cake on a blue background", "how many animals are there ? three", "Überraschung 123!"]
TOLERANCE = 1e-4


def program(name):
    return os.path.join(peer.ROOT, "target/release", name)


def check_model(folder, tmp, failed):
    path = lambda name: os.path.join(tmp, name)
    model, report = FlavaForPreTraining.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    strange = {what: report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[what]}
    subprocess.run([program("examples/states"), folder, path("pictures"), path("sentences.txt"), path("ours.safetensors"), path("copy")],
                   check=True, stdout=subprocess.DEVNULL)
    ours = load_file(path("ours.safetensors"))
    files = sorted(os.listdir(path("pictures")))
    images = [Image.open(os.path.join(path("pictures"), f)).convert("RGB") for f in files]
    pixels = FlavaImageProcessor.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
    text = BertTokenizerFast.from_pretrained(folder)(SENTENCES, padding=True, truncation=True, max_length=77, return_tensors="pt")
    same_ids = torch.equal(text["input_ids"], ours["input_ids"])
    theirs = parity.states(model, pixels, text)
    off = max((ours[name] - value).abs().max().item() for name, value in theirs.items())
    ok = not strange and same_ids and off <= TOLERANCE
    print(f"  {os.path.relpath(folder, tmp) if folder.startswith(tmp) else folder:36} states differ by {off:.1e} {'ok' if ok else f'FAILED {strange} ids {same_ids}'}", flush=True)
    return failed or not ok


def main():
    torch.set_num_threads(2)
    failed = False
    with tempfile.TemporaryDirectory() as tmp:
        peer.pictures(os.path.join(tmp, "pictures"), len(SENTENCES), (230, 180))
        with open(os.path.join(tmp, "sentences.txt"), "w", encoding="utf-8") as f:
            f.write("\n".join(SENTENCES) + "\n")
        failed = check_model(os.path.join(peer.ROOT, "evaluator/assets/mini"), tmp, failed)
        for column in COLUMNS:
            out = os.path.join(tmp, column)
            short = [part for stage, steps in STEPS.items() for part in ("--set", f"{stage}.schedule.steps={steps}", "--set", f"{stage}.schedule.warmup=1")]
            rows = [part for corpus in ("images", "texts", "pairs") for part in ("--set", f"corpora.{corpus}.rows=300")]
            subprocess.run([program("flava-pretrain"), "run", f"mini-{column}", "--out", out, "--quiet", *short, *rows], check=True, stdout=subprocess.DEVNULL)
            failed = check_model(os.path.join(out, "model"), tmp, failed)
            codebook, report = FlavaImageCodebook.from_pretrained(os.path.join(out, "codebook/last"), output_loading_info=True)
            whole = FlavaForPreTraining.from_pretrained(os.path.join(out, "joint/last")).image_codebook.state_dict()
            same = all(torch.equal(value, whole[name]) for name, value in codebook.state_dict().items())
            if report["missing_keys"] or report["unexpected_keys"] or not same:
                print(f"  {column}: FlavaImageCodebook FAILED {report['missing_keys']} {report['unexpected_keys']}")
                failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
