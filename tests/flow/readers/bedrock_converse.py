"""Requests to Amazon Bedrock's Converse, read by its rules; model and stream stand in the path."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from genai_spine.types.json import JsonObject
from tests.flow.readers.rules import check_name, check_open, check_paired, check_png, words_of
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["read"]

_FIELDS: Final = [
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "outputConfig",
    "additionalModelRequestFields",
    "requestMetadata",
]
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DOCUMENT_NAME: Final = re.compile(r"[A-Za-z0-9()\[\]-]+( [A-Za-z0-9()\[\]-]+)*")


def _kind(block: dict[str, Any]) -> str:
    """A block is a union: exactly one field, which names its kind."""
    (kind,) = block
    return str(kind)


def _image(inner: dict[str, Any]) -> str:
    known(inner, ["format", "source"], "an image")
    known(inner["source"], ["bytes"], "an image's source")
    return check_png(inner["format"], inner["source"]["bytes"])


def _document(inner: dict[str, Any]) -> str:
    known(inner, ["format", "name", "source"], "a document")
    assert len(inner["name"]) <= 200
    assert _DOCUMENT_NAME.fullmatch(inner["name"]), "a document's name has letters, digits, single blanks, -()[]"
    known(inner["source"], ["bytes"], "a document's source")
    data: str = inner["source"]["bytes"]
    if inner["format"] == "txt":
        return words_of(data)
    assert "pdf" == inner["format"]
    return data


def _result(inner: dict[str, Any]) -> tuple[Result, tuple[str, ...]]:
    known(inner, ["toolUseId", "content", "status"], "a toolResult")
    assert inner["content"], "a result must say something"
    assert inner.get("status", "success") in {"success", "error"}
    text = "".join(block["text"] for block in inner["content"] if _kind(block) == "text")
    shown = tuple(_image(block["image"]) for block in inner["content"] if _kind(block) == "image")
    return Result(inner["toolUseId"], text, failed=inner.get("status") == "error"), shown


def _call(inner: dict[str, Any]) -> Call:
    known(inner, ["toolUseId", "name", "input"], "a toolUse")
    assert _ID.fullmatch(inner["toolUseId"]), "the id of a toolUse has other characters, or too many"
    assert isinstance(inner["input"], dict), "arguments are an object"
    return Call(inner["toolUseId"], check_name(inner["name"]), inner["input"])


def _turns(message: dict[str, Any]) -> list[Turn]:
    role = message["role"]
    assert message["content"], "a message must say something"
    text = thinking = ""
    images: list[str] = []
    documents: list[str] = []
    calls: list[Call] = []
    turns: list[Turn] = []
    for block in message["content"]:
        match _kind(block):
            case "text":
                assert block["text"].strip(), "blank text is refused"
                text += block["text"]
            case "image":
                images.append(_image(block["image"]))
            case "document":
                documents.append(_document(block["document"]))
            case "reasoningContent":
                thinking += block["reasoningContent"]["reasoningText"]["text"]
                assert block["reasoningContent"]["reasoningText"]["signature"], "reasoning without its seal"
            case "toolUse":
                calls.append(_call(block["toolUse"]))
            case other:
                assert "toolResult" == other
                assert "" == text, "results stand before words"
                result, shown = _result(block["toolResult"])
                turns.append(Turn(role="tool", results=(result,), images=shown))
    assert text or not documents, "a document needs words beside it"
    if text or images or calls or thinking:
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


def _ids(message: dict[str, Any], kind: str) -> list[str]:
    return [block[kind]["toolUseId"] for block in message["content"] if kind in block]


def _check_order(messages: list[dict[str, Any]]) -> None:
    """Roles take turns, the user begins and ends; calls are answered in the next message, all of them."""
    roles = [message["role"] for message in messages]
    assert ["user", "assistant"] * (len(messages) // 2) + ["user"] == roles
    answered: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            answered = _ids(message, "toolResult")
        else:
            check_paired(_ids(message, "toolUse"), answered)
            answered = []
    assert [] == answered, "a result before any call"
    named = [block["document"]["name"] for message in messages for block in message["content"] if "document" in block]
    assert len(named) == len({*named}), "documents have a name each"


def _tool(tool: dict[str, Any]) -> ToolSpec:
    spec = tool["toolSpec"]
    known(spec, ["name", "description", "inputSchema", "strict"], "a toolSpec")
    schema: JsonObject = spec["inputSchema"]["json"]
    assert "object" == schema["type"]
    return ToolSpec(check_name(spec["name"]), spec["description"], schema, spec.get("strict", False))


def _choice(config: dict[str, Any], more: dict[str, Any]) -> tuple[str | None, bool]:
    """The choice: the service's own word, or that of the models' maker, which alone tells of single calls."""
    if "tool_choice" in more:
        assert "toolChoice" not in config, "a choice is told once"
        told = more["tool_choice"]
        kinds = {"auto": "auto", "any": "required", "tool": told.get("name")}
        return kinds[told["type"]], told["disable_parallel_tool_use"]
    if "toolChoice" not in config:
        return None, False
    kind = _kind(config["toolChoice"])
    return {"auto": "auto", "any": "required", "tool": config["toolChoice"][kind].get("name")}[kind], False


def _schema(form: dict[str, Any] | None) -> JsonObject | None:
    if form is None:
        return None
    assert "json_schema" == form["type"]
    told = form["structure"]["jsonSchema"]
    known(told, ["schema", "name", "description"], "a jsonSchema")
    schema: JsonObject = json.loads(told["schema"])
    check_open(schema)
    return schema


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``converse`` or ``converse-stream``."""
    known(body, _FIELDS, "a Converse request")
    messages = body["messages"]
    _check_order(messages)
    config, more = body.get("toolConfig", {}), body.get("additionalModelRequestFields", {})
    known(config, ["tools", "toolChoice"], "toolConfig")
    assert "toolConfig" not in body or config["tools"], "a toolConfig has tools"
    used = any("toolUse" in block or "toolResult" in block for message in messages for block in message["content"])
    assert config or not used, "the toolConfig field must be defined when using toolUse and toolResult content blocks"
    known(more, ["thinking", "tool_choice", "top_k"], "additionalModelRequestFields")
    inference, output = body.get("inferenceConfig", {}), body.get("outputConfig", {})
    known(inference, ["maxTokens", "temperature", "topP", "stopSequences"], "inferenceConfig")
    assert 0 <= inference.get("temperature", 0) <= 1
    choice, one_call = _choice(config, more)
    return Seen(
        model="",
        system="".join(block["text"] for block in body.get("system", ())),
        turns=merged([turn for message in messages for turn in _turns(message)]),
        tools=tuple(_tool(tool) for tool in config.get("tools", ())),
        choice=choice,
        one_call=one_call,
        schema=_schema(output.get("textFormat")),
        effort=more.get("thinking", {}).get("budget_tokens", output.get("effort")),
        max_tokens=inference.get("maxTokens"),
        temperature=inference.get("temperature"),
        stop=tuple(inference.get("stopSequences", ())),
    )
