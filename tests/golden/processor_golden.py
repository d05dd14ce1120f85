#!/usr/bin/env python3
"""Folders with the files of tokenizers and image processors, as old and new transformers lay them out, and what transformers makes of them.

usage, in this order: `python processor_golden.py processor` with transformers 5.24.0 (writes v5/, as FlavaProcessor saves itself there),
then the same with transformers 4.57.6 (writes the other folders and expected.json: BertTokenizerFast's ids and the slow image processor's
pixels, from the files). Run again with transformers 5, it checks that 5 makes the same of all folders but special_map/, whose
additional_special_tokens it no longer reads. Both with torch 2.11.0, torchvision 0.26.0 and pillow 13.0.0.

v5/            processor_config.json with the image processor nested in it, tokenizer.json, tokenizer_config.json; no preprocessor_config.json
added_tokens/  vocab.txt and added_tokens.json: ids out of order and with a gap (made contiguous), one word that vocab.txt has under another id
added_decoder/ vocab.txt and tokenizer_config.json's added_tokens_decoder, with flags; the other two files beside it are then not read
special_map/   vocab.txt and special_tokens_map.json's additional_special_tokens, one a plain string and one with flags; added_tokens.json
cased/         a tokenizer.json that lower-cases, and a tokenizer_config.json that says not to
json_added/    a tokenizer.json with an added token, and a tokenizer_config.json with that one and one more
"""
import json
import pathlib
import random
import shutil
import sys

import numpy as np
import PIL
import transformers
from PIL import Image

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + "a b x ent foo A Foo the cat photo of un ##believ ##able ##s ##x ##foo cafe caf ##é naive mask [ ] < > ! . 中 文 2 ##4".split()
TEXTS = ["a photo of the cat", "a [ENT] b", "a [ENT]b", "x[ENT]x", "a [ent] b", "A <Foo> b", "A <foo> b", "the<Foo>", "[MASK]x", "a [mask] x", "Foo foo A a", "xFoox", "foox x", "CAFÉ café cafe\u0301", "中文 24", "Unbelievables!", "", "zz [UNK] zz", "[CLS] a [SEP]", "a <B> b", "a<b>b"]
HEIGHT, WIDTH, SIDE = 5, 7, 24


def token(content, special=False, **flags):
    return dict(dict(content=content, lstrip=False, normalized=not special, rstrip=False, single_word=False, special=special), **flags)


def image():
    rng = random.Random(0)
    return bytes(rng.randrange(256) for _ in range(HEIGHT * WIDTH * 3))


def folder(root, name, files, vocabulary=True):
    path = root / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    if vocabulary:
        (path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    for file, contents in files.items():
        (path / f"{file}.json").write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_v5(root):
    half, size, codebook = [0.5] * 3, dict(height=SIDE, width=SIDE), dict(height=8, width=8)
    pictures = transformers.FlavaImageProcessor(size=size, crop_size=size, image_mean=half, image_std=half, codebook_size=codebook, codebook_crop_size=codebook, input_size_patches=3, total_mask_patches=4, mask_group_min_patches=2)
    texts = transformers.BertTokenizer({word: i for i, word in enumerate(WORDS)}, model_max_length=512)
    shutil.rmtree(root / "v5", ignore_errors=True)
    transformers.FlavaProcessor(pictures, texts).save_pretrained(root / "v5")
    print("v5:", sorted(path.name for path in (root / "v5").iterdir()))


def write_others(root):
    n = len(WORDS)
    folder(root, "added_tokens", dict(added_tokens={"<Foo>": n + 4, "[ENT]": n + 1, "foo": n + 2}))
    decoder = {str(n + 1): token("<Foo>", True), str(n): token("[ENT]"), str(n + 2): token("<B>", normalized=False, single_word=True)}
    folder(root, "added_decoder", dict(tokenizer_config=dict(added_tokens_decoder=decoder, do_lower_case=True, tokenizer_class="BertTokenizer"), added_tokens={"x": n}, special_tokens_map=dict(unk_token="foo")))
    flags = token("<Foo>", lstrip=True)
    del flags["special"]
    folder(root, "special_map", dict(special_tokens_map=dict(additional_special_tokens=["[ENT]", flags], mask_token="[MASK]", unk_token="[UNK]"), added_tokens={"[ENT]": n, "<B>": n + 1}))
    saved = json.loads((root / "v5" / "tokenizer.json").read_text(encoding="utf-8"))
    folder(root, "cased", dict(tokenizer=saved, tokenizer_config=dict(do_lower_case=False, strip_accents=None, tokenize_chinese_chars=False, tokenizer_class="BertTokenizer")), False)
    added = dict(saved, added_tokens=saved["added_tokens"] + [dict(token("[ENT]"), id=n)])
    folder(root, "json_added", dict(tokenizer=added, tokenizer_config=dict(added_tokens_decoder={str(n): token("[ENT]"), str(n + 1): token("<Foo>", True)}, tokenizer_class="BertTokenizer")), False)


def tokens_of(path):
    name = "BertTokenizer" if transformers.__version__.startswith("5") else "BertTokenizerFast"
    tokenizer = getattr(transformers, name).from_pretrained(path)
    return dict(words=len(tokenizer), input_ids=[tokenizer(text)["input_ids"] for text in TEXTS])


def pixels_of(path):
    if transformers.__version__.startswith("5"):
        processor = transformers.AutoImageProcessor.from_pretrained(path, backend="pil")
    else:
        processor = transformers.FlavaImageProcessor.from_pretrained(path)
    picture = Image.frombytes("RGB", (WIDTH, HEIGHT), image())
    out = processor(picture, return_tensors="np", return_codebook_pixels=True)
    values = {key: [round(float(v), 7) for v in np.asarray(out[key][0]).ravel()] for key in ("pixel_values", "codebook_pixel_values")}
    return dict(image_mean=list(processor.image_mean), image_std=list(processor.image_std), side=SIDE, codebook_side=8, **values)


def main():
    root = pathlib.Path(sys.argv[1])
    transformers.logging.set_verbosity_error()
    expected, new = root / "expected.json", transformers.__version__.startswith("5")
    names = ["v5", "added_tokens", "added_decoder", "special_map", "cased", "json_added"]
    if new:
        write_v5(root)
        if not expected.exists():
            return
        old = json.loads(expected.read_text(encoding="utf-8"))
        different = [name for name in names if name != "special_map" and tokens_of(root / name) != old["tokenizers"][name]]
        pixels = pixels_of(root / "v5")
        if different or any(pixels[key] != old["image"][key] for key in pixels):
            sys.exit(f"transformers {transformers.__version__} differs: {different or 'pixels'}")
        print("transformers", transformers.__version__, "makes the same of", *[name for name in names if name != "special_map"])
        return
    write_others(root)
    picture = dict(height=HEIGHT, width=WIDTH, rgb=list(image()), **pixels_of(root / "v5"))
    contents = dict(transformers=transformers.__version__, pillow=PIL.__version__, texts=TEXTS, tokenizers={name: tokens_of(root / name) for name in names}, image=picture)
    expected.write_text(json.dumps(contents, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
