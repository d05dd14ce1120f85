"""Training steps beside transformers' FlavaForPreTraining and torchmultimodal's FLAVA: the same sizes, batch, labels and AdamW.

Part of bench.py. Masks and visual words are given, so that neither side runs a codebook.
"""
import json
import os
import subprocess
import time

import torch
from safetensors.torch import save_file
from transformers import FlavaConfig, FlavaForPreTraining

import peer

# Of the default model, with fewer layers, so that a run takes minutes.
LAYERS, ROWS, STEPS = 4, 16, 3
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
        best = min(best, time.perf_counter() - start)
    return best


def transformers_step(model_dir, inputs, bf16):
    model = FlavaForPreTraining.from_pretrained(model_dir).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.1, fused=True)

    def step():
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**{name: t.clone() for name, t in inputs.items()}, return_loss=True).loss
        loss.backward()
        optimiser.step()

    return timed(step)


def torchmultimodal_step(config, inputs, kind, bf16):
    """None where the package is not there."""
    try:
        from torchmultimodal.models.flava.model import flava_model_for_pretraining
    except Exception:
        return None
    c = dict(hidden_size=768, num_attention_heads=12, num_hidden_layers=LAYERS)
    model = flava_model_for_pretraining(
        **{f"{part}_{name}": value for part in ("image", "text", "multimodal") for name, value in c.items()}).train()
    del model.image_codebook
    model.image_codebook = None
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
    labels = inputs.get("mlm_labels")
    if labels is not None:
        labels = torch.where(labels == -100, -1, labels)
    names = {"images": "image", "texts": "text", "pairs": "mm"}

    def step():
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            flava = model.model(image=inputs.get("pixel_values"), text=inputs.get("input_ids"),
                                image_patches_mask=inputs["bool_masked_pos"].flatten(1) if "bool_masked_pos" in inputs else None,
                                text_masked=inputs.get("input_ids_masked"), required_embedding=names[kind], skip_unmasked_mm_encoder=True)
            image_labels = inputs["mim_labels"].flatten(1).clone() if "mim_labels" in inputs else None
            if image_labels is not None:
                image_labels[inputs["bool_masked_pos"].flatten(1) == 0] = -1
            out = model.loss(
                image_sequence=flava.image.last_hidden_state if flava.image else None,
                text_sequence=flava.text.last_hidden_state if flava.text else None,
                image_masked_sequence=flava.image_masked.last_hidden_state if flava.image_masked else None,
                text_masked_sequence=flava.text_masked.last_hidden_state if flava.text_masked else None,
                multimodal_sequence=flava.multimodal.last_hidden_state if flava.multimodal else None,
                multimodal_masked_sequence=flava.multimodal_masked.last_hidden_state if flava.multimodal_masked else None,
                itm_labels=inputs.get("itm_labels"), mim_labels=image_labels, mlm_labels=labels,
                projected_image_embeddings=flava.projected_image_embeddings, projected_text_embeddings=flava.projected_text_embeddings)
            loss = sum(value for value in vars(out.losses).values() if value is not None) if not isinstance(out.losses, dict) else sum(
                value for value in out.losses.values() if value is not None)
        loss.backward()
        optimiser.step()

    return timed(step)


def ours(*args):
    program = os.path.join(peer.ROOT, "target/release/examples/steps")
    return json.loads(subprocess.run([program, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout)


def bench(report, tmp):
    path = lambda name: os.path.join(tmp, name)
    layers = dict(num_hidden_layers=LAYERS)
    config = FlavaConfig(image_config=layers, text_config=layers, multimodal_config=layers, init_codebook=False)
    FlavaForPreTraining(config).save_pretrained(path("steps"))
    for bf16 in (False, True):
        kind_of = "bf16" if bf16 else "f32"
        for kind, length, bar in (("images", 0, 1.3), ("texts", PADDED, 1.3), ("pairs", PADDED, 1.05)):
            inputs = batch(kind, config, length)
            save_file({name: t.contiguous() for name, t in inputs.items()}, path("batch.safetensors"))
            mine = ours(path("steps"), path("batch.safetensors"), kind_of, STEPS)
            theirs = transformers_step(path("steps"), inputs, bf16)
            report.line(f"step, {kind}, {kind_of}, transformers", ROWS / mine["seconds"], ROWS / theirs, "rows/s", bar)
            other = torchmultimodal_step(config, inputs, kind, bf16)
            if other:
                report.line(f"step, {kind}, {kind_of}, torchmultimodal", ROWS / mine["seconds"], ROWS / other, "rows/s", bar)
        inputs = batch("texts", config, 24)
        save_file({name: t.contiguous() for name, t in inputs.items()}, path("batch.safetensors"))
        mine = ours(path("steps"), path("batch.safetensors"), kind_of, STEPS)
        theirs = transformers_step(path("steps"), padded(inputs, PADDED), bf16)
        report.line(f"step, texts of real lengths, {kind_of}", ROWS / mine["seconds"], ROWS / theirs, "rows/s", 2.0)
