"""Writes the features of a CLIP model as `flava-eval --features-from` reads them.

    python3 examples/clip_features.py --model openai/clip-vit-base-patch32 --task shapes --out clip \
        --split train=examples/data/shapes/train --split test=examples/data/shapes/test
    flava-eval --features-from clip --task-file examples/images.toml --tasks shapes --data examples/data

A split is a folder of images, or parquet files of a column of images. --classes adds embeddings of prompts, for
zero-shot. Needs transformers, torch, pillow, safetensors; pyarrow for parquet. A folder as --model opens no socket.
"""

import argparse
import io
import itertools
import json
import pathlib

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPProcessor

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder in Hugging Face's layout, or owner/name")
    parser.add_argument("--revision", default="main", help="of owner/name")
    parser.add_argument("--task", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the folder to write")
    parser.add_argument("--split", action="append", default=[], metavar="ROLE=PATH", help="train, validation, test or second_test; may be repeated")
    parser.add_argument("--column", default="image", help="of images in parquet files")
    parser.add_argument("--root", type=pathlib.Path, help="ids of image files are their paths from here [default: the split's folder]")
    parser.add_argument("--classes", type=pathlib.Path, help="file of a class name a line")
    parser.add_argument("--template", action="append", default=[], help="such as 'a photo of a {c}.'; may be repeated")
    parser.add_argument("--probe", action="store_true", help="write what is before the projection, which CLIP probes")
    parser.add_argument("--batch-size", type=int, default=64)
    return parser.parse_args()


def images_of_folder(folder, root):
    """Ids and images of the files below a folder, in the order of their paths."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        if path.suffix.lower() in ENDINGS:
            yield path.relative_to(root).as_posix(), Image.open(path).convert("RGB")


def images_of_parquet(files, column):
    """Images of a column, file by file; their ids are the files' own numbers."""
    import pyarrow.parquet

    for path in files:
        row = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(64, columns=[column]):
            for cell in batch.column(0).to_pylist():
                data = cell["bytes"] if isinstance(cell, dict) else cell
                yield f"{path.name}:{row}", Image.open(io.BytesIO(data)).convert("RGB")
                row += 1


def batches(rows, size):
    rows = iter(rows)
    return iter(lambda: list(itertools.islice(rows, size)), [])


def tensor_of(output):
    """transformers 5 wraps what 4 gives bare."""
    return output if torch.is_tensor(output) else output.pooler_output


@torch.no_grad()
def features_of_images(model, processor, rows, args):
    ids, parts = [], []
    for some in batches(rows, args.batch_size):
        ids += [id for id, _ in some]
        pixels = processor(images=[image for _, image in some], return_tensors="pt")["pixel_values"]
        read = model.vision_model if args.probe else model.get_image_features
        parts.append(tensor_of(read(pixel_values=pixels)))
    return torch.cat(parts).float().contiguous(), ids


@torch.no_grad()
def features_of_classes(model, processor, names, templates):
    rows = []
    for name in names:
        texts = [template.replace("{c}", name) for template in templates]
        rows.append(tensor_of(model.get_text_features(**processor(text=texts, return_tensors="pt", padding=True, truncation=True))))
    return torch.stack(rows).float().contiguous()  # [classes, templates, projection]


def main():
    args = arguments()
    model = CLIPModel.from_pretrained(args.model, revision=args.revision).eval()
    processor = CLIPProcessor.from_pretrained(args.model, revision=args.revision)
    folder = args.out / args.task
    folder.mkdir(parents=True, exist_ok=True)
    for split in args.split:
        role, path = split.split("=", 1)[0], pathlib.Path(split.split("=", 1)[-1])
        parquet = [path] if path.is_file() else sorted(path.glob("*.parquet"))
        rows = images_of_parquet(parquet, args.column) if parquet else images_of_folder(path, args.root or path)
        features, ids = features_of_images(model, processor, rows, args)
        save_file({"features": features}, folder / f"{role}.safetensors", {"ids": json.dumps(ids)})
        print(f"{role}: {tuple(features.shape)}")
    if args.classes:
        names = args.classes.read_text(encoding="utf-8").splitlines()
        features = features_of_classes(model, processor, names, args.template or ["a photo of a {c}."])
        save_file({"features": features}, folder / "classes.safetensors", {"ids": json.dumps(names)})
        print(f"classes: {tuple(features.shape)}")
    told = processor.image_processor.to_dict()
    source = {
        "name": args.model, "revision": getattr(model.config, "_commit_hash", None) or "",
        "transform": " ".join(f"{key} {told[key]}" for key in ("size", "crop_size", "resample", "image_mean", "image_std")),
        "note": "pooled states" if args.probe else "projected embeddings", "parameters": model.num_parameters(),
    }
    (args.out / "source.json").write_text(json.dumps(source, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
