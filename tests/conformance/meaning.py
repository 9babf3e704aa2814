"""Requests compared by what they mean: what two bodies may say differently, rule by rule, each with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

__all__ = ["RULES", "Rule", "meaning"]

_MADE_ID: Final = re.compile(r"call_\d+")
_NOTHING: Final[tuple[Any, ...]] = (None, {}, [])


class Rule(Struct, frozen=True):
    """A difference that is none.

    Attributes:
        why: The reason.
        dialects: Where it holds; empty for everywhere.
        plain: Returns the value of a field said plainly, given its name and value; None takes the field away.
    """

    why: str
    dialects: frozenset[str]
    plain: Callable[[str, Any], Any]


def _on(*names: str) -> frozenset[str]:
    return frozenset(names)


def _one_text(name: str, value: Any) -> Any:
    alone = name in {"content", "system"} and isinstance(value, list) and len(value) == 1
    if alone and isinstance(value[0], dict) and value[0].keys() == {"type", "text"} and value[0]["type"] == "text":
        return value[0]["text"]
    return value


def _without(name: str, at: str, field: str, default: Any) -> Callable[[str, Any], Any]:
    """Where the objects at ``at`` hold ``field`` with its default, it may be left out."""

    def plain(told: str, value: Any) -> Any:
        if told != at or not isinstance(value, dict):
            return value
        return {inner: said for inner, said in value.items() if (inner, said) != (field, default)}

    plain.__name__ = name
    return plain


def _items(told: str, value: Any) -> Any:
    if told != "input" or not isinstance(value, list):
        return value
    typed = [item if "type" in item else {"type": "message", **item} for item in value]
    return [item for item in typed if not (item["type"] == "message" and item.get("content", "") == "")]


def _mistral_calls(told: str, value: Any) -> Any:
    if told != "tool_calls" or not isinstance(value, list):
        return value
    return [{name: said for name, said in call.items() if name != "index"} for call in value]


def _mistral_thinking(told: str, value: Any) -> Any:
    if told != "thinking" or not isinstance(value, list):
        return value
    return "".join(piece["text"] for piece in value)


def _choice(told: str, value: Any) -> Any:
    if told != "tool_choice":
        return value
    if value == "any":
        return "required"
    return {"type": "function", **value} if isinstance(value, dict) and "function" in value else value


def _base64(told: str, value: Any) -> Any:
    if told == "data" and isinstance(value, str):
        return value.replace("-", "+").replace("_", "/").rstrip("=")
    return value


def _pieces(told: str, value: Any) -> Any:
    if told != "contents" or not isinstance(value, list):
        return value
    return [{**turn, "parts": _joined(turn["parts"])} if turn.get("role") == "model" else turn for turn in value]


def _joined(parts: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for part in parts:
        if joined and part.keys() == {"text"} and joined[-1].keys() == {"text"}:
            joined[-1] = {"text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


RULES: Final = (
    Rule("null, and an object or array that is empty, say nothing", _on(), lambda _, value: value),
    Rule("no stream is the default", _on(), lambda name, value: None if (name, value) == ("stream", False) else value),
    Rule("one text needs no list around it", _on("openai_chat", "anthropic_messages"), _one_text),
    Rule("Mistral's number of a call is its place", _on("openai_chat"), _mistral_calls),
    Rule("pieces of one thought are one text", _on("openai_chat"), _mistral_thinking),
    Rule("`any` is Mistral's older word; the type of a choice follows from its fields", _on("openai_chat"), _choice),
    Rule("an item without a type is a message, and one without words none", _on("openai_responses"), _items),
    Rule(
        "no instructions say nothing",
        _on("openai_responses"),
        lambda name, value: None if (name, value) == ("instructions", "") else value,
    ),
    Rule(
        "text is the default form of text",
        _on("openai_responses"),
        _without("plain text", "text", "format", {"type": "text"}),
    ),
    Rule(
        "a schema is said in a string, whatever blanks are in it",
        _on("bedrock_converse"),
        lambda name, value: json.loads(value) if name == "schema" and isinstance(value, str) else value,
    ),
    Rule("instructions are of no role", _on("gemini"), _without("no role", "systemInstruction", "role", "user")),
    Rule("pieces of a streamed answer, handed back one by one, are one text", _on("gemini"), _pieces),
    Rule("base64 has two alphabets, and its end may be left out", _on("gemini"), _base64),
    Rule(
        "one set of tools needs no list around it",
        _on("gemini"),
        lambda name, value: [value] if name == "tools" and isinstance(value, dict) else value,
    ),
    Rule(
        "a call without an id is given one, the same as its answer",
        _on("gemini"),
        lambda name, value: None if name == "id" and _MADE_ID.fullmatch(str(value)) else value,
    ),
)
"""All that may differ."""

# Names of the protocol's definition, which its JSON takes as well; those of schemas and arguments stay as they are.
_SNAKE: Final = re.compile(r"_([a-z])")
_FREE: Final = frozenset(
    {"args", "parameters", "parametersJsonSchema", "response", "responseSchema", "schema", "properties"}
)


def meaning(dialect: str, value: Any, name: str = "") -> Any:
    """Return a body, or what stands in its field ``name``, as it is said most plainly."""
    if isinstance(value, list):
        said: Any = [meaning(dialect, item) for item in value]
    elif isinstance(value, dict):
        said = {}
        for told, inner in value.items():
            field = told
            if dialect == "gemini" and name not in _FREE:
                field = _SNAKE.sub(lambda found: found[1].upper(), told)
            plain = inner if dialect == "gemini" and name in _FREE else meaning(dialect, inner, field)
            if plain not in _NOTHING:
                said[field] = plain
    else:
        said = value
    for rule in RULES:
        if not rule.dialects or dialect in rule.dialects:
            said = rule.plain(name, said)
    return said
