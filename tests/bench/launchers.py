#!/usr/bin/env python3
"""Whoever starts the processes of a training, its files are the same: our launcher, torchrun, two agents of torchrun's, Slurm's variables, and
two hosts, where this machine allows network namespaces; run it by `make parity`."""
import os
import socket
import subprocess
import sys
import tempfile

import peer
import processes

PROGRAM = os.path.join(peer.ROOT, "target/release/flava-pretrain")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python"]
FILES = ["joint/last/model.safetensors", "joint/last/optimiser.safetensors", "model/model.safetensors"]


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def training(recipe, out, *more):
    return [PROGRAM, "run", recipe, "--out", out, "--device", "cpu", "--threads", "1", "--quiet", *more]


def run(commands, **variables):
    """Commands that run beside each other; what any says is shown where one fails."""
    started = [subprocess.Popen(command, env=os.environ | variables | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command, own in commands]
    said = [process.communicate()[0] for process in started]
    for process, text in zip(started, said):
        if process.returncode:
            sys.exit(f"{process.args} ended with {process.returncode}:\n{text}")


def agents(recipe, out):
    meeting = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port()}", "--rdzv-id", "pair"]
    command = [*TORCHRUN, *meeting, "--local-addr", "127.0.0.1", *training(recipe, out)]
    run([(command, {})] * 2)


def slurm(recipe, out):
    step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": "training", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
    run([(training(recipe, out), {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}) for rank in "01"], **step)


def hosts(recipe, out):
    two = processes.Hosts()
    try:
        run([(["ip", "netns", "exec", name, *training(recipe, out)], {"RANK": str(rank)}) for rank, name in enumerate(two.NAMES)], **two.PLACE)
    finally:
        two.remove()


WAYS = {
    "--processes 2": lambda recipe, out: run([(training(recipe, out, "--processes", "2"), {})]),
    "torchrun": lambda recipe, out: run([([*TORCHRUN, "--standalone", "--nproc-per-node", "2", *training(recipe, out)], {})]),
    "two agents": agents,
    "slurm's variables": slurm,
    "two hosts": hosts,
}


def main():
    with tempfile.TemporaryDirectory() as tmp:
        recipe, first = processes.recipe(tmp, "mini"), None
        for way, start in WAYS.items():
            out = os.path.join(tmp, way.replace(" ", "-"))
            try:
                start(recipe, out)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{way}: not tried, {error}")  # namespaces need root, ip and tc
                continue
            made = [open(os.path.join(out, file), "rb").read() for file in FILES]
            first = first or made
            if made != first:
                sys.exit(f"{way}: other files than {next(iter(WAYS))}'s")
            print(f"{way}: {', '.join(FILES)} byte for byte")


if __name__ == "__main__":
    main()
