#!/usr/bin/env python3
"""Ids of transformers' BertTokenizerFast for awkward texts and pairs: `python tokenizer_golden.py FILE.json`."""
import json
import random
import sys
import tempfile

import transformers
from transformers import BertTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + "a photo of the cat dog un ##believ ##able ##s ##ing cafe naive o k ok 中 文 ! ? . , - ' # [ ] mask ##1 2 20 ##24 ##x x".split()
AWKWARD = ["\u00e9", "\u0130", "\u00df", "\u03a3", "\u4e2d", "\U0001f600", "\u200d", "\ufe0f", "\u0301", "\u00a0", "\u3000", "\u2019", "\u00ad", "\x00", "\t", "\ufffd", "[MASK]", "[SEP]", "cafe\u0301", "CAF\u00c9"]


def text(rng):
    parts = [rng.choice([rng.choice(WORDS), rng.choice(AWKWARD), chr(rng.randint(32, 126)), "Unbelievable", "PHOTOS", "x" * 120]) for _ in range(rng.randint(0, 14))]
    return rng.choice(["", " "]).join(parts)


def main():
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as vocab:
        vocab.write("\n".join(WORDS))
        vocab.flush()
        tokenizer = BertTokenizerFast(vocab.name)
    rng, cases = random.Random(0), []
    for i in range(300):
        a, b, length = text(rng), text(rng), rng.choice([77, 77, 9, 5])
        pair = [a, b] if i % 3 == 0 and b else [a]  # the fast and slow tokenizers disagree on an empty second text
        encoding = tokenizer(*pair, truncation=True, max_length=length)
        cases.append(dict(texts=pair, max_length=length, input_ids=encoding["input_ids"], token_type_ids=encoding["token_type_ids"]))
    with open(sys.argv[1], "w") as f:
        json.dump(dict(transformers=transformers.__version__, words=WORDS, cases=cases), f, separators=(",", ":"))


if __name__ == "__main__":
    main()
