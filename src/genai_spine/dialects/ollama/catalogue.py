"""Ollama's routes about models and about itself: lists, details, version.

Source: https://docs.ollama.com/api/tags and https://docs.ollama.com/api-reference/show-model-details
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from genai_spine.dialects.fields import dump, response_object
from genai_spine.dialects.ollama.response import decode_time, encode_time
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import Model

__all__ = ["decode_models", "encode_show", "encode_tags", "encode_version"]


def decode_models(body: bytes) -> list[Model]:
    """Read the answer of ``GET /api/tags``; see ``Dialect.decode_models``."""
    return [
        Model(id=model.text("model") or model.need_text("name"), created=decode_time(model.text("modified_at")))
        for model in response_object(body).children("models")
    ]


def encode_tags(models: Sequence[Model]) -> bytes:
    """Write the answer of ``GET /api/tags``."""
    return dump({"models": [_entry(model) for model in models]})


def encode_show(model: Model) -> bytes:
    """Write the answer of ``POST /api/show``."""
    family = _family(model)
    info: JsonObject = {"general.architecture": family, "general.basename": model.display_name or model.id}
    if model.max_input_tokens is not None:
        info[f"{family}.context_length"] = model.max_input_tokens
    return dump(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(model),
            "model_info": info,
            "capabilities": _capabilities(model),
            "modified_at": encode_time(model.created),
        }
    )


def encode_version(version: str) -> bytes:
    """Write the answer of ``GET /api/version``."""
    return dump({"version": version})


def _entry(model: Model) -> JsonObject:
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": encode_time(model.created),
        "size": 0,
        # Nobody has the weights to hash, but clients cut a short form out of it and tell models apart by it.
        "digest": hashlib.sha256(f"{model.provider}/{model.id}".encode()).hexdigest(),
        "details": _details(model),
    }


def _capabilities(model: Model) -> list[Json]:
    """What the model can do, in Ollama's words; of one that is not known clients may try tools."""
    can = model.abilities
    if can is None:
        return ["completion", "tools"]
    if "embeddings" in can:
        return ["embedding"]
    return ["completion", *(name for name in ("tools", "vision", "thinking") if name in can)]


def _family(model: Model) -> str:
    return model.provider or model.owned_by or "unknown"


def _details(model: Model) -> JsonObject:
    family = _family(model)
    return {
        "parent_model": "",
        "format": "",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }
