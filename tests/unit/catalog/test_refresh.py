"""Prices fetched on request: checked before they count, kept in one file, set aside when they are old or broken."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from genai_spine.assembly import Spine
from genai_spine.catalog.book import PriceBook
from genai_spine.catalog.prices import Prices
from genai_spine.catalog.refresh import FILE, open_book, refresh_prices
from genai_spine.errors import ConfigurationError
from genai_spine.settings import Settings
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from tests.published_prices import published

NOBODY: Final = "http://127.0.0.1:9/data.json"


def cheaper() -> list[dict[str, Any]]:
    """The same, with gpt-4o's input at a dollar."""
    providers = published()
    openai = next(provider for provider in providers if provider["id"] == "openai")
    model = next(model for model in openai["models"] if model["id"] == "gpt-4o")
    model["prices"]["input_mtok"] = "1"
    return providers


def held(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def fetched(folder: Path, answer: Scripted) -> PriceBook:
    """Refresh from a server that answers so."""

    def answering(_: Received) -> Scripted:
        return answer

    async with ScriptedUpstream(answering) as upstream:
        return await asyncio.to_thread(refresh_prices, folder, f"{upstream.url}/data.json")


async def test_refreshed_prices_take_effect(tmp_path: Path) -> None:
    """What was fetched is what an engine that is started then charges, to the last digit; all else stays as it was."""
    settings = Settings({"GENAI_DATA_DIR": str(tmp_path / "new")})
    assert Decimal("2.5") == Spine(settings).estimate_cost_usd("gpt-4o", 10**6, 0)
    returned = await fetched(tmp_path / "new", json_reply(msgspec.json.encode(cheaper())))
    spine = Spine(settings)
    assert Decimal(1) == spine.estimate_cost_usd("gpt-4o", 10**6, 0)
    assert Decimal("0.15") == spine.estimate_cost_usd("gpt-4o-mini", 10**6, 0)
    assert returned.source == spine.prices.source
    assert "refreshed" in returned.source
    assert () == spine.warnings
    assert {FILE} == set(held(tmp_path / "new"))


def lacking_models() -> bytes:
    """All providers, one of them with next to no models."""
    providers = published()
    for provider in providers:
        if provider["id"] == "groq":
            del provider["models"][3:]
    return msgspec.json.encode(providers)


def lacking_a_price() -> bytes:
    """All of it, but the best known model costs nothing."""
    providers = cheaper()
    for provider in providers:
        for model in provider["models"]:
            if (provider["id"], model["id"]) == ("openai", "gpt-4o"):
                model["prices"] = {}
    return msgspec.json.encode(providers)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: b"<html>sign in</html>",
        lambda: b"{}",
        lambda: b"[]",
        lambda: b'[{"id":"openai"}]',
        lambda: b"\xff\xfe",
        lacking_models,
        lacking_a_price,
    ],
)
async def test_broken_prices_change_nothing(tmp_path: Path, broken: Callable[[], bytes]) -> None:
    """What cannot be a price list is refused, and the one that was there stays as it is."""
    await fetched(tmp_path, json_reply(msgspec.json.encode(cheaper())))
    before = held(tmp_path)
    with pytest.raises(ConfigurationError, match="broken, nothing is changed"):
        await fetched(tmp_path, json_reply(broken()))
    assert before == held(tmp_path)


async def test_without_a_network(tmp_path: Path) -> None:
    """That nothing answers, or refuses, is said clearly, with the address; nothing is written."""
    with pytest.raises(ConfigurationError, match=r"could not be fetched from http://127\.0\.0\.1:9/data\.json"):
        refresh_prices(tmp_path, NOBODY)
    with pytest.raises(ConfigurationError, match="could not be fetched"):
        await fetched(tmp_path, json_reply({}, 404))
    assert {} == held(tmp_path)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, it is said how to install it."""
    monkeypatch.delitem(sys.modules, "genai_spine.catalog.compiling", raising=False)
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'genai-spine\[prices\]'"):
        refresh_prices(tmp_path, NOBODY)


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is an error in plain words."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        await fetched(tmp_path / "file", json_reply(msgspec.json.encode(cheaper())))
    blocked = tmp_path / "blocked"
    (blocked / FILE).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        await fetched(blocked, json_reply(msgspec.json.encode(cheaper())))
    assert [FILE] == [path.name for path in blocked.iterdir()]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "broken"),
        (b"{}", "broken"),
        (b'{"over":"x","files":{}}', "broken"),
        (b'{"over":"x","files":{"index.json":{"format":2,"source":"s","providers":[]}}}', "broken"),
        (b'{"over":"x","files":{"index.json":{"format":1,"source":"s","providers":[]}}}', "broken"),
    ],
)
def test_a_broken_file_is_set_aside(tmp_path: Path, text: bytes, told: str) -> None:
    """The shipped prices are used in its place, and the operator is warned."""
    (tmp_path / FILE).write_bytes(text)
    spine = Spine(Settings({"GENAI_DATA_DIR": str(tmp_path)}))
    (warning,) = spine.warnings
    assert told in warning
    assert str(tmp_path / FILE) in warning
    assert PriceBook().source == spine.prices.source


async def test_an_older_file_is_set_aside(tmp_path: Path) -> None:
    """Once the package brings another list than the one that was refreshed, its own is the newer."""
    await fetched(tmp_path, json_reply(msgspec.json.encode(cheaper())))
    kept = msgspec.json.decode((tmp_path / FILE).read_bytes())
    (tmp_path / FILE).write_bytes(msgspec.json.encode({**kept, "over": "genai-prices 0.0.1"}))
    book, warning = open_book(tmp_path)
    assert "older than the package's" in (warning or "")
    assert Prices(PriceBook()).rate("openai", "gpt-4o") == Prices(book).rate("openai", "gpt-4o")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is a warning too; that there is none is nothing to speak of."""
    assert open_book(tmp_path)[1] is None
    (tmp_path / FILE).mkdir()
    assert "cannot be read" in (open_book(tmp_path)[1] or "")
