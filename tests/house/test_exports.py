"""The public names: listed once, importable, and cheap to come by."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import genai_spine

HEAVY: Final = (
    "aiohttp",
    "fastapi",
    "httptools",
    "msgspec",
    "pydantic",
    "rich",
    "starlette",
    "structlog",
    "typer",
    "uvicorn",
)

# The list of errors is one of errors and nothing else: pages are made from it.
UNLISTED: Final = {"genai_spine.errors": {"Retry"}}


def modules() -> list[str]:
    """Every module of the package but the empty ones, and the revisions of the database, whose form is Alembic's."""
    found = pkgutil.walk_packages(genai_spine.__path__, "genai_spine.")
    return ["genai_spine", *(one.name for one in found if not (one.ispkg or ".migrations." in one.name))]


def imported(name: str) -> ModuleType:
    """A module."""
    return importlib.import_module(name)


def test_the_top_names_are_sorted_and_there() -> None:
    """``__all__`` is in order, each name is found, and nothing else pretends to be there."""
    assert genai_spine.__all__ == sorted(genai_spine.__all__)
    for name in genai_spine.__all__:
        assert getattr(genai_spine, name) is not None
    assert dir(genai_spine) == genai_spine.__all__
    with pytest.raises(AttributeError, match="no attribute 'Spin'"):
        genai_spine.Spin  # noqa: B018  # the look is what is tested


def test_every_modules_names_are_sorted_and_there() -> None:
    """Each module lists its public names in the linter's order, once, and has them."""
    for name in modules():
        module = imported(name)
        names: list[str] = module.__all__
        assert len(names) == len(set(names)), name
        assert [] == [public for public in names if not hasattr(module, public)], name
        kinds = [(not public.isupper(), not public[0].isupper(), public) for public in names]
        assert sorted(kinds) == kinds, name


def test_public_classes_are_listed() -> None:
    """A class without a leading underscore is in its module's list; what a route reads is the route's own affair."""
    unlisted: dict[str, set[str]] = {}
    for name in modules():
        module = imported(name)
        if module.__file__ is None or name.startswith("genai_spine.server.routes"):
            continue
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}
        if lost := defined - set(module.__all__) - UNLISTED.get(name, set()):
            unlisted[name] = lost
    assert unlisted == {}


def test_importing_the_package_is_cheap() -> None:
    """A fresh interpreter that imports the package has loaded none of the heavy libraries."""
    code = "import sys, genai_spine; print('\\n'.join(sys.modules))"
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "genai_spine" in loaded
    assert [] == [name for name in HEAVY if name in loaded]
