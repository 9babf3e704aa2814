"""Imports look down only, and packages hold no surprises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "genai_spine"


def test_imports_look_down_only() -> None:
    """The contract of pyproject.toml holds for every module, and no module is outside it."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(  # noqa: S603  # a tool of the development environment
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_package_inits_are_empty() -> None:
    """Only the top one holds something: importing a module runs no code of its neighbours."""
    full = [path for path in PACKAGE.rglob("__init__.py") if path.read_text(encoding="utf-8").strip()]
    assert [PACKAGE / "__init__.py"] == full


def test_every_folder_is_a_package() -> None:
    """A folder with modules and no ``__init__`` would be left out of the contract."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [] == [folder for folder in folders if not (folder / "__init__.py").exists()]
