#!/usr/bin/env python3
"""Real data from packages of PyPI and npm: does training learn, and does the probe find what scikit-learn finds? Run it by `make learn`,
or a part: learn.py digits|sentiment|vqa. Each part ends with an assertion.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import datasets
import numpy as np
import pyarrow.parquet
import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression

import fitting
import peer
import real_data

EVAL = os.path.join(peer.ROOT, "target/release/flava-eval")
FINETUNE = os.path.join(peer.ROOT, "target/release/flava-finetune")


def run(*command):
    """Standard output of one of our programs."""
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def embedded(tmp, model, split):
    """CLS states and labels of a split's pictures, through `flava-eval embed`."""
    rows = pyarrow.parquet.read_table(os.path.join(tmp, f"ylecun/mnist/mnist/{split}-00000-of-00001.parquet")).to_pylist()
    folder = os.path.join(tmp, split)
    os.makedirs(folder)
    for i, row in enumerate(rows):
        with open(os.path.join(folder, f"{i:06}.png"), "wb") as f:
            f.write(row["image"]["bytes"])
    out = os.path.join(tmp, f"{split}.safetensors")
    run(EVAL, "embed", "--model", model, "--images", folder, "--out", out, "--force", "-q")
    with safe_open(out, "np") as f:
        return f.get_tensor("cls"), np.array([row["label"] for row in rows])


def digits(tmp):
    """The probe's accuracy is that of scikit-learn's LogisticRegression at the same penalty on the same features."""
    real_data.digits(tmp)
    model = os.path.join(tmp, "model")
    fitting.tiny_model(model, peer.sentences(200))
    command = [EVAL, "--model", model, "--task-file", os.path.join(tmp, "digits.toml"), "--tasks", "digits", "--data", tmp]
    record = json.loads(run(*command, "--out", os.path.join(tmp, "runs"), "--json", "-q"))[0]
    (x, y), (test, gold) = embedded(tmp, model, "train"), embedded(tmp, model, "test")
    fit = LogisticRegression(C=1 / record["details"]["penalty"], solver="newton-cholesky", max_iter=200, tol=1e-10).fit(x.astype(np.float64), y)
    theirs, ours = fit.score(test.astype(np.float64), gold), record["metrics"][0]["value"]
    print(f"digits: probe {ours:.4f}, scikit-learn {theirs:.4f} on the same features (an untrained model's), penalty {record['details']['penalty']:.3g}")
    assert abs(ours - theirs) <= 1 / len(gold), "the probe is not scikit-learn's"


def sentiment(tmp, seeds=3):
    """GLUE's default recipe from random weights beats the majority clearly, with every seed."""
    floors = real_data.sentiment(tmp)
    texts = pyarrow.parquet.read_table(os.path.join(tmp, "sentiment/train.parquet"))["sentence"].to_pylist()
    model = os.path.join(tmp, "model")
    fitting.tiny_model(model, texts, hidden=192, words=6000)
    command = [FINETUNE, "sentiment", "--task-file", os.path.join(tmp, "sentiment.toml"), "--data", tmp, "--model", model]
    records = json.loads(run(*command, "--out", os.path.join(tmp, "out"), "--seeds", seeds, "--json", "-q"))
    scores = [record["metrics"][0] for record in records]
    values = ", ".join(f"{100 * score['value']:.1f} ({100 * score['ci_low']:.1f} to {100 * score['ci_high']:.1f})" for score in scores)
    print(f"sentiment: {values}; majority {100 * floors['majority']:.1f}, TF-IDF with logistic regression {100 * floors['tfidf']:.1f}")
    assert all(score["ci_low"] > floors["majority"] + 0.1 for score in scores), "no better than the majority"


def vqa(tmp):
    """easy-VQA in VQAv2's form: well above who only reads the question, also after a kill; scored again, and answered for a server."""
    floors = real_data.easy_vqa(tmp)
    with open(os.path.join(tmp, "vqav2/v2_OpenEnded_mscoco_train2014_questions.json"), encoding="utf-8") as f:
        questions = [q["question"] for q in json.load(f)["questions"]]
    model, out = os.path.join(tmp, "model"), os.path.join(tmp, "out")
    fitting.tiny_model(model, questions)
    common = ["--task-file", os.path.join(tmp, "easy-vqa.toml"), "--data", tmp]
    settings = ["learning_rate=1e-3", "epochs=5", "batch_size=128", "clip_norm=1", "evaluate_every=150", "weight_decay=0.05"]
    sets = [arg for setting in settings for arg in ("--set", setting)]
    command = [FINETUNE, "easy-vqa", *common, "--model", model, "--out", out, "--json", *sets]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(os.path.join(out, "best/finetuned.json")):
        time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    record = json.loads(run(*command))[0]
    score = record["metrics"][0]
    print(f"easy-vqa: {100 * score['value']:.1f} ({100 * score['ci_low']:.1f} to {100 * score['ci_high']:.1f}), "
          f"the question alone {100 * floors['question_only']:.1f}; {record['details']['answers']['vocabulary']} answers, ceiling {record['details']['answers']['ceiling']:.3f}")
    assert score["ci_low"] > floors["question_only"] + 0.1, "no better than the question alone"
    again = json.loads(run(EVAL, "--model", out, "--tasks", "easy-vqa", *common, "--out", os.path.join(tmp, "again"), "--json", "-q"))[0]
    assert again["metrics"] == record["metrics"], "flava-eval scores it otherwise"
    run(FINETUNE, "predict", "--model", out, *common, "--split", "val2014", "--out", tmp, "-q")
    with open(os.path.join(tmp, "easy-vqa-val2014.csv"), encoding="utf-8") as f:
        answers = dict(line.rstrip("\n").split(",", 1) for line in f.readlines()[1:])
    with open(os.path.join(tmp, "vqav2/v2_OpenEnded_mscoco_val2014_questions.json"), encoding="utf-8") as f:
        asked = {str(q["question_id"]) for q in json.load(f)["questions"]}
    assert set(answers) == asked, "not every question is answered"


def main():
    torch.set_num_threads(2)
    datasets.disable_progress_bars()
    parts = {"digits": digits, "sentiment": sentiment, "vqa": vqa}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as tmp:
            parts[name](tmp)


if __name__ == "__main__":
    main()
