"""What tests of faults may use: the log as a server writes it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from genai_spine.telemetry.logging import LineWriter, configure_logging


@pytest.fixture
def log() -> Iterator[tuple[io.StringIO, LineWriter]]:
    """The log as the server writes it, with everything in it."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    before = (root.handlers, root.level, access.disabled)
    stream = io.StringIO()
    writer = configure_logging("debug", stream)
    yield stream, writer
    writer.close()
    root.handlers, level, access.disabled = before
    root.setLevel(level)
    structlog.reset_defaults()
