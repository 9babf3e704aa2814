"""What is installed: few requirements, all locked, one version, and a wheel with all its data."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

import genai_spine

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS: Final = ("requirements.lock", "requirements-dev.lock")


LOADED_BY_OTHERS: Final = {"uvloop", "httptools", "aiosqlite", "asyncpg", "hiredis"}
"""What the server, the database's layer and the client of Redis find by name."""


def name_of(requirement: str) -> str:
    """A requirement's name, in the form in which locks write it."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def locked(lock: str) -> set[str]:
    """The names that a lock pins."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return {name_of(line) for line in lines if re.match(r"[A-Za-z0-9]", line)}


def test_few_requirements() -> None:
    """The base install has at most twenty packages of our own choosing, each without an upper bound."""
    wanted = PROJECT["project"]["dependencies"]
    assert len(wanted) <= 20
    assert len({name_of(requirement) for requirement in wanted}) == len(wanted)
    assert [] == [requirement for requirement in wanted if "<" in requirement or "==" in requirement]


def check_pins(lock: str) -> None:
    """All that a lock holds is pinned, exactly and with hashes, and no address is in it."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^[A-Za-z0-9][^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert len(locked(lock)) == len(pins)
    assert all("==" in pin.splitlines()[0] for pin in pins)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_everything(lock: str) -> None:
    """Each requirement and the build backend are pinned, exactly and with hashes, and no address is in it."""
    check_pins(lock)
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    if "dev" in lock:
        wanted += PROJECT["dependency-groups"]["dev"]
    assert {name_of(requirement) for requirement in wanted} <= locked(lock)


def test_the_locks_of_the_clients() -> None:
    """The clients run through the gateway are pinned exactly and with hashes, and no address to fetch them is told."""
    check_pins("tests/clients/requirements.lock")
    folder = ROOT / "tests" / "clients"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert wanted == packages.pop("")["dependencies"]
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


# The modules that are imported only where their extra is installed, with what it brings.
OF_EXTRAS = {"catalog/compiling.py": "genai_prices"}


def test_every_import_is_required() -> None:
    """What the package imports is the standard library's, its own, or a requirement; an extra's in its own module."""
    names = {"prometheus_client": "prometheus-client", "typing_extensions": "typing-extensions", "starlette": "fastapi"}
    allowed = {name_of(requirement) for requirement in PROJECT["project"]["dependencies"]}
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        extra = OF_EXTRAS.get(path.relative_to(ROOT / "src" / "genai_spine").as_posix())
        found |= set(re.findall(r"^(?:from|import) ([a-z_0-9]+)", text, re.MULTILINE)) - {extra}
    foreign = found - set(sys.stdlib_module_names) - {"genai_spine"}
    assert set() == {name for name in foreign if names.get(name, name) not in allowed}
    unused = allowed - {names.get(name, name) for name in foreign} - LOADED_BY_OTHERS
    assert unused == set()


def test_one_version() -> None:
    """It stands in the package and nowhere else, and the metadata that is installed tells the same."""
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", genai_spine.__version__)
    pattern = re.compile(rf"(?<![\d.]){re.escape(genai_spine.__version__)}(?![\d.])")
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml"]
    holders = [
        path.relative_to(ROOT).as_posix() for path in sources if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert holders == ["src/genai_spine/__init__.py"]


def test_the_wheel(tmp_path: Path) -> None:
    """Built offline, it holds every module and data file, the type marker, the command, and nothing of the tests."""
    subprocess.run(  # noqa: S603  # the build backend
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"genai_spine-{genai_spine.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        entry_points = archive.read(f"genai_spine-{genai_spine.__version__}.dist-info/entry_points.txt").decode()
    package = ROOT / "src"
    files = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for needed in ("providers/builtin.toml", "catalog/models.toml", "py.typed"):
        assert f"genai_spine/{needed}" in files
    assert any("prices" in name and not name.endswith(".py") for name in files)
    assert set() == files - held
    assert {"genai_spine"} == {name.split("/")[0] for name in held if ".dist-info/" not in name}
    assert "spine = genai_spine.cli.main:app" in entry_points
    assert "builtin = genai_spine.providers.builtin:providers" in entry_points
