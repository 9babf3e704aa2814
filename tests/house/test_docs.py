"""The pages tell the truth: what they show is run, what they list is compared with the code, what they name exists."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

import genai_spine
from genai_spine.assembly import Spine
from genai_spine.dialects.envelope import EXTENSION_FIELDS
from genai_spine.providers.rows import builtin_rows
from genai_spine.providers.simulator import MODELS
from genai_spine.settings import FileSettings, ModelFile, ProviderFile, Settings, TimeoutSettings
from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.providers import check_provider
from genai_spine.testing.upstream import ScriptedUpstream
from tests.conformance.services import SERVICES
from tests.house.generated import PARTS, api, commands, parts_of, rendered
from tests.house.snippets import KEY, ROOT, Block, Reader, blocks, pages, steps

PAGES: Final = tuple(page.relative_to(ROOT).as_posix() for page in pages())
_RUNNABLE: Final = ("python", "console")

NOT_RUN: Final = {
    "make": "it would make an environment, serve for ever, or run these very tests",
    "pip install .": "it would change the environment that the tests run in",
}
"""Commands that no test runs, by how they begin, and why. ``make``'s targets are looked up in the Makefile."""

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_NAMED: Final = re.compile(r"`([^`\s]+)`")
_VARIABLE: Final = re.compile(r"\bGENAI_[A-Z0-9_]+")
_OF_TESTS: Final = ("GENAI_TEST_", "GENAI_REQUIRE_")
_HEADER: Final = re.compile(r"\bx-spine-[a-z]+(?:-[a-z]+)*")
_TARGET: Final = re.compile(r"^([a-z-]+):.*##", re.MULTILINE)


def text_of(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


def runnable(page: str) -> list[Block]:
    """Return the blocks of a page, without the commands that no test runs."""
    return [
        block
        for block in blocks(ROOT / page)
        if not _is_piece(block)
        and (block.language != "console" or not any(_not_run(step.command) for step in steps(block)))
    ]


def _is_piece(block: Block) -> bool:
    return block.language == "python" and block.name != ""


def _not_run(command: str) -> bool:
    return command.startswith(tuple(NOT_RUN))


def source() -> str:
    """Return the whole of the package's code."""
    return "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))


# What is shown is run.


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.language in _RUNNABLE for block in runnable(page))]
)
async def test_what_a_page_shows_is_what_happens(page: str, tmp_path: Path) -> None:
    """Every program and command of a page runs, in a fresh home with nothing configured, and prints what is shown."""
    if "curl " in text_of(page) and shutil.which("curl") is None:
        pytest.skip("this machine has no curl")
    async with running_gateway({}, key=KEY) as gateway:
        reader = Reader(tmp_path, gateway.url)
        reader.settle()
        faults = [fault for block in runnable(page) for fault in await reader.follow(block)]

    assert [] == faults


@pytest.mark.parametrize("example", sorted(file.name for file in (ROOT / "examples").glob("*.py")))
async def test_an_example_runs_offline(example: str, tmp_path: Path) -> None:
    """Every example runs to its end without a key, and prints something."""
    status, printed = await Reader(tmp_path, "").run([sys.executable, str(ROOT / "examples" / example)])

    assert 0 == status, printed
    assert printed.strip()


def test_every_command_is_run_or_has_a_reason_not_to_be() -> None:
    """Shell commands stand in ``console`` blocks, where they are found; those that are not run alone in theirs."""
    found = [block for page in PAGES for block in blocks(ROOT / page)]

    assert [] == [block.where for block in found if block.language in {"bash", "sh", "shell", "py", "pycon"}]
    assert [GUIDE] == [block.page for block in found if _is_piece(block)]
    mixed = [
        block.where
        for block in found
        if block.language == "console"
        and any(_not_run(step.command) for step in steps(block)) != all(_not_run(step.command) for step in steps(block))
    ]
    assert [] == mixed


def test_every_make_target_named_exists() -> None:
    """``make something`` on any page is a target of the Makefile."""
    targets = set(_TARGET.findall(text_of("Makefile")))
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", text_of(page))}

    assert {"serve", "test"} <= named
    assert set() == named - targets


def test_every_file_of_settings_shown_is_good() -> None:
    """Each ``toml`` block that is called ``spine.toml`` is accepted as one."""
    shown = [block for page in PAGES for block in blocks(ROOT / page) if block.name == "spine.toml"]

    assert shown
    for block in shown:
        FileSettings.model_validate(tomllib.loads(block.text))


# The guide for a new provider is followed to the letter.

GUIDE: Final = "docs/providers/adding-a-provider.md"


def shown_in_guide(name: str) -> str:
    """Return the text of the guide's block of a name."""
    return next(block.text for block in blocks(ROOT / GUIDE) if block.name == name)


async def test_a_row_and_a_line_give_a_provider_the_whole_suite(tmp_path: Path) -> None:
    """With the guide's row and line put into a copy of the project, the new provider takes the suite, and passes."""
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    rows = tmp_path / "src" / "genai_spine" / "providers" / "builtin.toml"
    rows.write_text(rows.read_text(encoding="utf-8") + "\n" + shown_in_guide("builtin.toml"), encoding="utf-8")
    members = tmp_path / "tests" / "conformance" / "members.py"
    before, opening, after = members.read_text(encoding="utf-8").partition("PROVIDERS: Final = (\n")
    members.write_text(before + opening + shown_in_guide("members.py") + after, encoding="utf-8")

    suite = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/conformance/test_providers.py"]
    reader = Reader(tmp_path, "", {"PYTHONPATH": str(tmp_path / "src")})
    status, printed = await reader.run([*suite, "-k", "keeps_the_contract and acme or test_every_row_has_its_line"])

    assert opening
    assert 0 == status, printed
    assert "2 passed" in printed


async def test_a_table_in_the_file_gives_a_provider_that_keeps_the_contract(tmp_path: Path) -> None:
    """The guide's ``spine.toml`` makes a provider of one's own, and it passes the shipped suite."""
    file = tmp_path / "spine.toml"
    file.write_text(shown_in_guide("spine.toml"), encoding="utf-8")

    async with ScriptedUpstream(SERVICES["openai_chat"]) as upstream:
        environ = {"ACME_API_URL": upstream.url, "ACME_API_KEY": "sk-acme-0123456789", "GENAI_PROBE_LOCAL": "false"}
        async with Spine(Settings(environ, file)) as spine:
            await check_provider(spine.registry.get("acme"))

    assert {"Bearer sk-acme-0123456789"} == {received.headers["authorization"] for received in upstream.received}


# What is listed is what there is.


@pytest.mark.parametrize("page", [page for page in PAGES if parts_of(text_of(page))])
def test_the_parts_written_from_the_code_are_up_to_date(page: str) -> None:
    """A page's generated parts are what the code says now; else run ``python -m tests.house.generated``."""
    assert rendered(text_of(page)) == text_of(page)


def test_every_generated_part_stands_on_one_page() -> None:
    """No part is forgotten, none told twice."""
    assert sorted(PARTS) == sorted(name for page in PAGES for name in parts_of(text_of(page)))


def test_every_variable_named_is_a_setting() -> None:
    """No page speaks of a ``GENAI_`` variable that nothing reads, but for two misspelt ones, shown as such."""
    named = {name for page in PAGES for name in _VARIABLE.findall(text_of(page)) if not name.startswith(_OF_TESTS)}
    listed = {name for row in _rows("docs/configuration.md") for name in _VARIABLE.findall(row)}
    endings = tuple(ending for row in _rows("docs/configuration.md") for ending in re.findall(r"GENAI_\{P\}(\w+)", row))

    assert endings
    assert {"GENAI_LOG_LEVL", "GENAI_ROUTNG"} == {name for name in named - listed if not name.endswith(endings)}


def test_every_setting_is_documented_and_nothing_else() -> None:
    """The rows of the page on configuration are the settings, all and no others."""
    names = {row.split("`")[1] for row in _rows("docs/configuration.md") if row.startswith("| `") and "{P}" not in row}
    tables = (FileSettings, ProviderFile, TimeoutSettings, ModelFile)
    fields = {name for table in tables for name in table.model_fields} - {"providers"}

    assert fields | {"GENAI_API_KEYS", "GENAI_CONFIG", "GENAI_ENCRYPTION_KEY"} == names - set(builtin_rows())


def _rows(page: str) -> list[str]:
    return [line for line in text_of(page).splitlines() if line.startswith("|")]


def test_every_route_is_documented() -> None:
    """The page on doors lists the routes of the OpenAPI description, all and no others."""
    listed = re.findall(r"^\| `([A-Z]+) (/[^`]*)` \|", text_of("docs/doors.md"), re.MULTILINE)

    assert sorted((method.upper(), path) for path, methods in api().items() for method in methods) == sorted(listed)


def test_every_header_and_field_of_the_gateway_is_documented() -> None:
    """The page on doors names each header of the gateway's own, no others, and each field that it keeps for itself."""
    page = text_of("docs/doors.md")

    assert set(_HEADER.findall(source())) == set(_HEADER.findall(page))
    assert [] == [name for name in EXTENSION_FIELDS if f"`{name}`" not in page]


def test_every_command_is_documented() -> None:
    """The page on the command line has a section for each command."""
    sections = re.findall(r"^### `(.*)`$", text_of("docs/cli.md"), re.MULTILINE)

    assert commands() == sections
    assert "spine serve" in sections


def test_every_model_of_the_simulator_is_documented() -> None:
    """The page on the simulator has a row for each of its models."""
    assert list(MODELS) == sorted(
        (name for name in re.findall(r"^\| `([\w-]+)` \|", text_of("docs/simulator.md"), re.MULTILINE)),
        key=MODELS.index,
    )


def test_every_public_name_is_documented() -> None:
    """The page on the library names all that ``genai_spine`` hands out."""
    page = text_of("docs/library.md")

    assert [] == [name for name in genai_spine.__all__ if f"`{name}`" not in page]


def test_the_number_of_providers_is_told_right() -> None:
    """The front page counts the rows."""
    assert f"[{len(builtin_rows())} providers]" in text_of("README.md")


def test_the_newest_change_is_of_this_version() -> None:
    """The changelog begins with this version, or with what is not released yet."""
    newest = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)

    assert newest is not None
    assert newest[1] in {"Unreleased", genai_spine.__version__}


# What is named exists.


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """A link inside the project leads to a file and, after ``#``, to a heading of it."""
    broken: list[str] = []
    for link in _LINK.findall(text_of(page)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert [] == broken


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_named_exists(page: str) -> None:
    """A path in code style, from the root or from the package, is there."""
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    named = {name for name in _NAMED.findall(prose) if re.fullmatch(r"[\w./-]+(?:\.\w+|/)", name) and _is_path(name)}

    assert named
    assert [] == sorted(name for name in named if not any((root / name).exists() for root in _ROOTS))


_ROOTS: Final = (ROOT, ROOT / "src" / "genai_spine", ROOT / "tests")


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".py", ".toml", ".md"))


def test_no_page_is_an_orphan() -> None:
    """Every page can be reached from the front page."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in _LINK.findall(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / link).resolve() for link in links if link and "://" not in link]

    assert [] == [page for page in PAGES if (ROOT / page).resolve() not in reached]
