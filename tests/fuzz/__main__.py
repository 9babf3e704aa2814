"""Fuzzing guided by coverage: ``python -m tests.fuzz [seconds] [target ...]``, each target for so many seconds.

It begins with the recorded exchanges where there are any, and keeps what it found worth keeping in ``.fuzz/``. It needs
Atheris, which has no wheel for every Python and is therefore no requirement of the project: ``make fuzz`` installs it.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(".fuzz")
_ONE: Final = "--target"


def _run(target: str, arguments: list[str]) -> None:
    """Fuzz one target, in this process: Atheris never comes back."""
    atheris: Any = importlib.import_module("atheris")  # it may not be there, and has no types
    with atheris.instrument_imports(include=["genai_spine"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[target])
    atheris.Fuzz()


def _main(arguments: list[str]) -> int:
    """Fuzz each target in a process of its own; return how many failed."""
    # Imported here, for what `_run` instruments must not have been imported before.
    seeding: Any = importlib.import_module("tests.fuzz.seeds")
    known: Any = importlib.import_module("tests.fuzz.targets")
    seconds = int(arguments[0]) if arguments else 60
    failed: list[str] = []
    for target in arguments[1:] or known.TARGETS:
        corpus = _FOLDER / target
        corpus.mkdir(parents=True, exist_ok=True)
        for number, body in enumerate(seeding.seeds(target)):
            (corpus / f"seed-{number}").write_bytes(body)
        limits = [f"-max_total_time={seconds}", f"-max_len={2 * seeding.MAX_SEED}", "-timeout=20", "-rss_limit_mb=1500"]
        options = [*limits, f"-artifact_prefix={_FOLDER}/{target}-", "-verbosity=0"]
        sys.stdout.write(f"==> {target}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", "tests.fuzz", _ONE, target, *options, str(corpus)]
        if subprocess.run(command, check=False).returncode:  # noqa: S603  # this very program
            failed.append(target)
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "nothing was found\n")
    return len(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == [_ONE]:
        _run(sys.argv[2], sys.argv[3:])
    sys.exit(_main(sys.argv[1:]))
