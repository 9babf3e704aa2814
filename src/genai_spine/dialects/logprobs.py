"""How probable the tokens of an answer were: records that came of another dialect, as OpenAI's dialects tell them."""

from __future__ import annotations

from genai_spine.types.json import Json, JsonObject

__all__ = ["openai_logprobs"]


def openai_logprobs(records: list[Json]) -> list[Json]:
    """Return records with all the fields that OpenAI's dialects have, and none that only others tell."""
    return [
        {**_token(record), "top_logprobs": [_token(other) for other in _objects(record.get("top_logprobs"))]}
        for record in _objects(records)
    ]


def _token(record: JsonObject) -> JsonObject:
    token, told = record.get("token"), record.get("bytes")
    text = token if isinstance(token, str) else ""
    raw = told if isinstance(told, list) else list[Json](text.encode(errors="replace"))
    return {"token": text, "logprob": record.get("logprob"), "bytes": raw}


def _objects(value: Json) -> list[JsonObject]:
    return [record for record in value if isinstance(record, dict)] if isinstance(value, list) else []
