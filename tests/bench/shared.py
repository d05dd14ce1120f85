"""What training and evaluation keep of their speed where other programs want the same cores."""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import peer

FLOORS = {1: 0.45, 2: 0.3}
ROWS = 1500
COMMANDS = {
    "fine-tuning": ["flava-finetune", "mini-paraphrase-tuned", "--limit", str(ROWS), "--set", "epochs=1", "--device", "cpu", "--quiet"],
    "evaluation": ["flava-eval", "--tasks", "mini-groups,mini-retrieval", "--no-cache", "--device", "cpu", "--quiet"],
}


def seconds(command, busy):
    """A whole run of the command, beside so many programs that never wait."""
    program, *arguments = command
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with tempfile.TemporaryDirectory() as tmp:
            variables = os.environ | {"FLAVA_CACHE": os.path.join(tmp, "cache")}
            start = time.perf_counter()
            subprocess.run([os.path.join(peer.ROOT, "target/release", program), *arguments, "--out", os.path.join(tmp, "out")],
                           check=True, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return time.perf_counter() - start
    finally:
        for other in others:
            other.kill()
            other.wait()


def bench(report, _):
    for name, command in COMMANDS.items():
        seconds(command, 0)
        took = {busy: [] for busy in (0, *FLOORS)}
        for _ in range(3):
            for busy, times in took.items():
                times.append(seconds(command, busy))
        alone = statistics.median(took[0])
        for busy, floor in FLOORS.items():
            report.line(f"{name} beside {busy} busy, against alone", 1 / statistics.median(took[busy]), 1 / alone, "runs/s", floor,
                        f"{alone:.1f} s alone on {os.cpu_count()} cores")
