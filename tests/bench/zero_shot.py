"""Zero-shot classification and retrieval of 5,000 pictures beside CLIP_benchmark on the same model: bench.py zero-shot.

Ours as a user runs it, from the program's start to its files; theirs the measures of clip_benchmark over a loader of two workers, with
transformers' processor, tokenizer and model, all of it loaded before the clock starts. Both must find the same.
"""
import csv
import glob
import json
import os
import subprocess
import tempfile
import time

import torch
from PIL import Image
from transformers import BertTokenizerFast, FlavaImageProcessor, FlavaModel

import answers
import fitting
import peer

CLASSES = ["red barn", "green field", "blue lake", "old town", "long road", "small bird", "tall tree", "white cloud", "dark forest", "bright star"]
TEMPLATES = ["a photo of a {c}.", "a drawing of a {c}."]
CAPTIONS, LENGTH, BATCH = 5, 77, 64


class Embeddings(torch.nn.Module):
    """A model as CLIP_benchmark asks for it: token ids are padded by zeros."""

    def __init__(self, folder):
        super().__init__()
        self.flava = FlavaModel.from_pretrained(folder).eval()

    def encode_image(self, pixels):
        return self.flava.get_image_features(pixel_values=pixels)[:, 0]

    def encode_text(self, ids):
        return self.flava.get_text_features(input_ids=ids, attention_mask=(ids != 0).long())[:, 0]


class Pictures(torch.utils.data.Dataset):
    classes = CLASSES

    def __init__(self, rows, processor):
        self.rows, self.processor = rows, processor

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        file, target = self.rows[row]
        return self.processor(Image.open(file).convert("RGB"), return_tensors="pt")["pixel_values"][0], target


def collate(batch):
    pixels, targets = zip(*batch)
    return torch.stack(pixels), torch.tensor(targets) if isinstance(targets[0], int) else list(targets)


def accuracy(logits, target, topk):
    """In the place of clip_benchmark's, which numpy 2.4 refuses."""
    best = logits.topk(max(topk), 1).indices == target[:, None]
    return [best[:, :k].any(1).double().mean().item() for k in topk]


def ours(tmp, out, *args):
    """Seconds of the whole program, and the metrics of its record by name."""
    start = time.perf_counter()
    folder = os.path.join(tmp, out)
    with tempfile.TemporaryDirectory() as cache:  # every run computes every feature
        command = [os.path.join(peer.ROOT, "target/release/flava-eval"), *args, "--model", os.path.join(tmp, "model"), "--out", folder, "--device", "cpu", "-q"]
        subprocess.run(command, check=True, cwd=tmp, env=os.environ | {"FLAVA_CACHE": cache}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    [file] = glob.glob(os.path.join(folder, "**/own-*.json"), recursive=True)
    with open(file, encoding="utf-8") as f:
        return seconds, {metric["metric"]: metric["value"] for metric in json.load(f)["metrics"]}


def bench(report, tmp):
    from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

    zeroshot_classification.accuracy = accuracy
    answers.pictures(tmp, count=5000)
    files = sorted(glob.glob(os.path.join(tmp, "pictures/*.jpg")))
    sentences = peer.sentences(2000)
    captions = [[sentences[(row * CAPTIONS + i) * 7 % len(sentences)] + f" {row}" for i in range(CAPTIONS)] for row in range(len(files))]
    with open(os.path.join(tmp, "pictures.csv"), "w", newline="") as rows, open(os.path.join(tmp, "pairs.csv"), "w", newline="") as pairs:
        rows, pairs = csv.writer(rows), csv.writer(pairs)
        rows.writerow(["image", "label"])
        pairs.writerow(["image", "caption"])
        for row, file in enumerate(files):
            name = os.path.relpath(file, tmp)
            rows.writerow([name, CLASSES[row % len(CLASSES)]])
            pairs.writerows([name, caption] for caption in captions[row])
    fitting.tiny_model(os.path.join(tmp, "model"), sentences + CLASSES, hidden=256, layers=4)
    model = Embeddings(os.path.join(tmp, "model"))
    tokenizer = BertTokenizerFast.from_pretrained(os.path.join(tmp, "model"))
    tokenize = lambda texts: tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")["input_ids"]
    processor = FlavaImageProcessor.from_pretrained(os.path.join(tmp, "model"))

    def loader(targets):
        return torch.utils.data.DataLoader(Pictures(list(zip(files, targets)), processor), batch_size=BATCH, num_workers=2, collate_fn=collate)

    def classify():
        labels = [row % len(CLASSES) for row in range(len(files))]
        return zeroshot_classification.evaluate(model, loader(labels), tokenize, CLASSES, TEMPLATES, "cpu", amp=False)

    def retrieve():
        return zeroshot_retrieval.evaluate(model, loader(captions), tokenize, "cpu", amp=False, recall_k_list=[1, 5])

    templates = [argument for template in TEMPLATES for argument in ("--template", template)]
    ways = [
        ("zero-shot", ("zero-shot", "--csv", "pictures.csv", "--classes", ",".join(CLASSES), *templates), classify, {"accuracy": "acc1"}),
        ("retrieval", ("retrieve", "--pairs", "pairs.csv"), retrieve,
         {"image_recall@5": "image_retrieval_recall@5", "text_recall@5": "text_retrieval_recall@5"}),
    ]
    for name, arguments, evaluate, same in ways:
        seconds, found = ours(tmp, name, *arguments)
        start = time.perf_counter()
        theirs = evaluate()
        took = time.perf_counter() - start
        apart = max(abs(found[here] - theirs[there]) for here, there in same.items())
        if apart > 2 / len(files):
            report.missed.append(f"{name}: other answers than CLIP_benchmark")
        report.line(f"{name} of {len(files):,} pictures, beside CLIP_benchmark", len(files) / seconds, len(files) / took, "pictures/s", 2.5,
                    f"{seconds:.1f} s from start to files, theirs {took:.1f} s when loaded; measures at most {apart:.4f} apart")
