"""What the subcommands share: the options that choose settings, and how a wrong setting is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from genai_spine.assembly import Spine
from genai_spine.errors import ConfigurationError, SpineError
from genai_spine.settings import Settings

__all__ = ["ConfigOption", "checked_workers", "load_settings", "open_spine", "told"]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration file; by default spine.toml in this folder, if there is one."
    ),
]

USAGE_ERROR: Final = 2


@contextmanager
def told() -> Iterator[None]:
    """Tell an error in plain words and leave with a status of 2, instead of a stack trace."""
    try:
        yield
    except SpineError as error:
        typer.echo(f"spine: {error.message}", err=True)
        raise typer.Exit(USAGE_ERROR) from error


def load_settings(config: Path | None) -> Settings:
    """Read the settings; raises as ``Settings`` does."""
    return Settings(os.environ, config)


def checked_workers(settings: Settings, wanted: int | None = None) -> int:
    """Return how many workers serve: so many as are wanted here, else as are set.

    Raises:
        ConfigurationError: They would share nothing.
    """
    workers = wanted or settings.values.workers
    if workers > 1 and settings.values.redis_url is None:
        message = f"{workers} workers need Redis to share what they know: set GENAI_REDIS_URL, or serve with one"
        raise ConfigurationError(message)
    return workers


def open_spine(config: Path | None) -> Spine:
    """Build the engine; raises as ``Spine`` does."""
    return Spine(load_settings(config))
