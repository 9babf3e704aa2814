"""The parts of the pages that are written from the code: ``python -m tests.house.generated`` writes them anew.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from starlette.testclient import TestClient
from typer import Typer
from typer.models import CommandInfo
from typer.testing import CliRunner

from genai_spine import errors
from genai_spine.assembly import Spine
from genai_spine.catalog.models import ModelCatalog
from genai_spine.cli.main import app as command
from genai_spine.configuration.changes import HOT
from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect, Quirks
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.identity.api_keys import KeyRing
from genai_spine.providers.rows import Row, builtin_rows
from genai_spine.server.app import create_app
from genai_spine.settings import (
    _VARIABLES,
    FileSettings,
    ModelFile,
    ProviderFile,
    Settings,
    TimeoutSettings,
    _key_variables,
    _timeout_variables,
    _url_variables,
)
from tests.flow.cells import FEATURES, NOT_POSSIBLE, Impossible
from tests.flow.clients import CLIENTS
from tests.house.snippets import pages

# Private names are read here on purpose: the pages must tell what the code does, not what another list says of it.

__all__ = ["PARTS", "api", "commands", "parts_of", "rendered"]

_PART: Final = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DOORS: Final = (OpenAIChat(), AnthropicMessages(), Ollama())
# Told at start and never over HTTP; and two branches of the tree, of which only the leaves are raised.
_NEVER_TOLD: Final = (errors.ConfigurationError, errors.RequestError, errors.ProviderError)
_STYLES: Final = re.compile(r"\x1b\[[0-9;]*m")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# Settings.


def _default(info: FieldInfo) -> str:
    default = info.default
    if default is PydanticUndefined or default is None or default in ((), {}) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, tuple):
        return _code(default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _settings() -> str:
    rows = [
        (
            f"`{name}`",
            _code(_VARIABLES.get(name, ())),
            _default(info),
            "yes" if name in HOT else "",
            info.description or "",
        )
        for name, info in FileSettings.model_fields.items()
        if name not in {"providers", "models"}
    ]
    return _table(("in `spine.toml`", "variables, the first found wins", "default", "live", "what"), rows)


def _fields(model: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", _default(info), info.description or "a table, see below")
        for name, info in model.model_fields.items()
    ]
    return _table(("field", "default", "what"), rows)


def _provider_variables() -> str:
    seconds = {name: info.description or "" for name, info in TimeoutSettings.model_fields.items()}
    return _table(
        ("variables, the first found wins", "what"),
        (
            (_code(_key_variables("{P}")), "one key, or several with commas between them"),
            (_code(_url_variables("{P}")), "base address"),
            (_code(("GENAI_{P}_DEFAULT_MODEL", "DEFAULT_{P}_MODEL")), "the model where the caller names none"),
            (_code(("GENAI_{P}_MODELS", "{P}_MODELS")), "the models it serves, with commas between them"),
            *(
                (f"`{name}`", f"seconds to wait {seconds[timeout]}")
                for timeout, name in _timeout_variables("{P}").items()
            ),
        ),
    )


def _further_variables() -> str:
    rows = builtin_rows()
    return _table(
        ("provider", "keys", "address"),
        (
            (f"`{name}`", _code(row.key_variables), _code(row.url_variables))
            for name, row in rows.items()
            if row.key_variables or row.url_variables
        ),
    )


# Providers.


def _providers() -> str:
    rows = [(f"`{name}`", *_provider(name, row)) for name, row in builtin_rows().items()]
    simulator = ("`simulator`", "in process", "none", "`echo`", "nothing")
    return _table(("name", "dialect", "address", "default model", "it needs"), [*rows, simulator])


def _provider(name: str, row: Row) -> tuple[str, str, str, str]:
    default = ModelCatalog.builtin().successor(name, row.default_model)
    needs = [] if row.local else [row.key_variables[0] if row.key_variables else f"{name.upper()}_API_KEY"]
    if not row.url:
        needs.append(row.url_variables[0])
    model = f"`{default}`" if default else "the first that it lists"
    if default != row.default_model:
        model += f" (for the retired `{row.default_model}`)"
    address = f"`{row.url}`" if row.url else "your own"
    return row.dialect, address, model, _code(needs) if needs else "to run there"


def _documented(record: type) -> str:
    """The fields of a record, as its docstring tells them."""
    text = (record.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^        (\w+): (.*?)(?=^        \w+: |\Z)", text + "\n", re.DOTALL | re.MULTILINE)
    rows = [(f"`{name}`", " ".join(what.replace("``", "`").split())) for name, what in entries]
    return _table(("field", "what"), rows)


# The server.


def api() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the paths of the gateway's OpenAPI description."""
    client = TestClient(create_app(Spine(Settings({})), KeyRing(())))
    paths: Mapping[str, Mapping[str, Mapping[str, Any]]] = client.get("/openapi.json").json()["paths"]
    return paths


def _routes() -> str:
    described = sorted(api().items(), key=lambda item: (next(iter(item[1].values()))["tags"], item[0]))
    rows = [
        (f"`{method.upper()} {path}`", operation["summary"], _scopes(operation))
        for path, operations in described
        for method, operation in operations.items()
    ]
    return _table(("route", "what", "scope"), rows)


def _scopes(operation: Mapping[str, Any]) -> str:
    return " or ".join(f"`{wanted['key'][0]}`" for wanted in operation["security"]) or "none, nor a key"


def _errors() -> str:
    kinds: list[type[errors.SpineError]] = [getattr(errors, name) for name in errors.__all__]
    told = [kind for kind in kinds if kind not in _NEVER_TOLD]
    rows = [
        (f"`{kind.default_code}`", _first_line(kind), *(_told(door, kind) for door in _DOORS))
        for kind in sorted(told, key=lambda kind: (kind.status, kind.default_code))
    ]
    return _table(("`code`", "when", "OpenAI", "Anthropic", "Ollama"), rows)


def _first_line(kind: type[errors.SpineError]) -> str:
    if kind is errors.SpineError:
        return "The gateway itself failed; its log tells more under the request id."
    return (kind.__doc__ or "").partition("\n\n")[0].replace("``", "`")


def _told(door: Dialect, kind: type[errors.SpineError]) -> str:
    answer = door.encode_error(kind("what happened"), "req_1")
    inner = json.loads(answer.body)["error"]
    return f"{answer.status} `{inner['type']}`" if isinstance(inner, dict) else str(answer.status)


# Who reaches whom with what.

_CLIENTS: Final = {
    "openai": "OpenAI Chat Completions",
    "responses": "OpenAI Responses",
    "completions": "OpenAI Completions, the older form",
    "anthropic": "Anthropic Messages",
    "gemini": "Gemini",
    "ollama": "Ollama",
}
_SPOKEN_TO: Final = {
    "openai": "Chat Completions",
    "responses": "Responses",
    "anthropic": "Messages",
    "google": "Gemini",
    "bedrock": "Converse",
    "ollama": "Ollama",
}
_ENDS: Final = {
    "unsaid": "*Cannot be said.*",
    "untold": "*Is not told.*",
    "refused": "*Refused*, naming `{}`.",
    "warned": "*Done without*, with a warning that names `{}`.",
}


def _compatibility() -> str:
    return "\n".join(f"## {_CLIENTS[client]}\n\n{_reached_by(client)}" for client in CLIENTS)


def _reached_by(client: str) -> str:
    """One client dialect's table, and the notes below it."""
    notes: dict[str, int] = {}
    rows = []
    for feature, what in FEATURES.items():
        row = [what]
        for provider in _SPOKEN_TO:
            gap = NOT_POSSIBLE.get((client, provider, feature))
            row.append("tested" if gap is None else f"no ({notes.setdefault(_note(gap), len(notes) + 1)})")
        rows.append(row)
    told = "".join(f"{number}. {note}\n" for note, number in notes.items())
    return f"{_table(('what', *_SPOKEN_TO.values()), rows)}\nNot possible, and why:\n\n{told}"


def _note(gap: Impossible) -> str:
    why = gap.why[0].upper() + gap.why[1:]
    return f"{why}. {_ENDS[gap.end].format(gap.field)}"


# The command line.


def commands(app: Typer = command, name: str = "spine") -> list[str]:
    """Return a command and its subcommands, each as it is typed."""
    found = [name, *(f"{name} {_name(info)}" for info in app.registered_commands)]
    for group in app.registered_groups:
        if group.typer_instance is not None:
            found += commands(group.typer_instance, f"{name} {group.name}")
    return found


def _name(info: CommandInfo) -> str:
    """A command's name; without one of its own it has that of its function."""
    assert info.callback is not None
    return info.name or info.callback.__name__.replace("_", "-")


def _help() -> str:
    runner = CliRunner()
    parts: list[str] = []
    for name in commands():
        shown = runner.invoke(
            command,
            [*name.split()[1:], "--help"],
            prog_name="spine",
            env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        )
        text = "\n".join(line.rstrip() for line in _STYLES.sub("", shown.output).splitlines()).strip("\n")
        parts.append(f"### `{name}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": _settings,
    "timeouts": lambda: _fields(TimeoutSettings),
    "provider-fields": lambda: _fields(ProviderFile),
    "model-fields": lambda: _fields(ModelFile),
    "provider-variables": _provider_variables,
    "further-variables": _further_variables,
    "providers": _providers,
    "row": lambda: _documented(Row),
    "quirks": lambda: _documented(Quirks),
    "routes": _routes,
    "errors": _errors,
    "compatibility": _compatibility,
    "help": _help,
}
"""The parts by name; each returns its text."""


def parts_of(text: str) -> list[str]:
    """Return the names of the parts of a page."""
    return [found[2] for found in _PART.finditer(text)]


def rendered(text: str) -> str:
    """Return a page with its parts written anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


def _write() -> None:
    for page in pages():
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write()
