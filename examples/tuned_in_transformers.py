"""A model of flava-finetune in transformers: its encoders, and the head beside them.

    python examples/tuned_in_transformers.py tuned new.txt              texts, one a line
    python examples/tuned_in_transformers.py tuned photo.png ..         images
    python examples/tuned_in_transformers.py tuned photo.png --text "what colour is it?"

Prints what `flava-finetune predict` writes: id, prediction, probability.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer, FlavaModel


class Tuned:
    """A folder of flava-finetune."""

    def __init__(self, folder):
        best = Path(folder) / "best"
        self.about = json.loads((best / "finetuned.json").read_text())
        self.head = load_file(best / "head.safetensors")
        self.model = FlavaModel.from_pretrained(best).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(best)
        self.image_processor = AutoImageProcessor.from_pretrained(best)
        self.eps = self.model.config.text_config.layer_norm_eps

    def cls(self, texts, images):
        """The CLS state that the head reads, after the encoder's last norm: [rows, width]."""
        inputs = {}
        if texts:
            length = self.about["recipe"]["max_tokens"]
            inputs = dict(self.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt"))
        if images:
            inputs |= self.image_processor(images, return_tensors="pt")
        tower = self.about["feature"].split("_")[0]
        if tower == "text":
            return self.model.text_model(**inputs).last_hidden_state[:, 0]
        if tower == "image":
            return self.model.image_model(**inputs).last_hidden_state[:, 0]
        return self.model(**inputs).multimodal_embeddings[:, 0]

    def classifier(self, states):
        """Dense, tanh, dense (RoBERTa's); or dense, GELU, layer norm, dense (the paper's)."""
        dense = torch.nn.functional.linear(states, self.head["classifier.dense.weight"], self.head["classifier.dense.bias"])
        if "classifier.layer_norm.weight" in self.head:
            weight, bias = self.head["classifier.layer_norm.weight"], self.head["classifier.layer_norm.bias"]
            dense = torch.nn.functional.layer_norm(torch.nn.functional.gelu(dense), weight.shape, weight, bias, self.eps)
        else:
            dense = torch.tanh(dense)
        return torch.nn.functional.linear(dense, self.head["classifier.out_proj.weight"], self.head["classifier.out_proj.bias"])

    @torch.no_grad()
    def answers(self, texts, images):
        """Names and probabilities, or values."""
        numbers = self.classifier(self.cls(texts, images))
        output = self.about["output"]
        if output["kind"] == "value":
            return [(f"{value:.6g}",) for value in numbers[:, 0].tolist()]
        if output["kind"] == "classes":
            names = self.about["class_names"] or [str(c) for c in range(numbers.shape[1])]
            shares = numbers.softmax(1)
        else:
            names, shares = output["answers"], numbers.sigmoid()
        best = shares.max(1)
        return [(names[i], f"{p:.6f}") for i, p in zip(best.indices.tolist(), best.values.tolist())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--text", help="the text that goes with each image")
    args = parser.parse_args()
    tuned = Tuned(args.folder)
    if args.files[0].endswith(".txt"):
        texts, images = Path(args.files[0]).read_text().splitlines(), None
        ids = [str(n + 1) for n in range(len(texts))]
    else:
        images = [Image.open(file).convert("RGB") for file in args.files]
        texts, ids = [args.text] * len(images) if args.text else None, args.files
    writer = csv.writer(sys.stdout)
    for row, answer in zip(ids, tuned.answers(texts, images)):
        writer.writerow([row, *answer])


if __name__ == "__main__":
    main()
