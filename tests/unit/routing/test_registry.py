"""Plug-ins: packages of others bring strategies through an entry point, the built-in ones by the same door."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_spine.errors import ConfigurationError
from genai_spine.routing.registry import GROUP, Strategies, builtin, load_strategies

PLUGIN = """
from genai_spine.routing.base import Strategy

class Backwards(Strategy):
    hints = ("from_behind",)

    def __init__(self, name):
        self.name = name

    def order(self, options, view):
        return options[::-1]

def strategies():
    yield Backwards("backwards")

def takes_over():
    yield Backwards("quality")

def fails():
    raise RuntimeError("out of cheese")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a plug-in package in it; its entry points are still to be written."""
    (tmp_path / "acme_spine_orders.py").write_text(PLUGIN)
    info = tmp_path / "acme_spine_orders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-spine-orders\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return info / "entry_points.txt"


def point(path: Path, *lines: str) -> None:
    """Write entry points."""
    path.write_text("\n".join([f"[{GROUP}]", *lines, ""]))


def test_the_builtin_ones() -> None:
    """Without further plug-ins they are all that there is."""
    assert Strategies(builtin()).names == load_strategies().names


def test_a_plugin_brings_a_strategy(install: Path) -> None:
    """It stands among the others, with its hint."""
    point(install, "acme = acme_spine_orders:strategies")
    found = load_strategies()
    assert found.get("backwards") is found.hinted("from_behind")
    assert set(found.names) - {"backwards"} == set(Strategies(builtin()).names)


def test_a_plugin_may_take_the_place_of_a_builtin(install: Path) -> None:
    """The built-in ones come first, whatever the name of the entry point, so a plug-in's counts."""
    point(install, "a_first = acme_spine_orders:takes_over")
    assert "Backwards" == type(load_strategies().get("quality")).__name__


@pytest.mark.parametrize("target", ["acme_spine_orders:fails", "acme_spine_orders:missing", "no_such_module:it"])
def test_a_plugin_that_fails(install: Path, target: str) -> None:
    """Its name is told to the operator, who put it there."""
    point(install, f"acme = {target}")
    with pytest.raises(ConfigurationError, match=f"the strategy plug-in 'acme' \\({target}\\) failed"):
        load_strategies()
