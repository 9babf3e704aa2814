"""Anthropic Messages: requests, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.anthropic_messages.blocks import (
    NAME,
    BlockWriter,
    decode_blocks,
    decode_content,
    merge,
    seal,
    take_cache,
)
from genai_spine.dialects.anthropic_messages.thinking import apply_reasoning
from genai_spine.dialects.anthropic_messages.turns import encode_system, encode_turns
from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump, request_object
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.schemas import closed
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Role
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["COUNT_PATH", "PATH", "SAMPLING", "VERSION", "decode_request", "encode_count_request", "encode_request"]

PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
VERSION: Final = "2023-06-01"
"""The version of the API whose fields are written: the later ones take no ``temperature`` at all."""

DEFAULT_MAX_TOKENS: Final = 4096
"""The limit of an answer, which the service demands, where neither the caller nor the model's facts tell one."""

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_NO_PARAMETERS: Final[JsonObject] = {"type": "object", "properties": {}}
SAMPLING: Final = ("temperature", "top_p", "top_k")
_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no other words, no code fence."


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request; see ``Dialect.decode_request``.

    ``max_tokens`` may be missing, for a request to count tokens has none.
    """
    fields = request_object(body)
    messages = tuple(_decode_message(message) for message in fields.children("messages"))
    if not messages:
        message = "is required and must hold at least one message"
        fault = fields.wrong("messages", message)
        raise fault
    user = _decode_user(fields)
    tool_choice, parallel = _decode_tool_choice(fields)
    reasoning, output_schema = _decode_output(fields)
    stream = fields.flag("stream") or False
    return CompletionRequest(
        messages=messages,
        model=fields.text("model"),
        system=decode_blocks(fields, "system"),
        max_tokens=fields.integer("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.integer("top_k"),
        stop=fields.texts("stop_sequences"),
        tools=tuple(_decode_tool(tool) for tool in fields.children("tools")),
        tool_choice=tool_choice,
        parallel_tool_calls=parallel,
        output_schema=output_schema,
        reasoning=reasoning,
        user=user,
        stream=stream,
        # The dialect always tells usage.
        stream_usage=stream,
        dialect=NAME,
        extras=without_own(fields.rest()),
    )


def _decode_message(fields: Fields) -> Message:
    name = fields.need_text("role")
    role = _ROLES.get(name)
    if role is None:
        message = f"must be user, assistant or system; got {name!r}"
        fault = fields.wrong("role", message)
        raise fault
    return Message(role=role, parts=decode_content(fields), extras=fields.rest())


def _decode_user(fields: Fields) -> str | None:
    metadata = fields.child("metadata")
    if metadata is None:
        return None
    user = metadata.text("user_id")
    _keep(fields, "metadata", metadata)
    return user


def _keep(fields: Fields, name: str, inner: Fields) -> None:
    """Put back what was not taken of an object, so that it stays with the extras."""
    if left := inner.rest():
        fields.rest()[name] = left


def _decode_tool(fields: Fields) -> ToolOffer:
    if "type" in fields and fields.peek("type") != "custom":
        return OpaqueTool(dialect=NAME, data=fields.rest())
    parameters = fields.object("input_schema")
    return Tool(
        name=fields.need_text("name"),
        description=fields.text("description"),
        parameters=None if parameters == _NO_PARAMETERS else parameters,
        strict=fields.flag("strict"),
        cache=take_cache(fields),
        extras=fields.rest(),
    )


def _decode_tool_choice(fields: Fields) -> tuple[ToolChoice | None, bool | None]:
    choice = fields.child("tool_choice")
    if choice is None:
        return None, None
    kind = choice.need_text("type")
    match kind:
        case "auto" | "none":
            found = ToolChoice(mode=kind)
        case "any":
            found = ToolChoice(mode="required")
        case "tool":
            found = ToolChoice(mode="required", names=(choice.need_text("name"),))
        case _:
            message = f"must be auto, any, tool or none; got {kind!r}"
            fault = choice.wrong("type", message)
            raise fault
    alone = choice.flag("disable_parallel_tool_use")
    _keep(fields, "tool_choice", choice)
    return found, None if alone is None or kind == "none" else not alone


def _decode_output(fields: Fields) -> tuple[Reasoning | None, OutputSchema | None]:
    """Take ``thinking``, ``output_config`` and the latter's forerunner, ``output_format``."""
    thinking, config = fields.child("thinking"), fields.child("output_config")
    form = fields.child("output_format")
    effort = None
    if config is not None:
        effort = config.text("effort")
        form = config.child("format") or form
        _keep(fields, "output_config", config)
    reasoning = None
    if thinking is not None:
        reasoning = _decode_thinking(thinking, effort)
    elif effort is not None:
        reasoning = Reasoning(effort=effort)
    return reasoning, None if form is None else _decode_format(form)


def _decode_thinking(fields: Fields, effort: str | None) -> Reasoning:
    mode = fields.need_text("type")
    match mode:
        case "enabled" | "disabled" | "adaptive" | "between_tools":
            return Reasoning(
                mode=mode,
                effort=effort,
                budget_tokens=fields.integer("budget_tokens"),
                display=fields.text("display"),
                extras=fields.rest(),
            )
    message = f"must be enabled, disabled, adaptive or between_tools; got {mode!r}"
    fault = fields.wrong("type", message)
    raise fault


def _decode_format(fields: Fields) -> OutputSchema:
    if (kind := fields.need_text("type")) != "json_schema":
        message = f"must be json_schema; got {kind!r}"
        fault = fields.wrong("type", message)
        raise fault
    return OutputSchema(schema=fields.object("schema") or {}, extras=fields.rest())


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request; see ``Dialect.encode_request``.

    Where the caller sets no limit, ``max_tokens`` is the most that the model writes, or else 4096.
    """
    losses = Losses(target.provider)
    body = _encode_body(request, target, losses)
    return Encoded(PATH, dump(body), {"anthropic-version": VERSION}, losses.warnings)


def encode_count_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write the question how many tokens a request would have."""
    losses = Losses(target.provider)
    body = _encode_body(request, target, losses)
    for name in ("max_tokens", "stream", "stop_sequences", "metadata", *SAMPLING):
        body.pop(name, None)
    return Encoded(COUNT_PATH, dump(body), {"anthropic-version": VERSION}, losses.warnings)


def _encode_body(request: CompletionRequest, target: Target, losses: Losses) -> JsonObject:
    request = without_foreign(request, NAME, losses)
    # A gateway may have put turns of other kinds into a request that came in this dialect.
    native = request.dialect == NAME and all(message.role in _ROLES for message in request.messages)
    own = request.dialect in {None, NAME}
    _refuse_unknown(request, losses)
    blocks = BlockWriter(losses, own=own, native=native)
    turns = encode_turns(request, blocks, losses)
    limit = request.max_tokens
    if limit is None:
        limit = target.facts.max_output_tokens or DEFAULT_MAX_TOKENS
    body: JsonObject = {"model": target.model, "max_tokens": limit, "messages": list[Json](turns)}
    if system := encode_system(request, blocks):
        body["system"] = system
    if request.stop and (stop := [text for text in request.stop if native or text.strip()]):
        body["stop_sequences"] = list[Json](stop)
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    if request.stream:
        body["stream"] = True
    _encode_tools(body, request, losses, native=native)
    _encode_output_schema(body, request.output_schema, native=native)
    _encode_sampling(body, request, target, losses, native=native)
    apply_reasoning(body, request, target.facts, losses, native=native)
    merge(body, losses.extras(request, NAME))
    return losses.suited(body, target.quirks)


def _refuse_unknown(request: CompletionRequest, losses: Losses) -> None:
    """Account for the fields that the dialect has not at all."""
    if request.n is not None and request.n > 1:
        fault = losses.refuse("n", "ask for one answer at a time")
        raise fault
    if request.logprobs:
        fault = losses.refuse("logprobs")
        raise fault
    if request.seed is not None:
        losses.drop("seed")
    if request.presence_penalty:
        losses.drop("presence_penalty")
    if request.frequency_penalty:
        losses.drop("frequency_penalty")


def _encode_sampling(
    body: JsonObject, request: CompletionRequest, target: Target, losses: Losses, *, native: bool
) -> None:
    temperature = request.temperature
    if temperature is not None and temperature > 1 and not native and target.facts.sampling:
        losses.change("temperature", "lowered to 1, the most that the provider takes")
        temperature = 1
    for name, value in zip(SAMPLING, (temperature, request.top_p, request.top_k), strict=True):
        if value is None:
            continue
        if target.facts.sampling:
            body[name] = value
        else:
            losses.drop(name)


def _encode_tools(body: JsonObject, request: CompletionRequest, losses: Losses, *, native: bool) -> None:
    own = request.dialect in {None, NAME}
    choice = request.tool_choice
    offered = request.tools
    if choice is not None and choice.names and (choice.mode == "auto" or len(choice.names) > 1):
        # The dialect cannot allow some of the tools: it is offered only those.
        offered = tuple(tool for tool in offered if isinstance(tool, Tool) and tool.name in choice.names)
        if not offered:
            message = f"tool_choice: none of the tools {', '.join(choice.names)} is among the tools offered"
            raise InvalidFieldError(message, param="tool_choice")
        choice = ToolChoice(mode=choice.mode)
    if tools := [_encode_tool(tool, losses, own=own, native=native) for tool in offered]:
        body["tools"] = list[Json](tools)
    elif not native:
        return
    parallel = request.parallel_tool_calls
    if choice is None:
        if parallel is not False:
            return
        choice = ToolChoice(mode="auto")
    written: JsonObject
    if choice.names:
        written = {"type": "tool", "name": choice.names[0]}
    else:
        written = {"type": "any" if choice.mode == "required" else choice.mode}
    if choice.mode != "none" and (parallel is False or (native and parallel)):
        written["disable_parallel_tool_use"] = not parallel
    body["tool_choice"] = written


def _encode_tool(tool: ToolOffer, losses: Losses, *, own: bool, native: bool) -> JsonObject:
    if isinstance(tool, OpaqueTool):
        return tool.data
    if tool.grammar is not None:
        fault = losses.refuse(f"tools ({tool.name})", "it takes only tools with a JSON schema, none with free text")
        raise fault
    schema = _NO_PARAMETERS if tool.parameters is None else tool.parameters
    if not native and "type" not in schema:
        schema = {**_NO_PARAMETERS, **schema}
    written: JsonObject = {"name": tool.name, "input_schema": schema}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.strict is not None and (native or tool.strict):
        written["strict"] = tool.strict
    return seal(written, tool.cache, tool.extras, own=own)


def _encode_output_schema(body: JsonObject, wanted: OutputSchema | None, *, native: bool) -> None:
    if wanted is None:
        return
    if not wanted.schema and not native:
        # There is no mode for any JSON object; the model is told instead.
        system = body.get("system")
        if isinstance(system, list):
            system.append({"type": "text", "text": _JSON_ONLY})
        else:
            body["system"] = f"{system}\n\n{_JSON_ONLY}" if isinstance(system, str) else _JSON_ONLY
        return
    schema = wanted.schema or {}
    extras = wanted.extras if native else {}
    body["output_config"] = {
        "format": {"type": "json_schema", "schema": schema if native else closed(schema), **extras}
    }
