"""The price library's data as it is published, made of the data that the library brings."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from genai_prices.data import providers as bundled

from genai_spine.catalog.compiling import PROVIDERS

__all__ = ["published"]


def _raw(value: Any) -> Any:
    """A value of the library's as its published data writes it."""
    if isinstance(value, list | tuple):
        return [_raw(item) for item in value]
    if isinstance(value, dict):
        return {name: _raw(item) for name, item in value.items()}
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    fields = {name: item for name, item in vars(value).items() if item is not None and not name.startswith("_")}
    return {name.rstrip("_"): _raw(item) for name, item in fields.items() if name != "extractors"}


@cache
def _published() -> bytes:
    return msgspec.json.encode([_raw(provider) for provider in bundled if provider.id in PROVIDERS.values()])


def published() -> list[dict[str, Any]]:
    """What the library would fetch, were today's prices those that it brings."""
    providers: list[dict[str, Any]] = msgspec.json.decode(_published())
    return providers
