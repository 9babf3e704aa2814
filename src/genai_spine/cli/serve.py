"""``spine serve``: the gateway, over HTTP, in this process or in several that it looks after."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from genai_spine.assembly import Spine
from genai_spine.cli.greeting import Found, access_to, found_by, greeting
from genai_spine.cli.settings import ConfigOption, checked_workers, load_settings, told
from genai_spine.cli.supervisor import Listeners, Post, Supervisor
from genai_spine.cli.worker import Orders, command, settle
from genai_spine.errors import ConfigurationError
from genai_spine.server.listening import CUT_SECONDS, listen
from genai_spine.settings import Settings
from genai_spine.telemetry.logging import LineWriter, LogObserver, configure_logging, logger
from genai_spine.telemetry.metric_files import MetricFolder

__all__ = ["serve", "tell"]

SPARE_SECONDS = 5.0
"""What a worker may take to end beyond the limits that it keeps itself."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; GENAI_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one; GENAI_API_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that serve; more than one need Redis. GENAI_WORKERS.")
    ] = None,
    config: ConfigOption = None,
    *,
    auth: Annotated[bool, typer.Option("--auth/--no-auth", help="Ask callers for a key.")] = True,
) -> None:
    """Start the gateway."""
    with told():
        settings = load_settings(config)
        host = host or settings.values.host
        port = settings.values.port if port is None else port
        workers = checked_workers(settings, workers)
        if not auth and not _is_loopback(host):
            message = f"--no-auth is only for loopback addresses, and {host} is not one; set GENAI_API_KEYS instead"
            raise ConfigurationError(message)
    writer = configure_logging(settings.values.log_level)
    try:
        with told():
            if workers == 1:
                _alone(settings, host, port, writer, auth=auth)
                return
            status = _several(settings, config, Listeners(host, port, workers), workers, auth=auth)
    finally:
        writer.close()
    raise typer.Exit(status)


def _alone(settings: Settings, host: str, port: int, writer: LineWriter, *, auth: bool) -> None:
    from genai_spine.server.serving import Server  # noqa: PLC0415  # other commands need no server, nor wait for it

    spine = Spine(settings, observers=[LogObserver(writer, settings.values.log_level)])
    access = access_to(settings, auth=auth)
    listening = listen(host, port)

    def ready() -> None:
        settle()
        host, port = listening.getsockname()[:2]
        tell(greeting(host, port, 1, access, found_by(spine)), spine.warnings)

    Server(spine, access.keys, ready).run([listening])


def _several(settings: Settings, config: Path | None, listeners: Listeners, workers: int, *, auth: bool) -> int:
    # Made here, before the workers, so that there is one, and it is shown once.
    access = access_to(settings, auth=auth)
    metrics = MetricFolder(settings.data_dir / "metrics" / f"{listeners.host}-{listeners.port}")

    def launch(post: Post) -> list[str]:
        return command(
            Orders(
                config=None if config is None else str(config),
                auth=auth,
                metrics=str(metrics.path),
                **post._asdict(),
            )
        )

    def up(said: bytes) -> None:
        found = msgspec.json.decode(said, type=Found)
        tell(greeting(listeners.host, listeners.port, workers, access, found), found.warnings)

    patience = settings.values.stop_seconds + 2 * CUT_SECONDS + SPARE_SECONDS
    supervisor = Supervisor(launch, listeners, workers, patience=patience, up=up, died=metrics.died)
    try:
        return asyncio.run(supervisor.run())
    finally:
        metrics.remove()


def tell(text: str, warnings: Sequence[str]) -> None:
    """Print the greeting, and log what is to be looked at."""
    try:
        typer.echo(text)
    except OSError as error:
        # Nobody reads it; callers are served all the same.
        logger.warning("the greeting could not be printed", reason=error.strerror)
    for warning in warnings:
        logger.warning(warning)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
