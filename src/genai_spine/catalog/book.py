"""The price list as it stands in files: one per provider, read when that provider is first asked for.

They are made from the data of the genai-prices library by ``compiling.py``; those that ship with the package lie beside
this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.json import Decoder

__all__ = ["FORMAT", "MOST_REMEMBERED", "SHIPPED", "Found", "ListedModel", "PriceBook", "Steps", "Tariff", "Variant"]

SHIPPED: Final = Path(__file__).parent / "data" / "prices"

FORMAT: Final = 1
"""The form of the files; those of another form are not read."""

MOST_REMEMBERED: Final = 4096
"""Callers choose the model names, so what is remembered of them must have an end."""

# Some gateways write the date in a model's name without dashes.
_COMPACT_DATE: Final = r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)"


class _Equals(Struct, frozen=True, array_like=True, tag="equals", gc=False):
    text: str

    def matches(self, name: str) -> bool:
        return name == self.text


class _StartsWith(Struct, frozen=True, array_like=True, tag="starts_with", gc=False):
    text: str

    def matches(self, name: str) -> bool:
        return name.startswith(self.text)


class _EndsWith(Struct, frozen=True, array_like=True, tag="ends_with", gc=False):
    text: str

    def matches(self, name: str) -> bool:
        return name.endswith(self.text)


class _Contains(Struct, frozen=True, array_like=True, tag="contains", gc=False):
    text: str

    def matches(self, name: str) -> bool:
        return self.text in name


class _Regex(Struct, frozen=True, array_like=True, tag="regex", gc=False):
    pattern: str

    def matches(self, name: str) -> bool:
        return re.search(self.pattern, name) is not None


class _Or(Struct, frozen=True, array_like=True, tag="or", gc=False):
    parts: tuple[_Clause, ...]

    def matches(self, name: str) -> bool:
        return any(part.matches(name) for part in self.parts)


class _And(Struct, frozen=True, array_like=True, tag="and", gc=False):
    parts: tuple[_Clause, ...]

    def matches(self, name: str) -> bool:
        return all(part.matches(name) for part in self.parts)


_Clause: TypeAlias = _Equals | _StartsWith | _EndsWith | _Contains | _Regex | _Or | _And

# A rate, or one with tiers: [rate, above, rate, above, rate ...], each for all tokens of a prompt longer than `above`.
Steps: TypeAlias = int | tuple[int, ...]


class Tariff(Struct, frozen=True, kw_only=True, gc=False):
    """Prices and when they hold: always, from a date on, or within hours of the day (UTC)."""

    since: date | None = None
    between: tuple[time, time] | None = None
    input: Steps | None = None
    output: Steps | None = None
    cache_read: Steps | None = None
    cache_write: Steps | None = None
    cache_write_1h: Steps | None = None
    reasoning: Steps | None = None

    def holds(self, at: datetime) -> bool:
        """Whether these are the prices of a moment."""
        if self.since is not None:
            return at.date() >= self.since
        if self.between is None:
            return True
        start, end = self.between
        now = at.time()
        return start <= now < end if start <= end else now >= start or now < end


class Variant(Tariff, frozen=True, kw_only=True, gc=False):
    """Prices that replace the others for a request of a kind, such as one of a batch."""

    when: dict[str, str]


class ListedModel(Struct, frozen=True, kw_only=True, gc=False):
    """A model of the list: its names, what it reads at most, and its prices in picodollars per ``per`` tokens."""

    id: str
    name: str = ""
    match: _Clause | None = None
    context: int | None = None
    deprecated: bool = False
    per: int = 1
    prices: tuple[Tariff, ...]
    variants: tuple[Variant, ...] = ()

    def matches(self, name: str) -> bool:
        """Whether a name in lower case means this model."""
        return name == self.id.lower() if self.match is None else self.match.matches(name)


class _ProviderFile(Struct, frozen=True):
    provider: str
    models: tuple[ListedModel, ...]


class _Provider(Struct, frozen=True):
    """A provider, the names of the models that are its own make, and the providers whose models it offers too."""

    name: str
    makes: _Clause | None = None
    resells: tuple[str, ...] = ()


class _Index(Struct, frozen=True, kw_only=True):
    format: Literal[1]
    source: str
    providers: tuple[_Provider, ...]


class Found(Struct, frozen=True):
    """A model, and whether the provider lists it itself, not by way of a maker whose models it offers."""

    model: ListedModel
    own: bool


class PriceBook:
    """A price list.

    Args:
        read: Returns the bytes of a file by its name; by default of those that ship with the package.
    """

    def __init__(self, read: Callable[[str], bytes] | None = None) -> None:
        self._read_file = read or _read_shipped
        self._index: _Index | None = None
        self._models: dict[str, tuple[ListedModel, ...]] = {}
        self._found: dict[tuple[str, str], Found | None] = {}

    @property
    def source(self) -> str:
        """Where the prices come from, with its version."""
        return self._read_index().source

    def providers(self) -> tuple[str, ...]:
        """The providers with prices, makers of models before those who offer the models of others."""
        return tuple(provider.name for provider in self._read_index().providers)

    def models(self, provider: str) -> tuple[str, ...]:
        """The ids of the models that the provider lists itself."""
        return tuple(model.id for model in self._read(provider)) if provider in self.providers() else ()

    def makers(self, model: str) -> Iterator[str]:
        """The providers of whose make the model is by its name, the likeliest first."""
        name = model.lower()
        for provider in self._read_index().providers:
            if provider.makes is not None and provider.makes.matches(name):
                yield provider.name

    def find(self, provider: str, model: str) -> Found | None:
        """The model that the provider means by a name."""
        key = (provider, model)
        if key not in self._found:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = self._look_up(provider, model)
        return self._found[key]

    def _look_up(self, provider: str, model: str) -> Found | None:
        row = next((row for row in self._read_index().providers if row.name == provider), None)
        if row is None:
            return None
        name = model.lower()
        found = self._match(row, name)
        if found is None:
            dated = re.sub(_COMPACT_DATE, r"-\1-\2-\3", name)
            found = self._match(row, dated) if dated != name else None
        return found

    def _match(self, provider: _Provider, name: str) -> Found | None:
        for holder in (provider.name, *provider.resells):
            for model in self._read(holder):
                if model.matches(name):
                    return Found(model, own=holder == provider.name)
        return None

    def _read_index(self) -> _Index:
        if self._index is None:
            self._index = _index_decoder().decode(self._read_file("index.json"))
        return self._index

    def _read(self, provider: str) -> tuple[ListedModel, ...]:
        if (models := self._models.get(provider)) is None:
            file = _provider_decoder().decode(self._read_file(f"{provider}.json"))
            models = self._models[provider] = file.models
        return models


def _read_shipped(name: str) -> bytes:
    return (SHIPPED / name).read_bytes()


# Made on first use: they cost more than the rest of the import together.
@cache
def _index_decoder() -> Decoder[_Index]:
    return Decoder(_Index)


@cache
def _provider_decoder() -> Decoder[_ProviderFile]:
    return Decoder(_ProviderFile)
