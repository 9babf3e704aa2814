"""One rule for every value: the database before the environment, that before the file, that before what is built in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from genai_spine.assembly import Spine
from genai_spine.configuration.changes import HOT
from genai_spine.configuration.merging import effective
from genai_spine.errors import ConfigurationError
from genai_spine.redact import Secret
from genai_spine.settings import BUILT_IN, DATABASE, FileSettings, Layer, Settings

FILE: Final = """\
routing_strategy = "speed"
retry_attempts = 2
aliases = { fast = "openai/gpt-4o-mini" }

[providers.openai]
url = "http://file/v1"
default_model = "of-file"
models = ["of-file"]
api_key = "sk-file-canary-1"
headers = { x-file = "canary" }
weight = 2
timeouts = { total = 1, connect = 1, first_byte = 1 }

[models."openai/gpt-4o"]
input = 1
output = 2
quality_rank = 3
"""
ENVIRON: Final = {
    "GENAI_ROUTING_STRATEGY": "quality",
    "OPENAI_API_URL": "http://environment/v1",
    "GENAI_OPENAI_DEFAULT_MODEL": "of-environment",
    "OPENAI_MODELS": "of-environment",
    "OPENAI_API_KEY": "sk-environment-canary-1",
    "GENAI_OPENAI_TIMEOUT": "2",
    "GENAI_OPENAI_TIMEOUT_CONNECT": "2",
}
DATABASE_SAYS: Final = Layer(
    values={"routing_strategy": "weighted", "fallback_chain": ["openai"], "aliases": {"slow": "openai/o3"}},
    providers={
        "openai": {
            "is_enabled": False,
            "url": "http://database/v1",
            "default_model": "of-database",
            "models": ["of-database"],
            "api_keys": ["sk-database-canary-1"],
            "headers": {"x-database": "canary"},
            "timeouts": {"total": 3},
        }
    },
    models={"openai/gpt-4o": {"quality_rank": 4, "display_name": "Four"}},
)
# What each layer makes of a value when all below it are there: the value, and who says it.
EXPECTED: Final[Mapping[str, tuple[tuple[Any, str], ...]]] = {
    "routing_strategy": (
        ("local_first", BUILT_IN),
        ("speed", "spine.toml"),
        ("quality", "GENAI_ROUTING_STRATEGY"),
        ("weighted", DATABASE),
    ),
    "retry_attempts": ((3, BUILT_IN), *[(2, "spine.toml")] * 3),
    "fallback_chain": (*[([], BUILT_IN)] * 3, (["openai"], DATABASE)),
    "aliases": (
        ({}, BUILT_IN),
        *[({"fast": [{"model": "openai/gpt-4o-mini"}]}, "spine.toml")] * 2,
        ({"slow": [{"model": "openai/o3"}]}, DATABASE),
    ),
    "providers.openai.is_enabled": (*[(None, "")] * 3, (False, DATABASE)),
    "providers.openai.url": (
        (None, ""),
        ("http://file/v1", "spine.toml"),
        ("http://environment/v1", "OPENAI_API_URL"),
        ("http://database/v1", DATABASE),
    ),
    "providers.openai.default_model": (
        (None, ""),
        ("of-file", "spine.toml"),
        ("of-environment", "GENAI_OPENAI_DEFAULT_MODEL"),
        ("of-database", DATABASE),
    ),
    "providers.openai.models": (
        (None, ""),
        (["of-file"], "spine.toml"),
        (["of-environment"], "OPENAI_MODELS"),
        (["of-database"], DATABASE),
    ),
    "providers.openai.api_keys": (
        (None, ""),
        ([Secret("sk-file-canary-1").fingerprint], "spine.toml"),
        ([Secret("sk-environment-canary-1").fingerprint], "OPENAI_API_KEY"),
        ([Secret("sk-database-canary-1").fingerprint], DATABASE),
    ),
    "providers.openai.headers": (
        (None, ""),
        *[({"x-file": "[redacted]"}, "spine.toml")] * 2,
        ({"x-database": "[redacted]"}, DATABASE),
    ),
    "providers.openai.weight": ((None, ""), *[(2.0, "spine.toml")] * 3),
    "providers.openai.timeouts.total": (
        (None, ""),
        (1.0, "spine.toml"),
        (2.0, "GENAI_OPENAI_TIMEOUT"),
        (3.0, DATABASE),
    ),
    "providers.openai.timeouts.connect": (
        (None, ""),
        (1.0, "spine.toml"),
        *[(2.0, "GENAI_OPENAI_TIMEOUT_CONNECT")] * 2,
    ),
    "providers.openai.timeouts.first_byte": ((None, ""), *[(1.0, "spine.toml")] * 3),
    'models."openai/gpt-4o".quality_rank': ((None, ""), *[(3, "spine.toml")] * 2, (4, DATABASE)),
    'models."openai/gpt-4o".display_name': (*[(None, "")] * 3, ("Four", DATABASE)),
}


def spine_of(layers: int, folder: Path) -> Spine:
    """An engine with the first so many layers."""
    path = folder / "spine.toml"
    path.write_text(FILE if layers > 0 else "", encoding="utf-8")
    settings = Settings({"GENAI_DATA_DIR": str(folder), **(ENVIRON if layers > 1 else {})}, path)
    return Spine(settings.over(DATABASE_SAYS) if layers > 2 else settings)


@pytest.mark.parametrize("layers", range(4))
def test_the_highest_layer_that_says_it_wins(layers: int, tmp_path: Path) -> None:
    """Built in, file, environment, database: each over those before it, and told as the origin."""
    spine = spine_of(layers, tmp_path)
    told = {one.name: (one.value, one.origin.removeprefix(f"{tmp_path}/")) for one in effective(spine.settings)}
    assert {name: steps[layers] for name, steps in EXPECTED.items()} == {
        name: told.get(name, (None, "")) for name in EXPECTED
    }
    assert "canary" not in str(told)


def test_what_is_told_is_what_is_used(tmp_path: Path) -> None:
    """The provider asks with the keys of the database, at its address, as long as it says."""
    openai = spine_of(3, tmp_path).registry.get("openai")
    assert (["sk-database-canary-1"], "http://database/v1") == ([key.reveal() for key in openai.keys], openai.address)
    assert ("of-database", ("of-database",)) == (openai.default_model, openai.models)


def test_what_may_change_is_a_setting() -> None:
    """Each of the names is one of the file's."""
    assert set() == HOT - set(FileSettings.model_fields)


def test_a_layer_is_no_more_than_the_last(tmp_path: Path) -> None:
    """What a newer layer does not say any more is the environment's again."""
    settings = spine_of(3, tmp_path).settings
    assert "quality" == settings.over(Layer()).values.routing_strategy
    assert "weighted" == settings.values.routing_strategy


def test_a_wrong_layer_is_refused(tmp_path: Path) -> None:
    """As a wrong file is."""
    with pytest.raises(ConfigurationError, match="retry_attempts"):
        spine_of(2, tmp_path).settings.over(Layer(values={"retry_attempts": 0}))
