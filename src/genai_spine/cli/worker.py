"""One of several processes that serve: started, watched and told to stop by ``cli/supervisor.py``.

It is told what to do by one byte, and says once that it serves. Where whoever started it is gone, it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import typer
from msgspec import Struct

from genai_spine.assembly import Spine
from genai_spine.cli.greeting import access_to, found_by
from genai_spine.cli.settings import load_settings, told
from genai_spine.cli.supervisor import HURRY
from genai_spine.telemetry.logging import LogObserver, configure_logging, logger
from genai_spine.telemetry.metric_files import MetricFiles
from genai_spine.telemetry.prometheus import PrometheusObserver

if TYPE_CHECKING:
    from genai_spine.server.serving import Server

__all__ = ["Orders", "command", "settle", "work"]

_MADE: Final = 10_000
"""After so many new objects that are still there the collector looks at them."""


class Orders(Struct, frozen=True, kw_only=True):
    """What a worker is told when it starts.

    Attributes:
        name: What no other process of the service is called.
        config: The configuration file.
        auth: Callers are asked for a key.
        metrics: The folder for what it counts.
        listening: The descriptor of the socket where callers come in.
        control: The descriptor of the socket to whoever started it.
    """

    name: str
    config: str | None
    auth: bool
    metrics: str
    listening: int
    control: int


def command(orders: Orders) -> list[str]:
    """Return the command line of a worker: an interpreter of its own, that takes no module from the working folder."""
    return [sys.executable, "-P", "-m", "genai_spine.cli.worker", msgspec.json.encode(orders).decode()]


def work(orders_: str) -> None:
    """Serve until told to stop."""
    from genai_spine.server.serving import Server  # noqa: PLC0415  # who starts workers needs no server itself

    orders = msgspec.json.decode(orders_, type=Orders)
    listening, control = socket.socket(fileno=orders.listening), socket.socket(fileno=orders.control)
    with told():
        settings = load_settings(Path(orders.config) if orders.config else None)
        level = settings.values.log_level
        writer = configure_logging(level)
        metrics = PrometheusObserver(MetricFiles(Path(orders.metrics), orders.name))
        spine = Spine(settings, observers=[LogObserver(writer, level)], metrics=metrics)
        access = access_to(settings, auth=orders.auth)
    obeying: list[asyncio.Task[None]] = []

    def ready() -> None:
        settle()
        # Whoever started it may be gone already; that is noticed where its orders are read.
        with contextlib.suppress(OSError):
            control.sendall(msgspec.json.encode(found_by(spine)) + b"\n")
        obeying.append(asyncio.ensure_future(_obey(control, server)))

    server = Server(spine, access.keys, ready)
    try:
        with told():
            server.run([listening])
    finally:
        writer.close()


def settle() -> None:
    """Note that what is here now stays: the collector need not look at it again and again.

    Nor need it look so often at what comes: a request leaves it nothing to do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MADE, *gc.get_threshold()[1:])


async def _obey(control: socket.socket, server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=control)
    try:
        while order := await reader.read(1):
            if order == HURRY:
                server.stop()
            else:
                server.finish()
        logger.warning("the supervisor is gone, so this worker stops")
        server.finish()
    finally:
        writer.close()


if __name__ == "__main__":
    typer.run(work)
