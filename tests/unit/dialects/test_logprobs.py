"""Probabilities of tokens that come of another dialect."""

from __future__ import annotations

from genai_spine.dialects.logprobs import openai_logprobs
from genai_spine.types.json import Json


def test_records_are_whole_and_no_more() -> None:
    """All fields that OpenAI's clients demand are there, also of the alternatives, and none that only others tell."""
    records: list[Json] = [
        {"token": "hé", "logprob": -1.5},
        {"token": "x", "logprob": 0.0, "bytes": [120], "token_id": 7, "top_logprobs": [{"token": "y", "logprob": -2}]},
        "no record",
    ]
    expected: list[Json] = [
        {"token": "hé", "logprob": -1.5, "bytes": [104, 195, 169], "top_logprobs": []},
        {
            "token": "x",
            "logprob": 0.0,
            "bytes": [120],
            "top_logprobs": [{"token": "y", "logprob": -2, "bytes": [121]}],
        },
    ]
    assert expected == openai_logprobs(records)
