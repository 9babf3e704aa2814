"""What is known of models before anyone is asked: facts by id, and the provider that an id belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from genai_spine.types.models import ModelFacts

__all__ = ["ModelCatalog"]

T = TypeVar("T")

# `openai/`, `us.anthropic.`, `accounts/fireworks/models/`: whose model it is, or where it stands.
_VENDOR: Final = re.compile(r"^(?:.*/)?(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|in|global)\.)?(?:[a-z0-9]+\.(?=claude))?")
_UNKNOWN: Final = ModelFacts()


class _Data(Struct, frozen=True):
    prefixes: dict[str, str]
    facts: dict[str, ModelFacts]


class ModelCatalog:
    """Facts and homes of models."""

    def __init__(self, prefixes: Mapping[str, str], facts: Mapping[str, ModelFacts]) -> None:
        self._prefixes = prefixes
        self._facts = facts

    @classmethod
    @cache
    def builtin(cls) -> ModelCatalog:
        """Return the catalogue shipped with the package."""
        text = files("genai_spine.catalog").joinpath("models.toml").read_bytes()
        data = msgspec.toml.decode(text, type=_Data)
        return cls(data.prefixes, data.facts)

    def facts(self, model: str) -> ModelFacts:
        """Return what is known of a model; the defaults of ``ModelFacts`` where nothing is."""
        return _longest(self._facts, _VENDOR.sub("", model.lower())) or _UNKNOWN

    def home(self, model: str) -> str | None:
        """Return the provider that an id belongs to by how it begins; None where no rule fits."""
        return _longest(self._prefixes, model.lower())


def _longest(rules: Mapping[str, T], text: str) -> T | None:
    found = [prefix for prefix in rules if text.startswith(prefix)]
    return rules[max(found, key=len)] if found else None
