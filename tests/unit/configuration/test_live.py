"""The configuration in a program, without a server: what the front door cannot show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from genai_spine.assembly import Spine
from genai_spine.configuration.changes import ModelChange, ProviderChange
from genai_spine.errors import (
    ConflictError,
    DatabaseDownError,
    InvalidFieldError,
    NotFoundError,
    ProviderNotConfiguredError,
    SwitchedOffError,
)
from genai_spine.settings import Settings
from genai_spine.storage.sql.audit import AuditFilter
from genai_spine.types.ledger import Caller
from tests.databases import fresh_address
from tests.providers import OwnProvider


@pytest.fixture
async def address() -> str:
    """Of a database."""
    return await fresh_address("sqlite")


@pytest.fixture
async def spine(address: str, tmp_path: Path) -> AsyncIterator[Spine]:
    """An engine over it."""
    async with Spine(settings_of(address, tmp_path)) as found:
        yield found


def settings_of(address: str, folder: Path) -> Settings:
    """Settings with a provider."""
    return Settings(
        {
            "GENAI_DATA_DIR": str(folder),
            "GENAI_DATABASE_URL": address,
            "GENAI_PROBE_LOCAL": "false",
            "OPENAI_API_KEY": "sk-1",
        }
    )


async def test_each_change_is_audited(spine: Spine) -> None:
    """By whom, of what, which fields, and never a value; what is refused is no change."""
    by = Caller(fingerprint="ab12")
    await spine.configuration.set("retry_attempts", 2, by=by)
    await spine.configuration.set_provider("openai", ProviderChange(default_model="canary"), by=by)
    await spine.configuration.set_model("openai", "m", ModelChange(facts={"input": Decimal(1), "output": Decimal(2)}))
    await spine.configuration.delete_model("openai", "m")
    await spine.configuration.delete_provider("openai")
    await spine.configuration.unset("retry_attempts")
    for wrong in (spine.configuration.set("retry_attempts", 0), spine.configuration.set("port", 1)):
        with pytest.raises(InvalidFieldError):
            await wrong
    with pytest.raises(NotFoundError):
        await spine.configuration.unset("retry_attempts")
    with pytest.raises(ConflictError):
        await spine.configuration.set("retry_attempts", 2, version=1)
    await spine.books.shipper.flush()
    events = [msgspec.json.decode(line) async for line in spine.books.audit.lines([AuditFilter(event="config_change")])]
    told = [(event["details"]["what"], event["details"]["how"]) for event in events]
    assert [
        ("retry_attempts", "set"),
        ("providers.openai", "default_model"),
        ('models."openai/m"', "facts"),
        ('models."openai/m"', "deleted"),
        ("providers.openai", "deleted"),
        ("retry_attempts", "unset"),
    ] == told
    assert ["ab12", "ab12", None] == [event["key"] for event in events[:3]]
    assert "canary" not in str(events)


async def test_what_a_program_registers_obeys_too(spine: Spine) -> None:
    """A provider that is an object of the program's own is switched off by its name, and on again."""
    spine.register_provider(OwnProvider())
    await spine.configuration.set_provider(
        "mine", ProviderChange(is_enabled=False, api_endpoint="http://x", config={"dialect": "openai_chat"})
    )
    with pytest.raises(SwitchedOffError):
        await spine.complete("Hello!", model="mine/mine-1")
    await spine.configuration.delete_provider("mine")
    assert "Hello from mine." == (await spine.complete("Hello!", model="mine/mine-1")).content


async def test_a_provider_that_stays_as_it_is_stays(spine: Spine) -> None:
    """What a change does not touch is the very same object; what it touches is another, and the former retired."""
    before = {provider.name: provider for provider in spine.registry}
    await spine.configuration.set_provider("openai", ProviderChange(default_model="m"))
    changed = {provider.name for provider in spine.registry if provider is not before[provider.name]}
    assert {"openai"} == changed
    assert [True, False] == [before["openai"].retired, spine.registry.get("openai").retired]


async def test_a_database_out_of_reach_leaves_what_was(address: str, tmp_path: Path) -> None:
    """An engine starts without it, says so where something is to be changed, and reads it once it is there."""
    folder = tmp_path / "database"
    folder.write_text("in the way", encoding="utf-8")
    async with Spine(settings_of(f"sqlite:///{folder}/spine.db", tmp_path)) as spine:
        assert spine.watcher.down
        with pytest.raises(DatabaseDownError):
            await spine.configuration.set("default_provider", "openai")
        assert "ollama" == spine.settings.values.default_provider
        folder.unlink()
        await spine.configuration.set("default_provider", "openai")
        assert "openai" == spine.settings.values.default_provider
    async with Spine(settings_of(f"sqlite:///{folder}/spine.db", tmp_path)) as spine:
        assert "openai" == spine.settings.values.default_provider
    await Spine(settings_of(address, tmp_path)).close()


async def test_a_name_that_only_the_database_knows(spine: Spine) -> None:
    """It may be the default provider; then it cannot be deleted before another is."""
    own = ProviderChange(api_endpoint="http://127.0.0.1:1/v1", config={"dialect": "openai_chat"})
    await spine.configuration.set_provider("mycompany", own)
    await spine.configuration.set("default_provider", "mycompany")
    with pytest.raises(InvalidFieldError, match="default_provider: unknown provider 'mycompany'"):
        await spine.configuration.delete_provider("mycompany")
    with pytest.raises(ProviderNotConfiguredError):
        await spine.complete("Hello!", provider="mycompany", model="m")
    await spine.configuration.unset("default_provider")
    await spine.configuration.delete_provider("mycompany")
    assert "mycompany" not in spine.registry
