"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("src", "tests", "bench", "tools", "examples")
FILES: Final = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts
)
SOURCES: Final = [path for path in FILES if path.is_relative_to(ROOT / "src")]
TESTS: Final = [path for path in FILES if path.name.startswith("test_")]
TREES: Final = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MOST_LINES: Final = 600
MOST_LINES_OF_A_FUNCTION: Final = 60
# In two parts, so that this file does not find itself.
_MARKS: Final = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
_UNREASONED: Final = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type: ignore(?:\[[^\]]*\])?)\s*$")


def named(path: Path) -> str:
    """A file's name, for messages."""
    return path.relative_to(ROOT).as_posix()


def lines() -> Iterator[tuple[str, str]]:
    """Every line there is, with its place."""
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{named(path)}:{number}", line


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a file, those inside others too."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_nothing_is_left_for_later() -> None:
    """No file holds a mark of unfinished work."""
    assert [] == [place for place, line in lines() if _MARKS.search(line)]


def test_what_is_silenced_carries_a_reason() -> None:
    """A linter or type checker is silenced for named rules, with a reason on the line."""
    assert [] == [place for place, line in lines() if _UNREASONED.search(line)]


def test_broad_excepts_carry_a_reason() -> None:
    """Who catches everything says why, on the line or the next, or raises it again."""
    unreasoned: list[str] = []
    for path, tree in TREES.items():
        text = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(node):
                continue
            last = node.body[-1]
            raised = isinstance(last, ast.Raise) and last.exc is None
            if not raised and "#" not in text[node.lineno - 1] and not text[node.lineno].lstrip().startswith("#"):
                unreasoned.append(f"{named(path)}:{node.lineno}")
    assert [] == unreasoned


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def test_every_file_says_what_it_is_for() -> None:
    """A docstring begins each file that holds something, and annotations are never evaluated early."""
    for path, tree in TREES.items():
        if not tree.body:
            continue
        assert ast.get_docstring(tree), named(path)
        future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        assert len(tree.body) == 1 or len(future) == 1, named(path)


def test_every_test_says_what_is_true() -> None:
    """Each test has a docstring that states what it expects."""
    silent = [
        f"{named(path)}:{function.name}"
        for path in TESTS
        for function in functions(TREES[path])
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert [] == silent


def test_no_test_waits_or_pretends() -> None:
    """No test sleeps for real or puts a mock in place of a part."""
    found: list[str] = []
    for path in TESTS:
        for node in ast.walk(TREES[path]):
            names: list[str] = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            sleeps = isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
            if sleeps or any(name.startswith("unittest") for name in names):
                found.append(f"{named(path)}: {ast.unparse(node)}")
    assert [] == found


def test_files_and_functions_fit_into_a_head() -> None:
    """A file stays under 600 lines, a function of the package under 60; a revision's list of tables may be longer."""
    long = [named(path) for path in FILES if path.read_text(encoding="utf-8").count("\n") > MOST_LINES]
    long += [
        f"{named(path)}:{function.name}"
        for path in SOURCES
        for function in functions(TREES[path])
        if "migrations" not in path.parts
        and function.end_lineno is not None
        and function.end_lineno - function.lineno >= MOST_LINES_OF_A_FUNCTION
    ]
    assert [] == long
