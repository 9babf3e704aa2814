"""Ids of the users whom answers are for, brought to a length that every service takes."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["short_user"]

_LONGEST: Final = 64
"""OpenAI's limit, the lowest; coding agents send objects of more than a hundred letters."""


def short_user(user: str | None) -> str | None:
    """Return the id, or for one that is too long its digest, which is the same for the same user."""
    return user if user is None or len(user) <= _LONGEST else hashlib.sha256(user.encode()).hexdigest()
