"""What a process tree has used, read from Linux: CPU time to the nanosecond, and memory."""

from __future__ import annotations

import ctypes
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Memory", "command_cpu", "cpu_seconds", "memory", "tree"]

_LIBC = ctypes.CDLL(None)
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PPID, _SESSION, _REAPED_USER, _REAPED_SYSTEM = 1, 3, 13, 14
"""Places in ``/proc/<pid>/stat`` after the command's closing bracket, from proc(5)."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Megabytes (10^6 bytes) of a process tree."""

    rss: float
    """Resident, shared pages counted in every process that maps them."""
    pss: float
    """Resident, each shared page divided among the processes that map it, those outside the tree too."""


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` from the state on; empty if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """The processes in ``root``'s session and all their descendants, ``root`` first.

    ``root`` must lead a session of its own, so that a child whose parent died is found too.
    """
    stats = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = {pid for pid, stat in stats.items() if stat and int(stat[_SESSION]) == root} | {root}
    grown = True
    while grown:
        children = {pid for pid, stat in stats.items() if stat and int(stat[_PPID]) in found} - found
        found |= children
        grown = bool(children)
    return [root, *sorted(found - {root})]


def _clock(pid: int) -> float:
    """Seconds of CPU of a live process and all its threads, ended ones too; 0 if it is gone.

    ``clock_getcpuclockid(3)`` reads the sum that ``/proc/<pid>/stat`` rounds to hundredths of a second.
    """
    clock = ctypes.c_int()
    if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    try:
        return time.clock_gettime(clock.value)
    except OSError:
        return 0.0


def cpu_seconds(root: int) -> float:
    """User and system CPU seconds that ``root``'s tree has used, children that have ended and been waited for too."""
    total = 0.0
    for pid in tree(root):
        stat = _stat(pid)
        if stat:
            total += _clock(pid) + (int(stat[_REAPED_USER]) + int(stat[_REAPED_SYSTEM])) * _TICK
    return total


def memory(root: int) -> Memory:
    """What ``root``'s tree holds now, from ``smaps_rollup``."""
    rss = pss = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        kib = {name: int(value) for name, value in re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE)}
        rss += kib.get("Rss", 0)
        pss += kib.get("Pss", 0)
    return Memory(rss=rss * 1024 / 1e6, pss=pss * 1024 / 1e6)


def command_cpu(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """CPU seconds of one command from its exec to its end.

    Raises:
        RuntimeError: the command failed.
    """
    pid = os.posix_spawn(argv[0], list(argv), dict(env))
    _, status, usage = os.wait4(pid, 0)
    if status:
        message = f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}"
        raise RuntimeError(message)
    return usage.ru_utime + usage.ru_stime
