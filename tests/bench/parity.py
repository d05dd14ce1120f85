#!/usr/bin/env python3
"""The default-size model beside Hugging Face's on real pictures and sentences; run it by `make parity`.

Builds FlavaForPreTraining with random weights in transformers and compares, through our own file loading, decoding,
preprocessing and tokenizing, all image, text and multimodal states and the embeddings (tolerance 1e-4). Then
transformers loads the directory that we wrote from the same weights and must give its own numbers again.
"""
import os
import subprocess
import sys
import tempfile

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import BertTokenizerFast, FlavaForPreTraining, FlavaImageProcessor

import peer

TOLERANCE = 1e-4
COUNT = 12  # more than one piece of an inference batch


def states(model, pixels, text):
    with torch.inference_mode():
        flava = model.flava.eval()
        out = flava(pixel_values=pixels, **text, output_hidden_states=True)
        unit = torch.nn.functional.normalize
        return {
            "image": out.image_embeddings,
            "image_cls": out.image_embeddings[:, 0],
            "text": out.text_embeddings,
            "multimodal": out.multimodal_embeddings,
            "image_embedding": unit(flava.image_projection(out.image_embeddings[:, 0]), dim=-1),
            "text_embedding": unit(flava.text_projection(out.text_embeddings[:, 0]), dim=-1),
        }


def main():
    torch.set_num_threads(2)
    failed = False

    def check(name, difference, tolerance):
        nonlocal failed
        failed |= not difference <= tolerance
        print(f"  {name:28} {difference:.1e}  {'ok' if difference <= tolerance else f'MORE THAN {tolerance:.0e}'}")

    with tempfile.TemporaryDirectory() as tmp:
        path = lambda name: os.path.join(tmp, name)
        texts = peer.sentences(2000)
        model_dir = peer.checkpoint(path("model"), texts)
        files = peer.pictures(path("pictures"), COUNT - 2) + peer.pictures(path("tall"), 2, (230, 420))
        for i, file in enumerate(files):
            os.renames(file, path(f"all/{i:02}.jpg"))
        with open(path("sentences.txt"), "w", encoding="utf-8") as f:
            f.write("\n".join(texts[:COUNT]) + "\n")
        program = os.path.join(peer.ROOT, "target/release/examples/states")
        subprocess.run([program, model_dir, path("all"), path("sentences.txt"), path("ours.safetensors"), path("copy")], check=True)
        ours = load_file(path("ours.safetensors"))

        # image_size follows the config; preprocessor_config.json is absent, so both sides take the defaults.
        processor = FlavaImageProcessor()
        images = [Image.open(path(f"all/{i:02}.jpg")).convert("RGB") for i in range(COUNT)]
        pixels = processor(images, return_tensors="pt")["pixel_values"]
        tokenizer = BertTokenizerFast(os.path.join(model_dir, "vocab.txt"))
        text = tokenizer(texts[:COUNT], padding=True, truncation=True, max_length=77, return_tensors="pt")
        model = FlavaForPreTraining.from_pretrained(model_dir)
        theirs = states(model, pixels, text)

        print("largest differences, ours and transformers':")
        check("pixel_values", (ours["pixel_values"] - pixels).abs().max().item(), 0)
        check("input_ids", float((ours["input_ids"] != text["input_ids"]).sum()), 0)
        for name, value in theirs.items():
            check(name, (ours[name] - value).abs().max().item(), TOLERANCE)

        print("transformers, from the directory that we wrote:")
        copy, report = FlavaForPreTraining.from_pretrained(path("copy"), output_loading_info=True)
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            check(what, float(len(report[what])), 0)
        again = states(copy, FlavaImageProcessor.from_pretrained(path("copy"))(images, return_tensors="pt")["pixel_values"],
                       BertTokenizerFast.from_pretrained(path("copy"))(texts[:COUNT], padding=True, truncation=True, max_length=77, return_tensors="pt"))
        for name, value in theirs.items():
            check(name, (again[name] - value).abs().max().item(), 0)
    sys.exit(failed)


if __name__ == "__main__":
    main()
