"""The parts of bench.py that fit something: the probe beside scikit-learn, training beside transformers, and statistics."""
import json
import os
import subprocess
import time
import warnings

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import BertTokenizerFast, FlavaConfig, FlavaImageProcessor, FlavaModel

import peer

THREADS = 2


def features(rows, held, classes, separation, width=768):
    """Features like a vision transformer's: correlated, of falling variance, with an offset, classes apart in some directions."""
    rng = np.random.default_rng(classes)
    spectrum = (1 + np.arange(width)) ** -0.5
    rotation, _ = np.linalg.qr(rng.standard_normal((width, width)))
    centres = rng.standard_normal((classes, width)) * separation * (np.arange(width) < 64)
    labels = rng.integers(0, classes, rows + held)
    x = (centres[labels] + rng.standard_normal((rows + held, width))) * spectrum @ rotation + rng.standard_normal(width) / 2
    x = np.ascontiguousarray(2 * x, dtype=np.float32)
    return {"train": x[:rows], "train_labels": labels[:rows], "held": x[rows:], "held_labels": labels[rows:]}


def objective(data, fit, penalty):
    """The mean objective of a scikit-learn fit, in float64."""
    scores = data["train"].astype(np.float64) @ fit.coef_.T + fit.intercept_
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    top = scores.max(1, keepdims=True)
    losses = top[:, 0] + np.log(np.exp(scores - top).sum(1)) - scores[np.arange(len(scores)), data["train_labels"]]
    return losses.mean() + penalty / 2 / len(scores) * np.sum(fit.coef_.astype(np.float64) ** 2)


def bench_probe(report, tmp, quick=False):
    """One penalty and the whole search, against scikit-learn's own loop over the same penalties."""
    from sklearn.linear_model import LogisticRegression

    warnings.filterwarnings("ignore")
    program = os.path.join(peer.ROOT, "target/release/examples/probe")
    sizes = [("a", 20000, 4000, 100, 0.8), ("b", 50000, 5000, 10, 0.5), ("c", 5000, 1000, 2, 0.125)]
    for name, rows, held, classes, separation in sizes[2:] if quick else sizes:
        data = features(rows, held, classes, separation)
        file = os.path.join(tmp, f"{name}.safetensors")
        save_file(data, file)

        def ours(what):
            return json.loads(subprocess.run([program, file, str(classes), what], check=True, stdout=subprocess.PIPE, text=True).stdout)

        def theirs(penalty):
            start = time.perf_counter()
            fit = LogisticRegression(C=1 / penalty, max_iter=1000).fit(data["train"], data["train_labels"])
            return time.perf_counter() - start, fit

        one, search = ours("3.1622776601683795"), ours("search")
        fits = {penalty: theirs(penalty) for penalty in [3.1622776601683795, *(fit["penalty"] for fit in search["fits"])]}
        seconds, fit = fits[3.1622776601683795]
        worse = (one["fits"][0]["loss"] / objective(data, fit, 3.1622776601683795) - 1)
        # What f32 and an early stop leave open, scikit-learn's answers at a strict tolerance decide.
        strict = LogisticRegression(C=1 / 3.1622776601683795, max_iter=3000, tol=1e-6).fit(data["train"].astype(np.float64), data["train_labels"])
        same = np.mean(np.array(one["predicted"]) == strict.predict(data["held"]))
        label = f"probe ({name}) {rows:,} x 768, {classes} classes"
        report.line(f"{label}, one penalty", 1 / one["seconds"], 1 / seconds, "fits/s", 3.0,
                    f"objective {worse:+.1e} of theirs; {100 * same:.2f} % of answers as theirs at tol 1e-6; {one['fits'][0]['iterations']} steps to {fit.n_iter_[0]}")
        total = sum(fits[f["penalty"]][0] for f in search["fits"])
        worst = max(f["loss"] / objective(data, fits[f["penalty"]][1], f["penalty"]) - 1 for f in search["fits"])
        report.line(f"{label}, the search ({len(search['fits'])})", 1 / search["seconds"], 1 / total, "searches/s", 10.0,
                    f"objectives at most {worst:+.1e} of theirs; {search['extra_mb']:.0f} MB beside {search['features_mb']:.0f} of features; bound: matrix products")
        for what, bad in [("objective", max(worse, worst) > 1e-7), ("answers", same < 0.999)]:
            if bad:
                report.missed.append(f"{label}: {what}")


def bench_statistics(report, speed):
    bootstrap = speed("bootstrap", 50000)
    for metric, seconds in bootstrap.items():
        report.line(f"1,000 resamples of 50,000 rows: {metric}", 1 / seconds, 1.0, "1/s", 1.0, f"{seconds:.2f} s; bar: one second; bound: drawing rows")
    retrieval = speed("retrieval", 5000, 25000)
    report.line("ranks of 5,000 x 25,000 both ways, of the products", retrieval["products"], retrieval["seconds"], "s", 0.6,
                f"{retrieval['seconds']:.2f} s, of which {retrieval['products']:.2f} s are the matrix products")


def training_rate(folder):
    """Rows per second of a log without its first line, which warms up."""
    lines = [json.loads(line) for line in open(os.path.join(folder, "log.jsonl"), encoding="utf-8")]
    rates = [line["rows_per_s"] for line in lines if line["kind"] == "train"][1:]
    return len(rates) / sum(1 / rate for rate in rates)


def finetune(task, tmp, name, settings):
    """Runs our trainer and gives its rows per second."""
    program = os.path.join(peer.ROOT, "target/release/flava-finetune")
    out = os.path.join(tmp, f"out-{name}")
    sets = [arg for setting in settings for arg in ("--set", setting)]
    command = [program, task, "--task-file", os.path.join(tmp, f"{name}.toml"), "--data", tmp, "--out", out, "--device", "cpu", "-q", *sets]
    subprocess.run([*command, "--model", os.path.join(tmp, f"model-{name}")], check=True, stdout=subprocess.DEVNULL)
    return training_rate(out)


def train_peer(model, head, batches, forward):
    """Rows per second of the usual loop: forward, backward, fused AdamW."""
    parameters = [p for p in [*model.parameters(), *head.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    rows, seconds = 0, 0.0
    for i, (inputs, labels) in enumerate(batches):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(head(forward(model, inputs)), labels)
        loss.backward()
        optimizer.step()
        if i > 0:
            rows, seconds = rows + len(labels), seconds + time.perf_counter() - start
    return rows / seconds


def bench_training(report, tmp, rows=96, batch=16):
    """A step of the base text encoder on sentences, and of a tiny model's VQA; the peer pads to 128, as its examples do."""
    import real_data

    texts = peer.sentences(2000)[:rows]
    peer.checkpoint(os.path.join(tmp, "model-text"), peer.sentences(2000))
    write_sentences(tmp, texts)
    ours = finetune("sentences", tmp, "text", ["epochs=1", f"batch_size={batch}", "dropout=0.1"])
    model = FlavaModel(FlavaConfig()).text_model.train()
    head = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(768, 768), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(768, 2))
    tokenizer = BertTokenizerFast(os.path.join(tmp, "model-text/vocab.txt"))
    batches = [(tokenizer(texts[i:i + batch], padding="max_length", truncation=True, max_length=128, return_tensors="pt"), torch.arange(batch) % 2)
               for i in range(0, batch * 3, batch)]
    theirs = train_peer(model, head, batches, lambda m, inputs: m(**inputs).last_hidden_state[:, 0])
    mean = np.mean([len(ids) for ids in tokenizer(texts)["input_ids"]])
    report.line("training step, base text encoder, f32, batch 16", ours, theirs, "rows/s", 2.0, f"{mean:.0f} tokens a sentence instead of 128; bound: matrix products, then AdamW")

    real_data.easy_vqa(tmp, limit=200)
    os.replace(os.path.join(tmp, "easy-vqa.toml"), os.path.join(tmp, "vqa.toml"))
    questions = json.load(open(os.path.join(tmp, "vqav2/v2_OpenEnded_mscoco_train2014_questions.json"), encoding="utf-8"))["questions"]
    tokenizer, model = tiny_model(os.path.join(tmp, "model-vqa"), [q["question"] for q in questions])
    ours = finetune("easy-vqa", tmp, "vqa", ["steps=40", "batch_size=32", "evaluate_every=1000", "head.hidden=256"])
    head = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.GELU(), torch.nn.LayerNorm(256), torch.nn.Linear(256, 13))
    batches = []
    for i in range(0, 32 * 8, 32):
        text = tokenizer([q["question"] for q in questions[i:i + 32]], padding="max_length", truncation=True, max_length=128, return_tensors="pt")
        batches.append((dict(text, pixel_values=torch.randn(32, 3, 64, 64)), torch.arange(32) % 13))
    theirs = train_peer(model.train(), head, batches, lambda m, inputs: m(**inputs).multimodal_embeddings[:, 0])
    report.line("training step, tiny model, VQA, f32, batch 32", ours, theirs, "rows/s", 2.0, "ours decodes the pictures too; bound: small operations")


def write_sentences(tmp, texts):
    import pyarrow
    import pyarrow.parquet

    os.makedirs(os.path.join(tmp, "sentences"))
    for split in ("train", "test"):
        some = texts if split == "train" else texts[:8]
        table = pyarrow.table({"sentence": some, "label": [i % 2 for i in range(len(some))]})
        pyarrow.parquet.write_table(table, os.path.join(tmp, f"sentences/{split}.parquet"))
    with open(os.path.join(tmp, "text.toml"), "w", encoding="utf-8") as f:
        f.write(f"""[[task]]
name = "sentences"
version = 1
suite = "own"
family = "text"
summary = "Is its number odd?"
classes = 2
metrics = ["accuracy"]
chance = 0.5
licence = "none"
citation = "none"
method = {{ kind = "fine_tune", feature = "text_cls" }}

[[task.source]]
folder = "sentences"
format = "parquet"
columns = {{ label = "label", texts = ["sentence"] }}
train = {{ name = "train", files = "train.parquet", rows = {len(texts)} }}
test = {{ name = "test", files = "test.parquet", rows = 8 }}
""")


def tiny_model(folder, texts, hidden=128, layers=3, seed=0, words=6000):
    """A small FLAVA with seeded random weights and a tokenizer of the texts' words, as transformers writes them."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(word for word in peer.vocabulary(texts, words) if not word.startswith("[unused")) + "\n")
    tokenizer = BertTokenizerFast(os.path.join(folder, "vocab.txt"))
    tokenizer.save_pretrained(folder)
    part = dict(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=hidden // 32, intermediate_size=4 * hidden)
    config = FlavaConfig(
        hidden_size=hidden, projection_dim=hidden, image_config=dict(part, image_size=64, patch_size=8),
        text_config=dict(part, vocab_size=len(tokenizer)), multimodal_config=dict(part, num_hidden_layers=2),
    )
    torch.manual_seed(seed)
    model = FlavaModel(config)
    model.save_pretrained(folder)
    FlavaImageProcessor(size=dict(height=64, width=64), crop_size=dict(height=64, width=64)).save_pretrained(folder)
    return tokenizer, model
