"""What Ollama's route about one model tells of what it can do."""

from __future__ import annotations

import msgspec
import pytest

from genai_spine.dialects.ollama.catalogue import encode_show
from genai_spine.types.models import Ability, Model


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        (None, ["completion", "tools"]),
        (frozenset(), ["completion"]),
        (
            frozenset({"vision", "thinking", "structured_output", "tools"}),
            ["completion", "tools", "vision", "thinking"],
        ),
        (frozenset({"embeddings"}), ["embedding"]),
    ],
)
def test_capabilities(abilities: frozenset[Ability] | None, expected: list[str]) -> None:
    """They are told in Ollama's words; of a model that is not known tools may be tried."""
    assert expected == msgspec.json.decode(encode_show(Model(id="m", abilities=abilities)))["capabilities"]
