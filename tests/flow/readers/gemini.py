"""Requests to Google's Gemini, read by its rules; model and stream stand in the path."""

from __future__ import annotations

import re
from typing import Any, Final

from genai_spine.types.json import JsonObject
from tests.flow.readers.rules import check_png, words_of
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["read"]

_FIELDS: Final = ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"]
_CONFIG: Final = {
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "seed",
    "responseLogprobs",
    "logprobs",
    "thinkingConfig",
}
_PAYLOADS: Final = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
_BESIDE: Final = {"thought", "thoughtSignature"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_SCHEMA: Final = {
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "properties",
    "required",
    "propertyOrdering",
    "items",
    "anyOf",
    "additionalProperties",
}
_MODES: Final = {"AUTO": "auto", "ANY": "required", "NONE": "none"}


_FREE: Final = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "properties"}
"""What holds names of the caller's own."""


def _camel(value: Any) -> Any:  # Any: JSON
    """The same with names as the service writes them; it takes those with underscores too."""
    if isinstance(value, list):
        return [_camel(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    told = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): inner for name, inner in value.items()}
    return {name: inner if name in _FREE else _camel(inner) for name, inner in told.items()}


def _check_part(part: dict[str, Any]) -> str:
    """A part has one payload, and nothing unknown beside it; the payload's name is returned."""
    known(part, _PAYLOADS | _BESIDE, "a part")
    payloads = _PAYLOADS & part.keys()
    assert 1 == len(payloads), f"a part has exactly one payload, not {sorted(payloads)}"
    return payloads.pop()


def _media(part: dict[str, Any]) -> tuple[str, str]:
    """What a medium is, and its bytes."""
    inner = part["inlineData"]
    known(inner, ["mimeType", "data"], "inlineData")
    kind: str = inner["mimeType"]
    # The service takes base64 of both alphabets, and its package writes the other one.
    data: str = inner["data"].replace("-", "+").replace("_", "/")
    if kind == "text/plain":
        return kind, words_of(data)
    return kind, check_png(kind, data) if kind.startswith("image/") else data


def _call(inner: dict[str, Any]) -> Call:
    known(inner, ["id", "name", "args"], "functionCall")
    assert _NAME.fullmatch(inner["name"])
    arguments = inner.get("args", {})
    assert isinstance(arguments, dict), "arguments are an object"
    return Call(inner.get("id", ""), inner["name"], arguments)


def _result(inner: dict[str, Any]) -> tuple[Result, tuple[str, ...]]:
    known(inner, ["id", "name", "response", "parts"], "functionResponse")
    response = inner["response"]
    assert isinstance(response, dict), "a result is an object"
    failed = "error" in response
    text = str(next(iter(response.values())))
    shown = tuple(_media(part)[1] for part in inner.get("parts", ()))
    return Result(inner.get("id", ""), text, inner["name"], failed), shown


def _turns(content: dict[str, Any]) -> list[Turn]:
    role = {"user": "user", "model": "assistant"}[content["role"]]
    assert content["parts"], "a content must have parts"
    text = thinking = ""
    images: list[str] = []
    documents: list[str] = []
    calls: list[Call] = []
    turns: list[Turn] = []
    for part in content["parts"]:
        match _check_part(part):
            case "text" if part.get("thought"):
                thinking += part["text"]
            case "text":
                assert part["text"] or part.get("thoughtSignature"), "an empty text part is refused"
                text += part["text"]
            case "functionCall":
                assert "assistant" == role, "only the model calls"
                calls.append(_call(part["functionCall"]))
            case "functionResponse":
                assert "user" == role, "results are the user's to tell"
                assert "" == text, "results stand before words"
                result, shown = _result(part["functionResponse"])
                turns.append(Turn(role="tool", results=(result,), images=shown))
            case "inlineData":
                kind, data = _media(part)
                (images if kind.startswith("image/") else documents).append(data)
            case other:
                message = f"the service reads no {other} of any address"
                raise AssertionError(message)
    if text or images or documents or calls or thinking:
        turns.append(
            Turn(
                role=role,
                text=text,
                images=tuple(images),
                documents=tuple(documents),
                calls=tuple(calls),
                thinking=thinking,
            )
        )
    return turns


def _parts(contents: list[dict[str, Any]], number: int, payload: str) -> list[dict[str, Any]]:
    parts = contents[number]["parts"] if number < len(contents) else []
    return [part for part in parts if payload in part]


def _check_order(contents: list[dict[str, Any]]) -> None:
    """Roles take turns, the user begins; calls are answered in the next content, all of them and nothing else."""
    assert ["user", "model"] * (len(contents) // 2) + ["user"] == [content["role"] for content in contents]
    for number, content in enumerate(contents):
        called = [_call(part["functionCall"]) for part in _parts(contents, number, "functionCall")]
        if content["role"] == "model":
            told = [part["functionResponse"] for part in _parts(contents, number + 1, "functionResponse")]
            assert [call.name for call in called] == [one["name"] for one in told], "a result for each call, in order"
            assert [call.id for call in called] == [one.get("id", "") for one in told]


def _check_signed(contents: list[dict[str, Any]]) -> None:
    """In the current turn, which begins at the user's last words, the first call of each step is signed."""
    own = [
        number
        for number, content in enumerate(contents)
        if content["role"] == "user" and any("functionResponse" not in part for part in content["parts"])
    ]
    for number in range(own[-1] if own else 0, len(contents)):
        calls = _parts(contents, number, "functionCall")
        assert not calls or calls[0].get("thoughtSignature"), "Function call is missing a thought_signature"


def _plain_schema(schema: Any) -> Any:  # Any: JSON
    """A schema of the service's own kind, checked, with the types as JSON Schema writes them."""
    known(schema, _SCHEMA, "a schema of the OpenAPI kind")
    assert isinstance(schema["type"], str), "a schema has one type"
    told = {name: value for name, value in schema.items() if name not in {"title", "propertyOrdering"}}
    told["type"] = schema["type"].lower()
    if "properties" in schema:
        told["properties"] = {name: _plain_schema(inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        told["items"] = _plain_schema(schema["items"])
    return told


def _tool(declared: dict[str, Any]) -> ToolSpec:
    known(declared, ["name", "description", "parameters", "parametersJsonSchema"], "a function's declaration")
    assert _NAME.fullmatch(declared["name"])
    assert not {"parameters", "parametersJsonSchema"} <= declared.keys(), "one kind of schema, not two"
    parameters: JsonObject = {"type": "object", "properties": {}}
    if "parameters" in declared:
        parameters = _plain_schema(declared["parameters"])
    return ToolSpec(declared["name"], declared["description"], declared.get("parametersJsonSchema", parameters))


def _choice(body: dict[str, Any]) -> str | None:
    if "toolConfig" not in body:
        return None
    known(body["toolConfig"], ["functionCallingConfig"], "toolConfig")
    config = body["toolConfig"]["functionCallingConfig"]
    known(config, ["mode", "allowedFunctionNames"], "functionCallingConfig")
    names = config.get("allowedFunctionNames")
    assert not names or config["mode"] == "ANY", "names only where a call is demanded"
    if names:
        (name,) = names
        return str(name)
    return _MODES[config["mode"]]


def _schema(config: dict[str, Any]) -> JsonObject | None:
    if config.get("responseMimeType") != "application/json":
        assert not {"responseSchema", "responseJsonSchema"} & config.keys(), "a schema asks for JSON"
        return None
    assert not {"responseSchema", "responseJsonSchema"} <= config.keys(), "one kind of schema, not two"
    if "responseSchema" in config:
        plain: JsonObject = _plain_schema(config["responseSchema"])
        return plain
    schema: JsonObject = config.get("responseJsonSchema", {})
    return schema


def _effort(config: dict[str, Any]) -> str | int | None:
    thinking = config.get("thinkingConfig", {})
    known(thinking, ["includeThoughts", "thinkingBudget", "thinkingLevel"], "thinkingConfig")
    assert not {"thinkingBudget", "thinkingLevel"} <= thinking.keys(), "a level or a budget, not both"
    level: str | None = thinking.get("thinkingLevel")
    budget: int | None = thinking.get("thinkingBudget")
    return budget if level is None else level.lower()


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``generateContent`` or ``streamGenerateContent``."""
    body = _camel(body)
    known(body, _FIELDS, "a Gemini request")
    contents = body["contents"]
    config = body.get("generationConfig", {})
    known(config, _CONFIG, "generationConfig")
    _check_order(contents)
    _check_signed(contents)
    tools = [declared for tool in body.get("tools", ()) for declared in tool["functionDeclarations"]]
    assert tools or "toolConfig" not in body, "a choice among no tools"
    return Seen(
        model="",
        system="".join(part["text"] for part in body.get("systemInstruction", {}).get("parts", ())),
        turns=merged([turn for content in contents for turn in _turns(content)]),
        tools=tuple(_tool(declared) for declared in tools),
        choice=_choice(body),
        schema=_schema(config),
        effort=_effort(config),
        max_tokens=config.get("maxOutputTokens"),
        temperature=config.get("temperature"),
        stop=tuple(config.get("stopSequences", ())),
        seed=config.get("seed"),
        n=config.get("candidateCount"),
        logprobs=config.get("responseLogprobs", False),
    )
