#!/usr/bin/env python3
"""Writing to the Hub beside Python's client; run it by `make parity`.

The same files are committed by `HfApi.create_commit` (without Xet) and by the client here, to one server each: both have to ask
the same, but for who they are. What was written is read back by `hf_hub_download` and by `datasets`.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.environ.get("EXAMPLES", os.path.join(ROOT, "target/release/examples"))
TOKEN = "hf_test_token_7f3a"
REPO = "owner/board"
CARD = """---
license: cc-by-4.0
configs:
- config_name: leaderboard
  data_files: leaderboard.csv
  default: true
- config_name: results
  data_files: "results/*.csv"
---

# Results
"""
FILES = {
    "README.md": CARD.encode(),
    "leaderboard.csv": b"model,accuracy\na,0.5\nb,0.75\n",
    "results/a.csv": b"task,value\nfood101,0.5\npets,\n",
    "results/b.csv": b"task,value\nfood101,0.75\npets,0.25\n",
    "results/ü b.txt": "ünïcode\n".encode(),
    "empty.bin": b"",
    "predictions/a.parquet": bytes(i * i % 251 for i in range(300_000)),
    "predictions/b.parquet": bytes(i * i % 241 for i in range(700)),
}
COMMIT = """
import sys
from huggingface_hub import CommitOperationAdd, HfApi
api = HfApi()
name, folder, how = sys.argv[1], sys.argv[2], sys.argv[3:]
api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
parent = api.repo_info(name, repo_type="dataset", revision="main").sha
import os
paths = sorted(os.path.relpath(os.path.join(at, file), folder) for at, _, files in os.walk(folder) for file in files)
files = [CommitOperationAdd(path, os.path.join(folder, path)) for path in paths]
print(api.create_commit(name, files, commit_message="Add results", repo_type="dataset", revision="main", parent_commit=parent, create_pr=bool(how)))
"""
READ = """
import sys
from huggingface_hub import hf_hub_download
from datasets import load_dataset
for path in sys.argv[1:]:
    print(open(hf_hub_download("owner/board", path, repo_type="dataset"), "rb").read().hex())
board = load_dataset("owner/board", "leaderboard", split="train")
print(board.to_dict())
scores = load_dataset("owner/board", "results", split="train")
print(scores.num_rows, scores.features["value"].dtype)
"""


class Hub:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([os.path.join(EXAMPLES, "hub"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()

    def run(self, command, home):
        variables = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1",
                     "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        run = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.returncode == 0, (command[:2], run.stderr)
        return run.stdout

    def stop(self):
        """All that was written, as `METHOD host path` and what it carried; parts of lists in order of what they are about."""
        time.sleep(0.1)
        lines = [line.partition("\t") for line in self.process.communicate()[0].splitlines()]
        written = [(head, json.loads(re.sub(r"127\.0\.0\.1:\d+", "HOST", body) or "null")) for head, _, body in lines]
        return sorted((head, json.dumps(ordered(body), sort_keys=True)) for head, body in written if head.startswith(("POST", "PUT")))


def ordered(value):
    """Lists of things whose order has no meaning, sorted; a commit's header is its first line in any case."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and value[0].get("key") == "header":
            return [value[0], *ordered(value[1:])]
        return sorted((ordered(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(value, dict):
        return {key: ordered(part) for key, part in value.items()}
    return value


def check(name, passed, detail=""):
    print(f"{name}: {'yes' if passed else 'NO'}", flush=True)
    if not passed:
        print(detail)
        sys.exit(1)


def write(folder, files):
    for path, data in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "wb") as f:
            f.write(data)
    return folder


def both(tmp, arguments, folder, *how):
    """What Python's client and ours ask of a server each."""
    asked = []
    for name, command in {"python": [sys.executable, "-c", COMMIT], "ours": [os.path.join(EXAMPLES, "publish")]}.items():
        hub = Hub(*arguments)
        hub.run([*command, REPO, folder, *how], os.path.join(tmp, name))
        asked.append(hub.stop())
    return asked


def difference(theirs, ours):
    return "\n".join([f"python only: {head} {body[:300]}" for head, body in theirs if (head, body) not in ours]
                     + [f"ours only: {head} {body[:300]}" for head, body in ours if (head, body) not in theirs])


def main():
    with tempfile.TemporaryDirectory() as tmp:
        folder = write(os.path.join(tmp, "files"), FILES)
        theirs, ours = both(tmp, [], folder)
        heads = " ".join(head for head, _ in theirs)
        assert all(word in heads for word in ("/api/repos/create", "/validate-yaml", "/preupload/main", "/objects/batch", "PUT", "/commit/main")), heads
        check("a new repository is written with the requests of create_commit", theirs == ours, difference(theirs, ours))
        theirs, ours = both(tmp, ["--part", "100000"], folder)
        assert sum(head.startswith("PUT") for head, _ in theirs) == 4, theirs
        check("large files go in the same parts", theirs == ours, difference(theirs, ours))
        old = write(os.path.join(tmp, "old"), {path: data for path, data in FILES.items() if path != "leaderboard.csv" and not path.endswith(".parquet")})
        theirs, ours = both(tmp, [f"datasets/{REPO}={old}"], folder, "pr")
        check("a pull request of what changed is the same", theirs == ours, difference(theirs, ours))

        hub = Hub()
        hub.run([os.path.join(EXAMPLES, "publish"), REPO, folder], os.path.join(tmp, "writer"))
        again = hub.run([os.path.join(EXAMPLES, "publish"), REPO, folder], os.path.join(tmp, "writer"))
        check("nothing is written twice", again.strip() == "NothingChanged", again)
        paths = ["leaderboard.csv", "results/ü b.txt", "predictions/a.parquet"]
        *files, board, results = hub.run([sys.executable, "-c", READ, *paths], os.path.join(tmp, "reader")).splitlines()
        check("hf_hub_download reads the same bytes", [bytes.fromhex(file) for file in files] == [FILES[path] for path in paths])
        check("datasets reads the leaderboard", board == str({"model": ["a", "b"], "accuracy": [0.5, 0.75]}), board)
        check("datasets reads all tables of results as one", results == "4 float64", results)
        hub.stop()


if __name__ == "__main__":
    main()
