#!/usr/bin/env python3
"""Reads what `flava-eval export` writes with the tools that it is written for; exit 1 where one of them does not.

    python tests/bench/readers.py target/release/flava-eval RUN...

The program is run as `PROGRAM export RUN --format F --out DIR`, on made-up records of the paper's tasks and on each RUN.
"""
import glob
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import huggingface_hub
import mteb
import pandas
from lm_eval.utils import get_latest_filename, get_results_filenames, get_sample_results_filenames, make_table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

# Zero-shot accuracy of each, and rows of its test split.
ZERO_SHOT = {
    "imagenet": 50000, "food101": 25250, "cifar10": 10000, "cifar100": 10000, "cars": 8041, "aircraft": 3333, "dtd": 1880, "pets": 3669,
    "caltech101": 6085, "flowers102": 6149, "mnist": 10000, "stl10": 8000, "eurosat": 5000, "gtsrb": 12630, "kitti": 711, "pcam": 32768,
    "clevr": 15000, "fer2013": 7178, "sun397": 19850, "rendered-sst2": 1821, "country211": 21100,
}
GLUE = ["cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "stsb"]
# A card that results are merged into.
CARD = """---
license: apache-2.0  # theirs
tags: [a,  'b: c']
note: |
  model-index:

  ---
model-index:
# by hand
- name: other
  results:
  - task: {type: image-classification}
    dataset: {type: theirs, name: Theirs}
    metrics:
    - {type: f1, value: 0.5}
language:
- en
---
# Title

---
""".replace("\n", "\r\n")
MAIN = {"cola": "matthews", "stsb": "pearson", "mrpc": "accuracy_f1_mean", "qqp": "accuracy_f1_mean"}


def score(metric, value, n, split="test"):
    unit = "correlation" if metric in ("matthews", "pearson") else "share"
    return {
        "metric": metric, "split": split, "value": value, "standard_error": 0.0125, "ci_low": value - 0.025, "ci_high": value + 0.025,
        "interval": "wilson", "n": n, "unit": unit, "higher_is_better": True,
    }


def record(task, method, scores, **more):
    return {
        "task": task, "variant": "", "key": task, "task_version": 1, "family": "vision", "protocol": "flava", "method": method,
        "feature": "image_cls", "split": "test", "metrics": scores, "chance": 0.1, "train_rows": 0, "skipped": 0, "rows_of": scores[0]["n"],
        "model": "facebook/flava-full", "model_revision": "53bd3ab9d0a9d1b6a3c3ff4ed0ee8ae48ff32e1d", "model_fingerprint": "0123456789abcdef",
        "parameters": 241000000, "flops_per_row": 41100000000.0, "hub_task": "image-classification", "data": "clip-benchmark/x",
        "data_revision": "0000000000000000000000000000000000001e10", "data_fingerprint": "11", "transform": "224x224-bicubic-pillow13-4627c624",
        "precision": "f32", "device": "cuda:0", "seed": 0, "initialisation": "checkpoint", "recipe": "", "recipe_digest": "", "departures": [],
        "mismatches": [], "publishable": True, "notes": ["a \"note\"\nof two lines"], "details": {}, "program": "flava 0.1.0", "commit": "c0ffee",
        "date": "2026-01-31T12:00:00Z", "seconds": 1.5, **more,
    }


def paper_run(folder):
    records = [
        record(f"{name}-zero-shot", "zero_shot", [score("accuracy", 0.5 + at / 100, n), score("mean_per_class", 0.4 + at / 100, n)], hub_task="zero-shot-image-classification")
        for at, (name, n) in enumerate(ZERO_SHOT.items())
    ]
    records += [
        record(f"glue-{name}", "fine_tune", [score(MAIN.get(name, "accuracy"), 0.5 + at / 100, 1000)], family="text", hub_task="text-classification")
        for at, name in enumerate(GLUE)
    ]
    records[-4]["metrics"].append(score("accuracy", 0.6, 900, "validation_mismatched"))
    for name, images, captions in [("flickr30k", 1000, 5000), ("coco", 5000, 25010)]:
        recalls = [score(f"{side}_recall@{k}", 0.4 + k / 20, n) for side, n in [("text", images), ("image", captions)] for k in (1, 5, 10)]
        records.append(record(f"{name}-retrieval", "retrieval", recalls, family="multimodal", hub_task="text-retrieval"))
    for name, n in [("imagenet", 50000), ("cifar10", 10000)]:
        records.append(record(name, "linear_probe", [score("accuracy", 0.7554, n), score("top5", 0.923, n), score("mean_per_class", 0.75, n)]))
    records.append(record("mnist", "knn", [score("accuracy", 0.9, 10)], variant="knn", publishable=False, departures=["--limit", "run as knn"]))
    for made in records:
        text = json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        made["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        name = made["task"] + ("." + made["variant"] if made["variant"] else "")
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(made, f)
    return records


def lm_eval(out, records):
    folders = glob.glob(os.path.join(out, "*"))
    assert len(folders) == 1, folders
    files = [os.path.basename(name) for name in glob.glob(os.path.join(folders[0], "*"))]
    results = get_results_filenames([os.path.join("/", name) for name in files])
    with open(os.path.join(folders[0], os.path.basename(get_latest_filename(results))), encoding="utf-8") as f:
        told = json.load(f)
    table = make_table(told)
    if "groups" in told:
        make_table(told, "groups")
    for made in records:
        main = made["metrics"][0]
        assert f"{main['value']:.4f}" in table and f"{main['standard_error']:.4f}" in table, (made["task"], table)
    samples = get_sample_results_filenames([os.path.join("/", name) for name in files])
    for name in samples:
        pandas.read_json(os.path.join(folders[0], os.path.basename(name)), lines=True)
    convert = ["convert", "lm_eval", "--log_path", os.path.join(folders[0], os.path.basename(results[0])), "--output_dir", os.path.join(out, "converted")]
    who = ["--source_organization_name", "me", "--evaluator_relationship", "other"] + ["--include_samples"] * bool(samples)
    found = subprocess.run([sys.executable, "-m", "every_eval_ever", *convert, *who], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert found.returncode == 0 and "Converted" in found.stdout, found.stdout[-2000:]
    return f"make_table, {table.count(chr(10))} lines, {len(samples)} files of samples; {found.stdout.split(chr(10))[-2]}"


def clip_benchmark(out, records):
    table = os.path.join(out, "benchmark.csv")
    program = os.path.join(os.path.dirname(sys.executable), "clip_benchmark")
    subprocess.run([program, "build", out, "--output", table], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=out)
    found = pandas.read_csv(table)
    columns = {"dataset", "model", "pretrained", "task", "language", "model_fullname"}
    assert columns <= set(found.columns), found.columns
    assert not found.duplicated(["model_fullname", "dataset", "task"]).any()
    for made in records:
        if made["task"] == "pets-zero-shot":
            row = found[(found.dataset == "vtab/pets") & (found.task == "zeroshot_classification")].iloc[0]
            assert math.isclose(row.acc1, made["metrics"][0]["value"])
    return f"build, {len(found)} rows"


def model_index(out, records):
    with open(os.path.join(out, "README.md"), encoding="utf-8", newline="") as f:
        text = f.read()
    at = CARD.index("language:")
    if text == CARD:
        return "nothing that may be told"
    assert text.startswith(CARD[:at]) and text.endswith(CARD[at:]) and "\n" not in text.replace("\r\n", "")
    card = huggingface_hub.ModelCard.load(os.path.join(out, "README.md"))
    results = card.data.eval_results
    assert card.data.license == "apache-2.0" and card.data.tags == ["a", "b: c"] and card.data.language == ["en"]
    assert card.data.note == "model-index:\n\n---\n" and results[0].dataset_type == "theirs"
    for made in records:
        if made["publishable"]:
            main = made["metrics"][0]
            same = [r for r in results if r.dataset_config == f"{made['task']} ({made['protocol']})" and r.metric_type == main["metric"]]
            assert len(same) == 1 and math.isclose(same[0].metric_value, round(main["value"] * 100, 2), abs_tol=0.0051), made["task"]
    return f"ModelCard.load, {len(results)} results of {card.data.model_name}"


def eee(out, records):
    files = glob.glob(os.path.join(out, "data/*/*/*/*.json*"))
    assert files
    found = subprocess.run([sys.executable, "-m", "every_eval_ever", "validate", "--format", "github", *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert found.returncode == 0, found.stdout[-3000:]
    return f"validate without a warning, {len(files)} files"


def mteb_tree(out, records):
    files = [name for name in glob.glob(os.path.join(out, "results/*/*/*.json")) if not name.endswith("model_meta.json")]
    for name in files:
        result = mteb.TaskResult.from_disk(pathlib.Path(name))
        assert result.task_name == os.path.basename(name)[:-5]
        assert mteb.get_task(result.task_name).metadata.main_score in result.scores[next(iter(result.scores))][0]
        result.get_score()
    for name in glob.glob(os.path.join(out, "results/*/*/model_meta.json")):
        with open(name, encoding="utf-8") as f:
            told = json.load(f)
        mteb.models.ModelMeta.model_validate(told)
    if not files:
        return "nothing that mteb has"
    frame = mteb.ResultCache(out).load_results(include_remote=False).to_dataframe()
    assert len(frame) == len(files), frame
    return f"from_disk and ResultCache, {len(files)} tasks"


def open_clip(out, records):
    if not os.listdir(out):
        return "nothing that has a column"
    wide = pandas.read_csv(os.path.join(out, "openclip_results.csv"))
    retrieval = pandas.read_csv(os.path.join(out, "openclip_retrieval_results.csv"))
    assert wide.shape == (1, 43) and retrieval.shape == (1, 24), (wide.shape, retrieval.shape)
    filled = wide.iloc[0, 5:].notna().sum()
    assert filled == 20 and wide["Average perf. on 38 datasets"].isna().all(), filled
    return f"pandas, {filled} of 38 columns"


def timm(out, records):
    if not os.listdir(out):
        return "no probe of ImageNet"
    found = pandas.read_csv(os.path.join(out, "results-imagenet.csv"), thousands=",")
    row = found.iloc[0]
    assert math.isclose(row.top1 + row.top1_err, 100) and row.img_size == 224 and row.param_count == 241.0, row
    return f"pandas, top1 {row.top1}"


def tensorboard(out, records):
    files = glob.glob(os.path.join(out, "*/*/events.out.tfevents.*"))
    for name in files:
        events = EventAccumulator(os.path.dirname(name))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            assert math.isfinite(events.Scalars(tag)[0].value)
        start = HParamsPluginData.FromString(events.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
        end = HParamsPluginData.FromString(events.summary_metadata["_hparams_/session_end_info"].plugin_data.content)
        told = start.session_start_info
        assert told.hparams["task"].string_value in name and end.session_end_info.end_time_secs >= told.start_time_secs
        for made in records:
            if made["task"] == told.hparams["task"].string_value and not made["variant"] and len({s["split"] for s in made["metrics"]}) == 1:
                main = made["metrics"][0]
                assert math.isclose(events.Scalars(main["metric"])[0].value, main["value"], rel_tol=1e-6)
                assert told.hparams["publishable"].bool_value == made["publishable"]
    assert files
    return f"EventAccumulator and hparams, {len(files)} runs"


READERS = {
    "lm-eval": lm_eval, "clip-benchmark": clip_benchmark, "model-index": model_index, "eee": eee, "mteb": mteb_tree,
    "open-clip": open_clip, "timm": timm, "tensorboard": tensorboard,
}


def read(program, run, name, records):
    with tempfile.TemporaryDirectory() as out:
        if name == "model-index":
            with open(os.path.join(out, "README.md"), "w", encoding="utf-8", newline="") as f:
                f.write(CARD)
        made = subprocess.run([program, "export", run, "--format", name, "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert made.returncode == 0, made.stderr
        return READERS[name](out, records)


def own_records(run):
    records = []
    for name in glob.glob(os.path.join(run, "*.json")):
        if os.path.basename(name) not in ("plan.json", "status.json"):
            with open(name, encoding="utf-8") as f:
                records.append(json.load(f))
    return records


def main():
    program, runs = os.path.abspath(sys.argv[1]), sys.argv[2:]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        todo = [("made up", folder, paper_run(folder))] + [(run, run, own_records(run)) for run in runs]
        for label, run, records in todo:
            for name in READERS:
                try:
                    told = read(program, run, name, records)
                    assert label != "made up" or not told.startswith("no"), told
                    print(f"ok      {name:15} {label}: {told}", flush=True)
                except Exception as error:  # a reader may raise anything
                    failed = True
                    print(f"FAILED  {name:15} {label}: {type(error).__name__}: {error}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
