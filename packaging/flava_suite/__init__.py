"""flava's programs from Python: a command is run, and its records come back as a list of dictionaries.

    import pandas
    import flava_suite

    rows = flava_suite.run("flava-eval", "--tasks", "mini-zero-shot,mini-retrieval")
    pandas.DataFrame(rows)[["task", "metric", "value", "ci_low", "ci_high"]]

The numbers are computed by the program, in a process of its own: nothing of torch is imported here.
"""
import csv
import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Optional, Union

__all__ = ["PROGRAMS", "CommandError", "program", "run"]

PROGRAMS = ("flava-eval", "flava-finetune", "flava-pretrain")
Argument = Union[str, "os.PathLike[str]", int, float]
Row = dict[str, Any]

_NUMBERS = {
    "value", "standard_error", "ci_low", "ci_high", "chance", "n", "skipped", "train_rows", "seed", "task_version", "rows_of", "parameters",
    "flops_per_row",
}
_FLAGS = {"publishable", "higher_is_better", "main"}


class CommandError(RuntimeError):
    """A command that did not do everything.

    Attributes:
        code: its exit status: 1 if a part failed, 2 if nothing could be run, 130 if it was interrupted.
        rows: what it measured all the same, the failed tasks with ``status`` "failed" and their ``reason``.
    """

    def __init__(self, command: Sequence[str], code: int, rows: list[Row]) -> None:
        reasons = [f"{row['task']}: {row['reason']}" for row in rows if row.get("status") == "failed"]
        super().__init__("\n".join([f"{' '.join(command)} ended with {code}", *reasons]))
        self.code = code
        self.rows = rows


def program(name: str = "flava-eval") -> str:
    """The path of one of the programs: of this environment, else on PATH.

    Raises:
        ValueError: if there is no such program.
        FileNotFoundError: if it is not installed; the message says where it was looked for.
    """
    if name not in PROGRAMS:
        raise ValueError(f"{name!r} is none of {', '.join(PROGRAMS)}")
    own = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))]
    folders = [Path(folder) for folder in [*own, *os.get_exec_path()]]
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return str(folder / name)
    looked = ", ".join(map(str, folders))
    raise FileNotFoundError(f"{name} is in none of {looked}")


def run(
    name: str,
    *arguments: Argument,
    check: bool = True,
    stderr: Union[int, IO[Any], None] = None,
    env: Optional[Mapping[str, str]] = None,
) -> list[Row]:
    """Runs flava-eval or flava-finetune, and gives a dictionary for each number that it measured.

    Args:
        name: the program, ``flava-eval`` or ``flava-finetune``.
        *arguments: its arguments, as on the command line.
        check: whether a failed task is an error; else its row says ``failed``, and why.
        stderr: where progress goes, as in ``subprocess.run``: to this process's by default.
        env: variables in addition to this process's.

    Returns:
        The columns of ``results.csv``: numbers as int or float, flags as bool, and None where there is
        nothing. ``main`` marks the row of a task that is averaged.

    Raises:
        CommandError: if the command did not do everything, and ``check`` says so, or nothing could be run.
    """
    command = [program(name), *map(_text, arguments), "--format", "csv"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", env={**os.environ, **(env or {})}, check=False)
    rows = [{key: _value(key, text) for key, text in row.items()} for row in csv.DictReader(io.StringIO(done.stdout))]
    if done.returncode and (check or not rows):
        raise CommandError(command, done.returncode, rows)
    return rows


def _text(argument: Argument) -> str:
    return str(argument) if isinstance(argument, (int, float)) else os.fspath(argument)


def _value(key: str, text: str) -> Union[str, int, float, bool, None]:
    if text == "":
        return None
    if key in _FLAGS:
        return text == "true"
    if key not in _NUMBERS:
        return text
    number = float(text)
    return int(text) if text.lstrip("-").isdigit() else number


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """``python -m flava_suite eval --tasks ...``: one of the programs, by the last part of its name."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    short = {name.removeprefix("flava-"): name for name in PROGRAMS}
    if not given or given[0] not in short:
        print(f"usage: python -m flava_suite {{{','.join(short)}}} ...", file=sys.stderr)
        return 2
    return subprocess.run([program(short[given[0]]), *given[1:]], check=False).returncode
