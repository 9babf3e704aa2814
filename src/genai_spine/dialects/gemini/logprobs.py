"""Gemini: how probable the tokens of an answer were, read and written.

The vocabulary has a record a token as OpenAI writes it; the token's number, which only Gemini tells, is kept in it.

Source: https://ai.google.dev/api/generate-content#LogprobsResult
"""

from __future__ import annotations

from genai_spine.dialects.fields import Fields
from genai_spine.types.json import Json, JsonObject

__all__ = ["decode_logprobs", "encode_logprobs"]

_NUMBER = "token_id"


def decode_logprobs(fields: Fields) -> list[Json]:
    """Take ``logprobsResult`` of a candidate; what is not of single tokens stays with the extras."""
    result = fields.child("logprobsResult")
    if result is None:
        return []
    chosen = [_record(token) for token in result.children("chosenCandidates")]
    tops: list[list[Json]] = [
        [_record(token) for token in top.children("candidates")] for top in result.children("topCandidates")
    ]
    if left := result.told():
        fields.rest()["logprobsResult"] = left
    return [
        {**record, "top_logprobs": tops[number] if number < len(tops) else []} for number, record in enumerate(chosen)
    ]


def _record(fields: Fields) -> JsonObject:
    # A probability of 1 is left out, its logarithm being 0.
    token, logprob, number = fields.text("token") or "", fields.number("logProbability"), fields.integer("tokenId")
    told: JsonObject = {"token": token, "logprob": logprob or 0.0, "bytes": list(token.encode(errors="replace"))}
    return told if number is None else {**told, _NUMBER: number}


def encode_logprobs(records: list[Json]) -> JsonObject:
    """Write ``logprobsResult``."""
    known = [record for record in records if isinstance(record, dict)]
    written: JsonObject = {"chosenCandidates": [_candidate(record) for record in known]}
    tops = [_list(record.get("top_logprobs")) for record in known]
    if any(tops):
        written["topCandidates"] = [
            {"candidates": [_candidate(record) for record in top if isinstance(record, dict)]} for top in tops
        ]
    return written


def _candidate(record: JsonObject) -> JsonObject:
    told: JsonObject = {"token": record.get("token"), "logProbability": record.get("logprob")}
    return told if _NUMBER not in record else {**told, "tokenId": record[_NUMBER]}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
