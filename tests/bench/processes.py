"""Training in several processes beside one, and beside PyTorch's DDP and FSDP2 over Gloo on the same machine: bench.py processes.

Two processes of one thread each against one process of two threads, pairs in f32, ours and transformers' FlavaForPreTraining, whole and
fully sharded; the memory of a process whose weights, gradients and moments are in parts; and a step over a slow network.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BATCH, STEPS, WARM = 32, 10, 3
PART = "hidden_size = {size}, num_attention_heads = {heads}, intermediate_size = {wide}, num_hidden_layers = {layers}"
SIZES = {"mini": (128, 4, 512, (4, 3, 3)), "mid": (384, 6, 1536, (6, 6, 3))}
WAYS = {"one": (1, 2, "none"), "two": (2, 1, "none"), "full": (2, 1, "full")}  # processes, threads of each, what is sharded


def recipe(folder, name):
    """A recipe of pairs alone; tokenizer and codebook take seconds."""
    size, heads, wide, layers = SIZES[name]
    image, text, multimodal = (PART.format(size=size, heads=heads, wide=wide, layers=n) for n in layers)
    path = os.path.join(folder, f"{name}.toml")
    with open(path, "w") as file:
        file.write(f'''extends = "mini"
run = ["tokenizer", "codebook", "joint"]
[model]
hidden_size = {size}
projection_dim = {size}
image_config = {{ {image}, image_size = 48, patch_size = 8, vocab_size = 256 }}
text_config = {{ {text} }}
multimodal_config = {{ {multimodal} }}
[corpora]
texts.rows = 200
pairs.rows = 2000
[stage]
codebook.schedule = {{ steps = 2, batch_size = 4, warmup = 1 }}
[stage.joint]
mixture = [{{ corpus = "pairs", ratio = 1.0, rows = "pairs" }}]
init = []
schedule = {{ steps = {STEPS + WARM}, batch_size = {BATCH}, warmup = 1 }}
''')
    return path


def ours(path, processes, threads, *more):
    """Rows a second, and the largest resident set of process 0 in MB."""
    with tempfile.TemporaryDirectory() as out:
        command = ["run", path, "--out", out, "--device", "cpu", "--quiet", "--processes", processes, "--threads", threads, *more]
        subprocess.run([os.path.join(ROOT, "target/release/flava-pretrain"), *map(str, command)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        with open(os.path.join(out, "joint/log.jsonl")) as file:
            lines = [json.loads(line) for line in file]
    lines = [line for line in lines if line["kind"] == "train"][WARM:]
    return statistics.median(line["rows_per_s"] for line in lines), lines[-1]["peak_memory_mb"]


def shard(model):
    """FSDP2 as its authors use it: each block a unit, then what is left; it takes no scalar, which stays as it is."""
    from torch.distributed.fsdp import fully_shard

    encoders = [model.flava.image_model, model.flava.text_model, model.flava.multimodal_model]
    for layer in (layer for encoder in encoders for layer in encoder.encoder.layer):
        fully_shard(layer)
    return fully_shard(model, ignored_params={model.flava.logit_scale})


def worker(name, threads, sharding):
    """A process of the peer's: pairs through transformers' model, gradients summed by DDP, or all in parts by FSDP2."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from transformers import FlavaConfig, FlavaForPreTraining

    torch.set_num_threads(threads)
    world = int(os.environ.get("WORLD_SIZE", 1))
    size, heads, wide, layers = SIZES[name]
    image, text, multimodal = ({"hidden_size": size, "num_attention_heads": heads, "intermediate_size": wide, "num_hidden_layers": n} for n in layers)
    config = FlavaConfig(image_config=image | {"image_size": 48, "patch_size": 8, "vocab_size": 256}, text_config=text | {"vocab_size": 1200, "max_position_embeddings": 64},
                         multimodal_config=multimodal, hidden_size=size, projection_dim=size, init_codebook=False)
    torch.manual_seed(0)
    model = FlavaForPreTraining(config).train()
    if world > 1:
        dist.init_process_group("gloo")
        model = shard(model) if sharding == "full" else DistributedDataParallel(model, find_unused_parameters=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rows, words = BATCH // world, 20
    labels = torch.full((rows, words), -100)
    labels[:, 3:6] = 7
    ids = torch.randint(5, 1200, (rows, words))
    mask = torch.zeros(rows, 36, dtype=torch.long)
    mask[:, :14] = 1
    batch = {"pixel_values": torch.randn(rows, 3, 48, 48), "input_ids": ids, "input_ids_masked": ids, "attention_mask": torch.ones_like(ids), "mlm_labels": labels,
             "bool_masked_pos": mask, "mim_labels": torch.where(mask > 0, 3, -100), "itm_labels": torch.ones(rows, dtype=torch.long)}
    times = []
    for _ in range(STEPS + WARM):
        start = time.perf_counter()
        optimiser.zero_grad()
        model(**batch, return_loss=True).loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    if int(os.environ.get("RANK", 0)) == 0:
        print(json.dumps(BATCH / statistics.median(times[WARM:])))


def theirs(name, processes, threads, sharding):
    command = [sys.executable, __file__, "worker", name, str(threads), sharding]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *command[1:]]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return json.loads(out.stdout.splitlines()[-1])


class Hosts:
    """Two hosts on this machine: network namespaces with a cable of so many Gbit/s between them. Needs root, ip and tc."""

    NAMES = ("flava-a", "flava-b")
    # What torchrun would tell a process of each.
    PLACE = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29555"}

    def __init__(self, gbit=None):
        self.remove()
        a, b = self.NAMES
        for name in self.NAMES:
            self.run("ip", "netns", "add", name)
        self.run("ip", "link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b)
        for number, name in enumerate(self.NAMES, 1):
            self.run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "cable")
            for device in ("cable", "lo"):
                self.run("ip", "-n", name, "link", "set", device, "up")
            if gbit:
                self.run("tc", "-n", name, "qdisc", "add", "dev", "cable", "root", "tbf", "rate", f"{gbit}gbit", "burst", "1mb", "latency", "50ms")

    def run(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    @classmethod
    def remove(cls):
        if shutil.which("ip"):
            for name in cls.NAMES:
                subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    def train(self, path, *more):
        """Seconds of a step of a process of one thread on each host."""
        with tempfile.TemporaryDirectory() as out:
            program = os.path.join(ROOT, "target/release/flava-pretrain")
            command = [program, "run", path, "--out", out, "--device", "cpu", "--quiet", "--threads", "1", *more]
            processes = [subprocess.Popen(["ip", "netns", "exec", name, *command], env=os.environ | self.PLACE | {"RANK": str(rank)}, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL) for rank, name in enumerate(self.NAMES)]
            if any([process.wait() for process in processes]):
                raise RuntimeError("the training on two hosts failed")
            with open(os.path.join(out, "joint/log.jsonl")) as file:
                lines = [json.loads(line) for line in file]
            size = os.path.getsize(os.path.join(out, "joint/last/model.safetensors"))
        rates = [line["rows_per_s"] for line in lines if line["kind"] == "train"]
        return BATCH / statistics.median(rates[WARM:]), size


def over_a_network(report, path, gbit=1):
    """A step against computing and exchanging one after the other: gradients of so many bytes go each way."""
    try:
        seconds = {}
        for name, rate in (("at once", None), ("over a network", gbit)):
            seconds[name], size = Hosts(rate).train(path)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"mid: two hosts at {gbit} Gbit/s: not measured, {error}")
        return
    finally:
        Hosts.remove()
    exchange = size * 8 / (gbit * 1e9)
    report.line(f"mid: step over {gbit} Gbit/s, computing and exchanging after one another / step", seconds["at once"] + exchange, seconds["over a network"], "s", 1.0,
                f"computing {seconds['at once']:.2f} s, {size / 1e6:.0f} MB in {exchange:.2f} s")


def bench(report, tmp):
    for name in SIZES:
        path = recipe(tmp, name)
        rates = {who: {way: [] for way in WAYS} for who in ("ours", "theirs")}
        for _ in range(3):
            for way, (processes, threads, sharding) in WAYS.items():
                rates["ours"][way].append(ours(path, processes, threads, "--shard", sharding)[0])
                rates["theirs"][way].append(theirs(name, processes, threads, sharding))
        rate = {who: {way: statistics.median(all) for way, all in ways.items()} for who, ways in rates.items()}
        report.line(f"{name}: two processes, against one", rate["ours"]["two"], rate["ours"]["one"], "rows/s", 0.95,
                    f"PyTorch's DDP: {rate['theirs']['two'] / rate['theirs']['one']:.2f}")
        report.line(f"{name}: two processes, against DDP's", rate["ours"]["two"], rate["theirs"]["two"], "rows/s", 1.0)
        report.line(f"{name}: two with --shard full, against FSDP2's", rate["ours"]["full"], rate["theirs"]["full"], "rows/s", 1.0)
    memory = {way: ours(path, processes, 1, "--shard", shard, "--micro-batch", "4", "--recompute")[1]
              for way, processes, shard in (("none", 2, "none"), ("full2", 2, "full"), ("full4", 4, "full"))}
    for way in ("full2", "full4"):
        report.line(f"mid: MB of a process, whole against --shard full ({way[-1]} processes)", memory["none"], memory[way], "MB", 1.0)
    over_a_network(report, recipe(tmp, "mid"))


if __name__ == "__main__":
    worker(sys.argv[2], int(sys.argv[3]), sys.argv[4])
