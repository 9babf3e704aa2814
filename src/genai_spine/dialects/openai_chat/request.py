"""OpenAI Chat Completions: requests, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump, request_object
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import from_address, media_type_of
from genai_spine.dialects.openai_chat.turns import IN_CONTENT, NAME, REASONING_FIELDS, Turns, combined
from genai_spine.dialects.user_ids import short_user
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["PATH", "assistant_parts", "decode_arguments", "decode_request", "encode_request", "thinking_text"]

PATH: Final = "/chat/completions"
SCHEMA_NAME: Final = "answer"
"""Of an output schema that has no name; the service demands one."""

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request; see ``Dialect.decode_request``."""
    fields = request_object(body)
    messages = tuple(_decode_message(message) for message in fields.children("messages"))
    if not messages:
        fault = fields.wrong("messages", "is required and must hold at least one message")
        raise fault
    effort = fields.text("reasoning_effort")
    stream = fields.flag("stream") or False
    stream_usage, stream_options = _decode_stream_options(fields)
    limit, old_limit = fields.integer("max_completion_tokens"), fields.integer("max_tokens")
    return CompletionRequest(
        messages=messages,
        model=fields.text("model"),
        max_tokens=old_limit if limit is None else limit,
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=fields.texts("stop"),
        seed=fields.integer("seed"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        n=fields.integer("n"),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.integer("top_logprobs"),
        tools=tuple(_decode_tool(tool) for tool in fields.children("tools")),
        tool_choice=_decode_tool_choice(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        output_schema=_decode_output_schema(fields.child("response_format")),
        reasoning=None if effort is None else Reasoning(effort=effort),
        user=fields.text("user"),
        stream=stream,
        stream_usage=stream and stream_usage,
        dialect=NAME,
        extras=without_own(fields.told()) | ({"stream_options": stream_options} if stream and stream_options else {}),
    )


def _decode_stream_options(fields: Fields) -> tuple[bool, JsonObject]:
    """Take what is asked of the stream: usage, and all else."""
    options = fields.child("stream_options")
    return (False, {}) if options is None else (options.flag("include_usage") or False, options.told())


def _decode_message(fields: Fields) -> Message:
    name = fields.need_text("role")
    role = _ROLES.get(name)
    if role is None:
        message = f"must be one of {', '.join(_ROLES)}; got {name!r} (for the retired role function, use tools)"
        fault = fields.wrong("role", message)
        raise fault
    parts: tuple[Part, ...]
    if role == "assistant":
        parts = assistant_parts(fields, "")
    elif role == "tool":
        parts = (ToolResult(call_id=fields.need_text("tool_call_id"), parts=_decode_content(fields)),)
    else:
        parts = _decode_content(fields)
    # A null goes no further: Groq, for one, refuses `function_call: null`.
    return Message(role=role, parts=parts, name=fields.text("name"), extras=fields.told())


def assistant_parts(fields: Fields, response_id: str) -> tuple[Part, ...]:
    """Take what a model said out of a message: thinking, words, a refusal, tool calls, in this order.

    ``response_id`` makes ids for calls to which a service gave none.
    """
    parts: list[Part] = []
    for name in REASONING_FIELDS:
        # Some services tell it under both names; the second is then a copy. OpenRouter's objects stay in the extras.
        if isinstance(fields.peek(name), str):
            text = fields.text(name)
            if not parts:
                parts.append(Thinking(text=text or "", wire_field=name))
    content = _decode_content(fields)
    parts += [part for part in content if not isinstance(part, Refusal)]
    refusals = [part.text for part in content if isinstance(part, Refusal)]
    if refusal := "".join(refusals) + (fields.text("refusal") or ""):
        parts.append(Refusal(text=refusal))
    for number, call in enumerate(fields.children("tool_calls")):
        parts.append(_decode_tool_call(call, f"call_{response_id}_{number}" if response_id else f"call_{number}"))
    return tuple(parts)


def _decode_tool_call(fields: Fields, fallback_id: str) -> ToolCall:
    call_id = fields.text("id") or fallback_id
    kind = fields.text("type")
    fields.take("index")
    if kind == "custom":
        inner = fields.need_child("custom")
        return ToolCall(
            id=call_id,
            name=inner.need_text("name"),
            arguments=inner.text("input") or "",
            custom=True,
            extras=_both(fields, kind, inner),
        )
    inner = fields.need_child("function")
    return ToolCall(
        id=call_id,
        name=inner.need_text("name"),
        arguments=decode_arguments(inner) or "{}",
        extras=_both(fields, "function", inner),
    )


def _both(fields: Fields, name: str, inner: Fields) -> JsonObject:
    """The extras of an object and those of the object ``name`` within it."""
    left = inner.told()
    return fields.told() | ({name: left} if left else {})


def decode_arguments(fields: Fields) -> str:
    """Take a call's arguments: JSON text, or as some services send it, the object itself."""
    value = fields.peek("arguments")
    if isinstance(value, dict):
        fields.take("arguments")
        return dump(value).decode()
    return fields.text("arguments") or ""


def _decode_content(fields: Fields) -> tuple[Part, ...]:
    """Take ``content``: words, a list of parts, or nothing. Empty words are nothing."""
    value = fields.peek("content")
    if value is None or isinstance(value, str):
        fields.take("content")
        return (Text(text=value),) if value else ()
    parts = (_decode_part(part) for part in fields.children("content"))
    return tuple(part for part in parts if not isinstance(part, Text) or part.text or part.extras)


def _decode_part(fields: Fields) -> Part:
    kind = fields.text("type")
    match kind:
        case "text":
            return Text(text=fields.need_text("text"), extras=fields.rest())
        case "refusal":
            return Refusal(text=fields.need_text("refusal"))
        case "image_url":
            address = fields.peek("image_url")
            if isinstance(address, str):
                fields.take("image_url")
                return Image(media=from_address(address), extras=fields.rest())
            inner = fields.need_child("image_url")
            return Image(
                media=from_address(inner.need_text("url")),
                detail=inner.text("detail"),
                extras=_both(fields, kind, inner),
            )
        case "input_audio":
            inner = fields.need_child("input_audio")
            media = Media(data=inner.need_text("data"), media_type=f"audio/{inner.need_text('format')}")
            return Audio(media=media, extras=_both(fields, kind, inner))
        case "file":
            inner = fields.need_child("file")
            return Document(media=_decode_file(inner), extras=_both(fields, kind, inner))
        case "thinking":
            return Thinking(
                text=thinking_text(fields),
                signature=fields.text("signature"),
                wire_field=IN_CONTENT,
                extras=fields.told(),
            )
        case _:
            return Opaque(dialect=NAME, data={"type": kind, **fields.rest()} if kind else fields.rest())


def thinking_text(fields: Fields) -> str:
    """Take the words of a piece of thinking as Mistral's lists of content hold it."""
    return "".join(piece.text("text") or "" for piece in fields.children("thinking"))


def _decode_file(fields: Fields) -> Media:
    filename = fields.text("filename")
    if (file_id := fields.text("file_id")) is not None:
        return Media(file_id=file_id, filename=filename)
    found = from_address(fields.need_text("file_data"))
    if found.data is not None:
        return Media(data=found.data, media_type=found.media_type, filename=filename)
    address = found.url or ""
    if address.startswith(("https://", "http://")):
        # OpenRouter's extension.
        return Media(url=address, filename=filename)
    # Bare base64, without the `data:` prefix, which the service takes as well.
    found = Media(data=address)
    return Media(data=address, media_type=media_type_of(found, "") or None, filename=filename)


def _decode_tool(fields: Fields) -> ToolOffer:
    kind = fields.text("type")
    if kind == "function":
        inner = fields.need_child("function")
        return Tool(
            name=inner.need_text("name"),
            description=inner.text("description"),
            parameters=inner.object("parameters"),
            strict=inner.flag("strict"),
            extras=_both(fields, kind, inner),
        )
    if kind == "custom":
        inner = fields.need_child("custom")
        return Tool(
            name=inner.need_text("name"),
            description=inner.text("description"),
            grammar=inner.object("format") or {},
            extras=_both(fields, kind, inner),
        )
    return OpaqueTool(dialect=NAME, data={"type": kind, **fields.rest()} if kind else fields.rest())


def _decode_tool_choice(fields: Fields) -> ToolChoice | None:
    value = fields.peek("tool_choice")
    if value is None or isinstance(value, str):
        fields.take("tool_choice")
        match value:
            case None:
                return None
            case "auto" | "none" | "required":
                return ToolChoice(mode=value)
            case "any":
                # Mistral's word for it.
                return ToolChoice(mode="required")
        message = f"must be none, auto, required or an object; got {value!r}"
        fault = fields.wrong("tool_choice", message)
        raise fault
    choice = fields.need_child("tool_choice")
    kind = choice.text("type")
    if kind == "allowed_tools":
        allowed = choice.child("allowed_tools") or choice
        mode = allowed.text("mode") or "auto"
        names = tuple(_named(tool) for tool in allowed.children("tools"))
        return ToolChoice(mode="required" if mode == "required" else "auto", names=names)
    return ToolChoice(mode="required", names=(_named(choice, kind),))


def _named(fields: Fields, kind: str | None = None) -> str:
    kind = kind or fields.text("type") or "function"
    return (fields.child(kind) or fields).need_text("name")


def _decode_output_schema(fields: Fields | None) -> OutputSchema | None:
    if fields is None:
        return None
    match kind := fields.need_text("type"):
        case "text":
            return None
        case "json_object":
            # llama.cpp takes a schema here.
            schema = fields.object("schema")
            return OutputSchema(schema=schema, name=None if schema is None else SCHEMA_NAME)
        case "json_schema":
            inner = fields.need_child("json_schema")
            return OutputSchema(
                schema=inner.object("schema") or {},
                name=inner.text("name") or SCHEMA_NAME,
                description=inner.text("description"),
                strict=inner.flag("strict"),
                extras=inner.told(),
            )
    message = f"must be text, json_object or json_schema; got {kind!r}"
    fault = fields.wrong("type", message)
    raise fault


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request; see ``Dialect.encode_request``."""
    losses = Losses(target.provider)
    request = without_foreign(request, NAME, losses)
    body: JsonObject = {"model": target.model, "messages": Turns(request, target, losses).write()}
    optional: dict[str, Json] = {
        "max_completion_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "n": request.n,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "parallel_tool_calls": request.parallel_tool_calls if request.tools or request.dialect == NAME else None,
        "reasoning_effort": _encode_effort(request.reasoning),
        "user": request.user if request.dialect == NAME else short_user(request.user),
        "response_format": _encode_output_schema(request.output_schema),
        "tool_choice": _encode_tool_choice(request),
    }
    if not target.facts.sampling:
        for name in ("temperature", "top_p", "top_k"):
            if optional.pop(name) is not None:
                losses.drop(name)
    body.update((name, value) for name, value in optional.items() if value is not None)
    if request.stop:
        body["stop"] = list(request.stop)
    if tools := _encode_tools(request):
        body["tools"] = tools
    body.update(losses.extras(request, NAME))
    if request.stream:
        body["stream"] = True
        if request.stream_usage:
            body["stream_options"] = combined({"include_usage": True}, body.get("stream_options"))
    return Encoded(PATH, dump(losses.suited(body, target.quirks)), {}, losses.warnings)


def _encode_effort(reasoning: Reasoning | None) -> str | None:
    if reasoning is None:
        return None
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.mode == "disabled":
        return "none"
    if reasoning.budget_tokens is not None:
        # The efforts' usual budgets, the other way round.
        return "low" if reasoning.budget_tokens <= 2048 else "medium" if reasoning.budget_tokens <= 12_000 else "high"
    return None


def _encode_output_schema(wanted: OutputSchema | None) -> JsonObject | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    inner: JsonObject = {"name": wanted.name or SCHEMA_NAME, "schema": wanted.schema}
    if wanted.description is not None:
        inner["description"] = wanted.description
    if wanted.strict is not None:
        inner["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": {**inner, **wanted.extras}}


def _encode_tools(request: CompletionRequest) -> list[Json]:
    tools: list[Json] = []
    own = request.dialect in {None, NAME}
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            tools.append(tool.data)
            continue
        inner: JsonObject = {"name": tool.name}
        if tool.description is not None:
            inner["description"] = tool.description
        if tool.grammar is not None:
            if tool.grammar:
                inner["format"] = tool.grammar
            kind = "custom"
        else:
            kind = "function"
            if tool.parameters is not None:
                inner["parameters"] = tool.parameters
            if tool.strict is not None:
                inner["strict"] = tool.strict
        written: JsonObject = {"type": kind, kind: inner}
        tools.append(combined(written, tool.extras) if own else written)
    return tools


def _encode_tool_choice(request: CompletionRequest) -> Json:
    choice = request.tool_choice
    if choice is None or not (request.tools or request.dialect == NAME):
        return None
    if not choice.names:
        return choice.mode
    custom = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.grammar is not None}
    named: list[Json] = []
    for name in choice.names:
        kind = "custom" if name in custom else "function"
        named.append({"type": kind, kind: {"name": name}})
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
