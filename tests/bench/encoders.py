#!/usr/bin/env python3
"""The encoders' speed beside transformers, torch.compile with freezing, OpenVINO and ONNX Runtime: bench.py encoders.

All are loaded once and asked in turn, a round each, so that a machine whose cores others use slows all of them alike; medians of the
rounds. As a program of its own it is one of the peers, so that no two libraries share a process: encoders.py PEER image|text MODEL ROWS.
A peer answers each line on its input by the seconds that one round took.
"""
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time

THREADS, LENGTH = 2, 77
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = {  # name: what it runs on, in which precision
    "transformers": ("eager", "f32"), "transformers, bf16": ("eager", "bf16"),
    "torch.compile": ("compiled", "f32"), "torch.compile, bf16": ("compiled", "bf16"),
    "OpenVINO": ("openvino", "f32"), "OpenVINO, bf16": ("openvino", "bf16"),
    "ONNX Runtime": ("onnx", "f32"),
}
QUICK_PEERS = ("transformers",)


def encoder(part, model_dir):
    """The encoder's last state of [CLS] as a module of plain tensors, and its inputs of so many rows."""
    import torch
    from transformers import FlavaModel

    whole = FlavaModel.from_pretrained(model_dir).eval()

    class Image(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = whole.image_model

        def forward(self, pixels):
            return self.encoder(pixels).last_hidden_state[:, 0]

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = whole.text_model

        def forward(self, ids, mask):
            return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]

    return (Image if part == "image" else Text)().eval()


def inputs(part, rows):
    """Random pixels, or token ids of 23 in 77 places as a processor pads sentences."""
    import torch

    g = torch.Generator().manual_seed(0)
    if part == "image":
        return [torch.randn(rows, 3, 224, 224, generator=g)]
    mask = (torch.arange(LENGTH) < 23).long().repeat(rows, 1)
    return [torch.randint(1000, 30000, (rows, LENGTH), generator=g) * mask, mask]


def eager(module, given, bf16):
    import torch

    kind = torch.bfloat16 if bf16 else torch.float32
    module = module.to(kind)
    given = [t.to(kind) if t.is_floating_point() else t for t in given]
    return lambda: module(*given)


def compiled(module, given, bf16):
    import torch
    import torch._inductor.config as inductor

    inductor.freezing = True
    return eager(torch.compile(module), given, bf16)


def openvino(module, given, bf16):
    import openvino as ov

    names = ["pixels"] if len(given) == 1 else ["ids", "mask"]
    model = ov.convert_model(module, example_input=dict(zip(names, given)))
    model.reshape({port: list(t.shape) for port, t in zip(model.inputs, given)})
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
    arrays = [t.numpy() for t in given]
    return lambda: request.infer(arrays)


def onnx(module, given, bf16):
    import onnxruntime
    import torch

    assert not bf16, "ONNX Runtime computes in f32 on a CPU"
    names = ["pixels"] if len(given) == 1 else ["ids", "mask"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "encoder.onnx")
        torch.onnx.export(module, tuple(given), path, input_names=names, opset_version=17, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {name: t.numpy() for name, t in zip(names, given)}
    return lambda: session.run(None, feed)


class Contestant:
    """A program that answers each line by the seconds of one round of `rows` rows."""

    def __init__(self, command, rows):
        self.rows, self.seconds = rows, []
        self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.ask()  # loads, compiles and warms

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return float(line)

    def round(self):
        self.seconds.append(self.ask())

    def rate(self):
        return self.rows / statistics.median(self.seconds)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def contest(speed_program, part, model_dir, rows, rounds, peers, sentences=None):
    """Rows a second of ours in f32 and in bf16 and of each peer, asked in turn."""
    arguments = [rows] if part == "image" else [sentences]
    many = rows if part == "image" else sum(1 for _ in open(sentences, encoding="utf-8"))
    contestants = {}
    try:
        for precision in ("f32", "bf16"):
            contestants[f"ours, {precision}"] = Contestant([speed_program, "rounds", part, model_dir, *arguments, precision], many)
        for name in peers:
            contestants[name] = Contestant([sys.executable, os.path.abspath(__file__), name, part, model_dir, rows], rows)
        for _, contestant in itertools.product(range(rounds), contestants.values()):
            contestant.round()
            time.sleep(0.3)  # until threads that wait for more work have gone to sleep
        return {name: contestant.rate() for name, contestant in contestants.items()}
    finally:
        for contestant in contestants.values():
            contestant.close()


def bench(report, tmp, speed_program, quick):
    import peer

    texts = peer.sentences(2000)
    model_dir = peer.checkpoint(os.path.join(tmp, "model"), texts)
    file = os.path.join(tmp, "sentences.txt")
    with open(file, "w", encoding="utf-8") as f:
        f.write("\n".join(texts[:256 if quick else 512]) + "\n")
    rounds, peers = (3, QUICK_PEERS) if quick else (4, tuple(PEERS))
    for part, rows, bars in (("image", 8 if quick else 16, (1.05, 1.0)), ("text", 16 if quick else 64, (3.0, 3.0))):
        rates = contest(speed_program, part, model_dir, rows, rounds, peers, file)
        unit = "images/s" if part == "image" else "sentences/s"
        for name in peers:
            precision = "bf16" if PEERS[name][1] == "bf16" else "f32"
            report.line(f"{part} CLS, {precision}, beside {name.removesuffix(', bf16')}", rates[f"ours, {precision}"], rates[name], unit,
                        bars[precision == "bf16"], "" if part == "image" else "ours computes real lengths, they 77 tokens")
        report.line(f"{part} CLS, bf16, beside our own f32", rates["ours, bf16"], rates["ours, f32"], unit, 2.0)


def main():
    import torch

    name, part, model_dir, rows = sys.argv[1:]
    torch.set_num_threads(THREADS)
    way, precision = PEERS[name]
    with torch.no_grad():
        run = globals()[way](encoder(part, model_dir), inputs(part, int(rows)), precision == "bf16")
        run()
        for _ in sys.stdin:
            start = time.perf_counter()
            run()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
