"""Bedrock Converse: what families of models take beyond the fields that all share, by the beginning of their ids.

Sources: "Supported models and model features" and the pages on inference parameters in Amazon Bedrock's user guide.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct, field

__all__ = ["Family", "family_of", "name_of"]


class Family(Struct, frozen=True, kw_only=True):
    """What the models of one maker take.

    Attributes:
        top_k: Where in ``additionalModelRequestFields`` the number of likeliest tokens stands.
        caches: They take cache points; the others refuse a request that has one.
        one_call: They can be told to call one tool at a time.
        effort: The field of ``additionalModelRequestFields`` that says how hard to think, where they have one.
        efforts: What may stand there, by the vocabulary's words.
    """

    top_k: tuple[str, ...] = ("top_k",)
    caches: bool = False
    one_call: bool = False
    effort: str | None = None
    efforts: dict[str, str] = field(default_factory=dict)


_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

_FAMILIES: Final = {
    "amazon.nova": Family(top_k=("inferenceConfig", "topK"), caches=True),
    "anthropic.": Family(caches=True, one_call=True),
    "openai.gpt-oss": Family(effort="reasoning_effort", efforts=_LEVELS),
    "qwen.": Family(effort="reasoning_config", efforts=_LEVELS),
}
_OTHERS: Final = Family()
# `arn:aws:bedrock:...:inference-profile/` and `us.`: where a model is served from.
_PLACE: Final = re.compile(r"^(?:.*/)?(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|in|global)\.)?")


def name_of(model: str) -> str:
    """Return a model's own name, in lower case, without the place where it is served from."""
    return _PLACE.sub("", model.lower())


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """Return the family of a model; of an id that tells none (a profile of one's own), what every model takes."""
    name = name_of(model)
    return next((family for start, family in _FAMILIES.items() if name.startswith(start)), _OTHERS)
