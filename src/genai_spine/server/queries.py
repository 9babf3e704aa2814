"""What stands behind the question mark of an address: what its route would pass over is refused.

That is what it does not know, and all but the last of what is given several times; no route takes a list.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from genai_spine.errors import InvalidFieldError
from genai_spine.redact import scrub

__all__ = ["check_query"]

_ALWAYS_KNOWN: Final = "key"
"""Where Gemini's clients put the key by which they are let in."""
_LONGEST_SHOWN: Final = 100
_NEAR: Final = 0.4
"""How much alike two names are at least for one to be meant by the other; ``group_by`` and ``by`` are so."""


def check_query(request: Request) -> None:
    """Let a request go on whose route knows each name in its query, and that has each there once.

    Raises:
        InvalidFieldError: It does not know one, or one is there again.
    """
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    known = sorted(set(_names(route.dependant)))
    seen = set[str]()
    for name, _ in request.query_params.multi_items():
        if name not in known and name != _ALWAYS_KNOWN:
            raise _unknown(name, known)
        if name in seen:
            message = f"{name}: it is given more than once; give it once, with commas where it takes several values"
            raise InvalidFieldError(message, param=name)
        seen.add(name)


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for each in dependant.dependencies:
        yield from _names(each)


def _unknown(name: str, known: list[str]) -> InvalidFieldError:
    shown = scrub(name[:_LONGEST_SHOWN])
    near = difflib.get_close_matches(shown, known, n=1, cutoff=_NEAR)
    hint = f"; did you mean {near[0]}?" if near else "."
    taken = f"This route takes {', '.join(known)}." if known else "This route takes none."
    return InvalidFieldError(f"{shown}: there is no such parameter{hint} {taken}", param=shown)
