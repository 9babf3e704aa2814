"""What a failure of the file system means."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from genai_spine.errors import JournalError

__all__ = ["FULL", "reason", "translated"]

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""There is no room: on the disk, in the user's share of it, or for a file of this size."""


def reason(error: OSError) -> str:
    """Return what the system says, without the path."""
    return error.strerror or type(error).__name__


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise a failure of the file system as the journal's own.

    Raises:
        JournalError: It failed; the message begins with ``what``.
    """
    try:
        yield
    except OSError as error:
        message = f"{what}: {reason(error)}"
        raise JournalError(message) from error
