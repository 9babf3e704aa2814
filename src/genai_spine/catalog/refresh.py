"""Newer prices than those that ship with the package: fetched when the user asks, checked, and kept in one file.

They are set aside when the package itself brings another price list, which is then the newer one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from genai_spine.catalog.book import PriceBook
from genai_spine.catalog.prices import Prices
from genai_spine.errors import ConfigurationError

if TYPE_CHECKING:
    from genai_prices.types import Provider

__all__ = ["FILE", "open_book", "refresh_prices"]

FILE: Final = "prices.json"
"""The file's name in the data folder."""

# Whose prices everybody knows: a list without them, or without most of what it had, is broken.
_LANDMARKS: Final = (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-5"), ("google", "gemini-2.5-flash"))
_LEAST_SHARE: Final = 0.5


class _Refreshed(Struct, frozen=True):
    """The file: the price list's own files, and the source of the shipped ones that it stands over."""

    over: str
    files: dict[str, Raw]


def open_book(directory: Path) -> tuple[PriceBook, str | None]:
    """Return the refreshed price list of a data folder, else the shipped one, with why if there is one to set aside."""
    shipped = PriceBook()
    path = directory / FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return shipped, None
    except OSError as error:
        return shipped, f"the prices in {path} cannot be read ({error.strerror}); those of the package are used"
    try:
        book, over = _read(text)
        _check(book, shipped)
    except (msgspec.MsgspecError, ValueError, LookupError) as error:
        return shipped, f"the prices in {path} are broken ({error}); those of the package are used"
    if over != shipped.source:
        return shipped, f"the prices in {path} are older than the package's, which are used; spine prices refresh"
    return book, None


def refresh_prices(directory: Path, url: str | None = None) -> PriceBook:
    """Fetch the prices of today into a data folder, and return them; nothing is changed if they are not good.

    Args:
        directory: The data folder; it is made if it is not there.
        url: Where to fetch them; by default where the genai-prices library does.

    Raises:
        ConfigurationError: The library is not installed, nothing could be fetched, or what came is broken.
    """
    try:
        from genai_spine.catalog.compiling import compile_prices  # noqa: PLC0415 - the library that it needs is an extra
    except ImportError as error:
        message = "prices are refreshed by the genai-prices library; install it: pip install 'genai-spine[prices]'"
        raise ConfigurationError(message) from error
    shipped = PriceBook()
    try:
        files = compile_prices(_fetched(url), f"genai-prices {version('genai-prices')}, refreshed")
        text = _written(files, shipped.source)
        book, _ = _read(text)
        _check(book, shipped)
    except (msgspec.MsgspecError, ValueError, LookupError, AttributeError, TypeError) as error:
        message = f"the prices that were fetched are broken, nothing is changed: {error}"
        raise ConfigurationError(message) from error
    _put(directory, text)
    return book


def _fetched(url: str | None) -> Sequence[Provider]:
    from genai_prices import UpdatePrices  # noqa: PLC0415 - an extra
    from httpx2 import HTTPError  # noqa: PLC0415 - the library's own

    update = UpdatePrices() if url is None else UpdatePrices(url=url)
    try:
        snapshot = update.fetch()
    except (HTTPError, OSError) as error:
        message = f"the prices could not be fetched from {update.url}: {error}; those in use stay"
        raise ConfigurationError(message) from error
    return snapshot.providers if snapshot else ()


def _written(files: dict[str, str], over: str) -> bytes:
    return json.dumps({"over": over, "files": {name: json.loads(text) for name, text in files.items()}}).encode()


def _read(text: bytes) -> tuple[PriceBook, str]:
    refreshed = msgspec.json.decode(text, type=_Refreshed)
    return PriceBook(lambda name: bytes(refreshed.files[name])), refreshed.over


def _check(book: PriceBook, shipped: PriceBook) -> None:
    """Raise if a list cannot be what it says it is, reading all of it.

    Raises:
        ValueError: It lacks what the shipped one has.
    """
    prices = Prices(book)
    for provider in shipped.providers():
        if len(book.models(provider)) < _LEAST_SHARE * len(shipped.models(provider)):
            message = f"most models of {provider} are missing"
            raise ValueError(message)
    for provider, model in _LANDMARKS:
        rate = prices.rate(provider, model)
        if rate is None or min(rate.input, rate.output) <= 0:
            message = f"there is no price for {provider}/{model}"
            raise ValueError(message)


def _put(directory: Path, text: bytes) -> None:
    """Write the file whole or not at all.

    Raises:
        ConfigurationError: The folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=directory, prefix=f"{FILE}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
            Path(name).replace(directory / FILE)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        message = f"the prices cannot be written to {directory}: {error.strerror}"
        raise ConfigurationError(message) from error
