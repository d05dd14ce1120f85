#!/usr/bin/env python
"""Fifty steps of training by Hugging Face's FLAVA and torch's AdamW, for our training to follow.

    python training_golden.py --model base --out training

Starts from the weights in --model, a directory of hf_golden.py. Six fixed batches (pictures, texts and pairs, two of each, with
masks, labels and matches) are gone through in turn; the rate rises for ten steps and falls along half a cosine; all parameters decay.
--out gets golden.safetensors: batchN/inputs/NAME, losses/STEP/NAME (as weighted), final/PARAMETER of what was trained.
"""
import argparse
import math
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import FlavaForPreTraining

STEPS, WARMUP, PEAK = 50, 10, 2e-3
KINDS = ["pairs", "images", "texts", "pairs", "texts", "images"]


def batch(kind, config, g, rows=4, length=9):
    image, text = config.image_config, config.text_config
    grid = image.image_size // image.patch_size
    out = {}
    if kind != "texts":
        out["pixel_values"] = torch.randn(rows, 3, image.image_size, image.image_size, generator=g)
        out["bool_masked_pos"] = (torch.rand(rows, grid, grid, generator=g) < 0.4).long()
        out["bool_masked_pos"][:, 0, 0] = 1
        out["mim_labels"] = torch.randint(image.vocab_size, (rows, grid, grid), generator=g)
    if kind != "images":
        ids = torch.randint(5, text.vocab_size, (rows, length), generator=g)
        lengths = torch.randint(4, length + 1, (rows,), generator=g)
        lengths[0] = length
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
        hidden = (torch.rand(rows, length, generator=g) < 0.3) & mask.bool()
        hidden[:, 1] = True
        out["input_ids"] = ids * mask
        out["attention_mask"] = mask
        out["mlm_labels"] = torch.where(hidden, ids, -100)
        out["input_ids_masked"] = torch.where(hidden, torch.full_like(ids, 4), ids) * mask
    if kind == "pairs":
        out["itm_labels"] = torch.tensor([1, 0, 1, 1][:rows])
    return out


def rate(step):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    model = FlavaForPreTraining.from_pretrained(a.model).train()
    g = torch.Generator().manual_seed(a.seed)
    batches = [batch(kind, model.config, g) for kind in KINDS]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=PEAK, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    tensors = {f"batch{i}/inputs/{name}": t for i, b in enumerate(batches) for name, t in b.items()}
    for step in range(STEPS):
        inputs = batches[step % len(batches)]
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad()
        output = model(**{name: t.clone() for name, t in inputs.items()}, return_loss=True)
        output.loss.backward()
        optimiser.step()
        for name, loss in output.loss_info.items():
            if loss is not None:
                tensors[f"losses/{step}/{name}"] = loss.detach().clone()
    for name, p in trained.items():
        tensors[f"final/{name}"] = p.detach().clone()
    os.makedirs(a.out, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, os.path.join(a.out, "golden.safetensors"))
    print(f"{STEPS} steps, loss {output.loss.item():.4f} at the last")


if __name__ == "__main__":
    main()
