"""Rules that several providers have: names, ids, schemas, and what bytes really are."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["check_closed", "check_name", "check_open", "check_paired", "check_png", "words_of"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def check_name(name: str) -> str:
    """A tool's name has letters, digits, underscores and hyphens, at most 64."""
    assert _NAME.fullmatch(name), f"{name!r} is no name for a tool"
    return name


def check_paired(called: Sequence[str], answered: Sequence[str]) -> None:
    """Each call has one result, each result a call, and no id stands for two."""
    assert len(called) == len({*called}), f"two calls have one id: {called}"
    assert sorted(called) == sorted(answered), f"the results {answered} do not answer the calls {called}"


def check_png(media_type: str, data: str) -> str:
    """The type that is told is that of the bytes; the tests have no images but PNG."""
    assert base64.b64decode(data, validate=True).startswith(_PNG)
    assert media_type in {"png", "image/png"}, f"the bytes are a PNG, and told to be {media_type}"
    return data


def words_of(data: str) -> str:
    """What base64 says that holds words."""
    return base64.b64decode(data, validate=True).decode()


def check_closed(schema: Any, *, all_required: bool = True) -> None:  # Any: JSON
    """A schema that is to be obeyed to the letter has closed objects, and requires all that they may hold."""
    if isinstance(schema, list):
        for inner in schema:
            check_closed(inner, all_required=all_required)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        assert schema.get("additionalProperties") is False, "an object must be closed"
        if all_required:
            assert sorted(schema.get("properties", {})) == sorted(schema.get("required", ())), "all must be required"
    for inner in schema.values():
        check_closed(inner, all_required=all_required)


def check_open(schema: Any) -> None:  # Any: JSON
    """The same where a schema need not require all."""
    check_closed(schema, all_required=False)
