"""The code blocks of Markdown pages: found, run as a reader would run them, and compared with what the page shows.

- A ``python`` block is run as a program of its own. Where its ``print`` lines end in a comment, the comments are what
  it prints, line by line. One whose fence names a file is a piece of that file, and is not run.
- In a ``console`` block a line that begins with ``$`` is a command. The lines below it are what it prints.
- A ``toml`` block whose fence names a file (as in ``toml spine.toml``) is written into that file for the blocks after
  it.

Where a page shows ``...``, anything may stand; how many blanks part two words does not matter.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, field

__all__ = ["ADDRESS", "KEY", "ROOT", "Block", "Reader", "Step", "blocks", "pages", "shows", "steps"]

ROOT: Final = Path(__file__).parents[2]
ADDRESS: Final = "http://127.0.0.1:8100"
"""The gateway's address as the pages write it."""
KEY: Final = "your-gateway-key"
"""The gateway's key as the pages write it."""

SECONDS: Final = 60
_FENCE: Final = re.compile(r"^```(\S+)?[ ]?(.*)$")
_PRINT: Final = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)


class Block(Struct, frozen=True, kw_only=True):
    """A code block.

    Attributes:
        page: Its page, from the project's root.
        line: Where its text begins, counted from 1.
        language: The first word on its fence.
        name: The rest of that line.
    """

    page: str
    line: int
    language: str
    name: str
    text: str

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"{self.page}:{self.line}"


class Step(Struct, frozen=True):
    """A command, and what it is shown to print; nothing is shown where that does not matter."""

    command: str
    shown: str


def pages() -> list[Path]:
    """Return the project's pages."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page, in order."""
    opened: re.Match[str] | None = None
    begin, lines = 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence is not None:
            opened, begin, lines = fence, number + 1, []
        elif opened is not None and line == "```":
            where = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
            yield Block(page=where, line=begin, language=opened[1] or "", name=opened[2], text="\n".join(lines) + "\n")
            opened = None
        else:
            lines.append(line)


def steps(block: Block) -> list[Step]:
    """Return the commands of a ``console`` block; one may go on in further lines after a backslash."""
    found: list[tuple[list[str], list[str]]] = []
    open_ended = False
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            message = f"{block.where}: a console block begins with a command"
            raise ValueError(message)
        else:
            found[-1][0 if open_ended else 1].append(line)
        open_ended = line.endswith("\\") and (open_ended or line.startswith("$ "))
    return [Step("\n".join(command), "\n".join(output)) for command, output in found]


def shown_by(block: Block) -> str:
    """Return what a ``python`` block is shown to print."""
    return "\n".join(_PRINT.findall(block.text))


def shows(shown: str, printed: str) -> bool:
    """Return whether ``shown`` is ``printed``; anything may stand for ``...``."""
    pattern = ".*?".join(re.escape(piece) for piece in _bare(shown).split("..."))
    return re.fullmatch(pattern, _bare(printed), re.DOTALL) is not None


def _bare(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines()).strip("\n")


class Reader(Struct):
    """Somebody who tries what a page says, in an empty home folder, with a gateway at hand.

    Attributes:
        home: The folder.
        url: The gateway's address.
        environ: Further variables.
    """

    home: Path
    url: str
    environ: Mapping[str, str] = field(default_factory=dict)

    def settle(self) -> None:
        """Put the gateway's key where ``spine serve`` would have put it, and have curl behave as in a terminal."""
        data = self.home / ".local" / "share" / "genai-spine"
        data.mkdir(parents=True)
        (data / "gateway.key").write_text(KEY + "\n", encoding="utf-8")
        (data / "gateway.key").chmod(0o600)
        # Without a terminal it would draw its progress meter.
        (self.home / ".curlrc").write_text("silent\nshow-error\n", encoding="utf-8")

    async def follow(self, block: Block) -> list[str]:
        """Do what a block says, and return a line for each thing that is not as shown."""
        if block.language == "toml" and block.name:
            (self.home / block.name).write_text(block.text, encoding="utf-8")
        if block.language == "python" and not block.name:
            return await self._check(block.where, [sys.executable, "-c", block.text], shown_by(block))
        faults: list[str] = []
        if block.language == "console":
            for step in steps(block):
                command = ["bash", "-euo", "pipefail", "-c", step.command]
                faults += await self._check(f"{block.where}: {step.command}", command, step.shown)
        return faults

    async def _check(self, where: str, command: Sequence[str], shown: str) -> list[str]:
        status, printed = await self.run([part.replace(ADDRESS, self.url) for part in command])
        printed = printed.replace(self.url, ADDRESS)
        if status != 0:
            return [f"{where} left with status {status}:\n{printed}"]
        if shown and not shows(shown, printed):
            return [f"{where} printed:\n{printed}"]
        return []

    async def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command, and return its status and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.home,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()

    def _environment(self) -> dict[str, str]:
        """Nothing of the machine's own but the search path: no key, no setting, no local provider."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "HOME": str(self.home),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            "GENAI_PROBE_LOCAL": "false",
            # Nobody's: commands must not find a gateway that happens to run on this machine.
            "GENAI_API_URL": "http://127.0.0.1:9",
            **self.environ,
        }
