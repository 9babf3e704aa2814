"""What providers are built from, in tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genai_spine.assembly import DIALECTS
from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices
from genai_spine.providers.plugins import Context
from genai_spine.settings import Settings
from genai_spine.testing.clock import ManualClock
from genai_spine.transport.base import Transport
from genai_spine.transport.http import HttpTransport

__all__ = ["context"]


def context(
    environ: Mapping[str, str] | None = None, path: Path | None = None, transport: Transport | None = None
) -> Context:
    """A context with just this environment and file, and a clock that stands still."""
    return Context(
        settings=Settings(environ or {}, path),
        transport=transport or HttpTransport(),
        dialects=DIALECTS,
        catalog=ModelCatalog.builtin(),
        prices=Prices.builtin(),
        clock=ManualClock(),
    )
