#!/usr/bin/env python3
"""Files and caches between Python's libraries and flava-eval, both ways; run it by `make parity`.

A model as transformers writes it and data as datasets writes it are evaluated as they are; huggingface_hub and flava-eval
read each other's cache over the same server without fetching anything again.
"""
import io
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, disable_progress_bars, load_dataset
from PIL import Image as PillowImage
from transformers import BertTokenizerFast, FlavaConfig, FlavaImageProcessor, FlavaModel

import peer

PROGRAM = os.path.join(peer.ROOT, "target/release/flava-eval")
TASK = ["--tasks", "mnist", "--allow-mismatch", "--quiet", "--json"]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def model(folder):
    texts = peer.sentences(200)
    parts = {"image_config": SIZE | {"image_size": 32, "patch_size": 8}, "text_config": SIZE | {"vocab_size": 400}, "multimodal_config": SIZE}
    FlavaModel(FlavaConfig(**parts, hidden_size=32, projection_dim=24)).save_pretrained(folder)
    vocabulary = os.path.join(folder, "words.txt")
    with open(vocabulary, "w", encoding="utf-8") as f:
        f.write("\n".join(peer.vocabulary(texts, 400)) + "\n")
    BertTokenizerFast(vocabulary).save_pretrained(folder)
    os.remove(vocabulary)
    size = {"height": 32, "width": 32}
    FlavaImageProcessor(size=size, crop_size=size).save_pretrained(folder)


def digits(count, seed):
    rng = np.random.default_rng(seed)
    rows = {"image": [], "label": []}
    for i in range(count):
        pixels = rng.integers(0, 40, (28, 28), dtype=np.uint8)
        pixels[:, 2 + 2 * (i % 10): 5 + 2 * (i % 10)] += 200
        file = io.BytesIO()
        PillowImage.fromarray(pixels).save(file, "PNG")
        rows["image"].append({"bytes": file.getvalue(), "path": None})
        rows["label"].append(i % 10)
    return Dataset.from_dict(rows, features=Features({"image": Image(), "label": ClassLabel(names=[f"digit {i}" for i in range(10)])}))


def data(folder):
    os.makedirs(os.path.join(folder, "mnist"))
    for seed, (split, count) in enumerate([("train", 200), ("test", 100)]):
        digits(count, seed).to_parquet(os.path.join(folder, f"mnist/{split}-00000-of-00001.parquet"), batch_size=64)


def flava_eval(tmp, *args, code=0, **variables):
    run = subprocess.run([PROGRAM, *args], cwd=tmp, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.returncode == code, (args, run.returncode, run.stderr)
    return json.loads(run.stdout) if run.stdout.startswith(("[", "{")) else run.stdout


def metrics(records):
    return [record["metrics"] for record in records]


def check(name, passed):
    print(f"{name}: {'yes' if passed else 'NO'}", flush=True)
    if not passed:
        sys.exit(1)


def python(code, **variables):
    """Runs Python's client in a process of its own: it reads the environment when it is imported."""
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


SNAPSHOTS = """
from huggingface_hub import snapshot_download
print(snapshot_download("lab/flava"))
print(snapshot_download("ylecun/mnist", repo_type="dataset", revision="main"))
"""


def main():
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as tmp:
        model_dir, data_dir = os.path.join(tmp, "model"), os.path.join(tmp, "data/ylecun/mnist")
        model(model_dir)
        data(data_dir)
        direct = flava_eval(tmp, "--model", model_dir, "--data", "data", "--out", "direct", *TASK)
        check("a model of transformers on data of datasets is evaluated without conversion", direct[0]["metrics"][0]["n"] == 100)
        verified = flava_eval(tmp, "verify", "--data", "data", "--tasks", "mnist", "--json", "-q", code=1)
        check("the class names in the schema's metadata are read", verified["tasks"][0]["class_names"] == 10)

        # A row of one's own without a pinned commit: both clients then mean the branch main.
        row = flava_eval(tmp, "tasks", "show", "mnist").replace('name = "mnist"', 'name = "digits"')
        row = row.replace('revision = "77f3279092a1c1579b2250db8eafed0ad422088c"\n', "")
        with open(os.path.join(tmp, "digits.toml"), "w", encoding="utf-8") as f:
            f.write(row)
        own = ["--model", "lab/flava", "--task-file", "digits.toml", *TASK]
        own[own.index("mnist")] = "digits"
        repos = {"models/lab/flava": model_dir, "datasets/ylecun/mnist": data_dir}

        hub = peer.Hub(repos)
        theirs = {"HF_HOME": os.path.join(tmp, "theirs"), "HF_ENDPOINT": hub.endpoint}
        python(SNAPSHOTS, **theirs)
        hub.stop()
        ours = flava_eval(tmp, *own, "--offline", "--out", "from-python", **theirs)
        check("flava-eval reads huggingface_hub's cache without a network", metrics(ours) == metrics(direct))

        hub = peer.Hub(repos)
        home = {"HF_HOME": os.path.join(tmp, "ours"), "HF_ENDPOINT": hub.endpoint}
        fetched = flava_eval(tmp, *own, "--out", "from-hub", **home)
        check("what flava-eval fetches gives the same numbers", metrics(fetched) == metrics(direct))
        offline = python(SNAPSHOTS.replace('"lab/flava"', '"lab/flava", local_files_only=True').replace('revision="main"', "local_files_only=True"), **home)
        check("huggingface_hub reads flava-eval's cache without a network", len(offline.splitlines()) == 2)
        before = python(SNAPSHOTS, **home)
        requests = hub.stop()
        again = [line for line in requests if line.startswith("GET cdn")]
        names = {line.split("file=")[-1] for line in again}
        check("huggingface_hub fetches nothing of it again", len(again) == len(names) and before == offline)

        files = {split: os.path.join(before.splitlines()[1], f"mnist/{split}-*.parquet") for split in ("train", "test")}
        rows = load_dataset("parquet", data_files=files, cache_dir=os.path.join(tmp, "datasets"))
        check("datasets reads flava-eval's cache", (rows["train"].num_rows, rows["test"].num_rows) == (200, 100))


if __name__ == "__main__":
    main()
