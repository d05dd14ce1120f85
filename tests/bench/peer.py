"""What the scripts here share: real pictures and sentences, the peer's model, and the tests' Hub."""
import glob
import inspect
import os
import re
import subprocess
import time

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import FlavaConfig, FlavaForPreTraining

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
transformers.logging.set_verbosity_error()


def pictures(folder, count, size=(500, 375)):
    """JPEG photographs of `size`: crops of scikit-learn's two sample photos at several scales, half of them mirrored."""
    from sklearn.datasets import load_sample_images

    os.makedirs(folder, exist_ok=True)
    photos = [Image.fromarray(a) for a in load_sample_images().images]
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = photos[i % 2]
        scale = rng.uniform(0.85, 1.4)
        photo = photo.resize((max(size[0], int(photo.width * scale)), max(size[1], int(photo.height * scale))), Image.LANCZOS)
        left, top = rng.integers(0, photo.width - size[0] + 1), rng.integers(0, photo.height - size[1] + 1)
        crop = photo.crop((left, top, left + size[0], top + size[1]))
        if i % 4 > 1:
            crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
        crop.save(os.path.join(folder, f"{i:04}.jpg"), quality=int(rng.integers(75, 96)))
    return sorted(glob.glob(os.path.join(folder, "*.jpg")))


def sentences(count):
    """English sentences from the documentation of numpy, scipy and scikit-learn."""
    import scipy.optimize
    import scipy.signal
    import scipy.stats
    import sklearn.cluster
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.metrics

    modules = [np, np.linalg, np.fft, np.random, scipy.optimize, scipy.signal, scipy.stats, sklearn.cluster, sklearn.ensemble, sklearn.linear_model, sklearn.metrics]
    found = {}
    for module in modules:
        for name in sorted(dir(module)):
            text = inspect.getdoc(getattr(module, name)) or ""
            for sentence in re.split(r"(?<=[.?!])\s+", re.sub(r"\s+", " ", text)):
                if 4 <= len(sentence.split()) <= 40 and re.fullmatch(r"[A-Z][\w ,;:'()\-]+[.?!]", sentence):
                    found[sentence] = None
    found = list(found)
    np.random.default_rng(0).shuffle(found)
    assert len(found) >= count, len(found)
    return found[:count]


def vocabulary(texts, size=30522):
    """A WordPiece vocabulary trained on `texts`, filled up to BERT's size, with BERT's special tokens first."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    return words + [f"[unused{i}]" for i in range(size - len(words))]


def checkpoint(folder, texts):
    """The default-size model with seeded random weights, as transformers writes it, and a tokenizer."""
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        torch.manual_seed(0)
        model = FlavaForPreTraining(FlavaConfig())
        with torch.no_grad():  # nothing stays at zero or one
            for name, p in model.named_parameters():
                if not name.startswith("image_codebook"):
                    p.add_(torch.randn_like(p) * 0.02)
        model.save_pretrained(folder)
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(vocabulary(texts)) + "\n")
    return folder


class Hub:
    """The tests' server, and what it was asked."""

    def __init__(self, repos):
        program = os.path.join(ROOT, "target/release/examples/hub")
        served = [f"{name}={folder}" for name, folder in repos.items()]
        self.process = subprocess.Popen([program, *served], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()

    def stop(self):
        """All requests, as `METHOD host path`."""
        time.sleep(0.1)
        return self.process.communicate()[0].splitlines()
