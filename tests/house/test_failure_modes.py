"""T10: each row of the page on failures names tests, and they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "failure-modes.md"
_TEST: Final = re.compile(r"`(tests/[a-z_/]+\.py)::(\w+)`")
PARTS: Final = {"The database", "Redis", "The disk", "Telemetry", "Providers", "Clocks and processes"}


def rows() -> list[list[str]]:
    """The cells of each row, without those of heads."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [cells for cells in found if cells[0] not in {"what fails", "---"}]


def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_row_has_a_test_that_exists() -> None:
    """Each row ends with the names of tests, and each of them can be run."""
    assert len(rows()) > 20
    for cells in rows():
        named = _TEST.findall(cells[-1])
        assert named, cells[0]
        for file, test in named:
            assert (ROOT / file).exists(), file
            assert test in names_in(ROOT / file), f"{file}::{test}"


def test_every_part_has_its_table() -> None:
    """The page has a part for each thing that the gateway leans on, and six cells in each row."""
    titles = set(re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set() == PARTS - titles
    assert {6} == {len(cells) for cells in rows()}
