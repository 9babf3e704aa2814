"""Programs run to their end: with an environment of their own, no way out of this machine, and a limit of time."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

__all__ = ["NODE_MODULES", "PROGRAMS", "PYTHON", "Finished", "run"]

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = Path(__file__).with_name("programs")
NODE_MODULES: Final = Path(__file__).with_name("node_modules")
PYTHON: Final = ROOT / ".venv-clients" / "bin" / "python"
"""Where `make test-clients` has installed what is run."""

SECONDS: Final = 60
_NOWHERE: Final = "http://127.0.0.1:9"


class Finished(Struct, frozen=True):
    """How a program ended, and what it wrote."""

    status: int
    out: str
    err: str


async def run(*command: str | Path, home: Path, work: Path, env: Mapping[str, str]) -> Finished:
    """Run a program in the folder ``work``; it and what it started are gone afterwards, whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=work,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HTTP_PROXY": _NOWHERE,
            "HTTPS_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1",
            **env,
        },
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())
