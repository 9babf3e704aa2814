"""Plug-ins: packages of others bring providers through an entry point, the built-in ones by the same door."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_spine.assembly import Spine
from genai_spine.errors import ConfigurationError
from genai_spine.providers.plugins import GROUP, load_providers
from genai_spine.providers.rows import builtin_rows
from genai_spine.settings import Settings
from tests.context import context

PLUGIN = """
from genai_spine.providers.builtin import provider_from_row
from genai_spine.providers.rows import Row

def providers(context):
    yield provider_from_row("acme", Row(dialect="openai_chat", url="https://acme.example/v1"), context)

def takes_over(context):
    row = Row(dialect="openai_chat", url="https://acme.example/v1", default_model="acme-large")
    yield provider_from_row("openai", row, context)

def fails(context):
    raise RuntimeError("out of cheese")

def misconfigured(context):
    from genai_spine.errors import ConfigurationError
    raise ConfigurationError("ACME_REGION: set it")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a plug-in package in it; its entry points are still to be written."""
    (tmp_path / "acme_spine_plugin.py").write_text(PLUGIN)
    info = tmp_path / "acme_spine_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-spine-plugin\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return info / "entry_points.txt"


def point(path: Path, *lines: str) -> None:
    """Write entry points."""
    path.write_text("\n".join([f"[{GROUP}]", *lines, ""]))


def test_the_builtin_ones_come_first() -> None:
    """Without further plug-ins there are the rows, the simulator, and those that come through a door of their own."""
    assert [*builtin_rows(), "simulator", "bedrock"] == [provider.name for provider in load_providers(context())]


def test_a_plugin_brings_a_provider(install: Path) -> None:
    """Its provider stands behind the built-in ones, built from the same settings."""
    point(install, "acme = acme_spine_plugin:providers")
    found = load_providers(context({"ACME_API_KEY": "k"}))
    assert [*builtin_rows(), "simulator", "acme", "bedrock"] == [provider.name for provider in found]
    assert ("ready", "found by ACME_API_KEY") == (found[-2].status, found[-2].hint)


def test_a_plugin_may_take_the_place_of_a_builtin(install: Path) -> None:
    """A provider of the same name as a built-in one is the one that serves, though its entry point sorts before it."""
    point(install, "a_first = acme_spine_plugin:takes_over")
    spine = Spine(Settings({}))
    assert spine.registry.get("openai").default_model == "acme-large"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "acme = acme_spine_plugin:fails",
            r"plug-in 'acme' \(acme_spine_plugin:fails\) failed: RuntimeError: out of ch",
        ),
        ("acme = acme_spine_plugin:missing", r"plug-in 'acme' .*AttributeError"),
        ("acme = no_such_package:providers", r"plug-in 'acme' .*ModuleNotFoundError"),
        ("acme = acme_spine_plugin:misconfigured", "^ACME_REGION: set it$"),
    ],
)
def test_a_plugin_that_fails_is_named(install: Path, line: str, told: str) -> None:
    """The operator learns which package it was; a plug-in's own words about a setting stay as they are."""
    point(install, line)
    with pytest.raises(ConfigurationError, match=told):
        load_providers(context())
