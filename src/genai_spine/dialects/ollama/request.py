"""Ollama: requests, read and written.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/api/generate
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump, request_object
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import from_address
from genai_spine.dialects.ollama.turns import Turns, decode_call
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Image, Media, Message, Part, Role, Text, Thinking, ToolCall, ToolResult
from genai_spine.types.tools import OpaqueTool, Tool, ToolOffer

__all__ = ["GENERATE_PATH", "NAME", "PATH", "decode_generate_request", "decode_request", "encode_request"]

NAME: Final = "ollama"
PATH: Final = "/api/chat"
GENERATE_PATH: Final = "/api/generate"

_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_LEVELS: Final = ("low", "medium", "high", "max")
# Efforts that it does not know, as the levels that its own OpenAI-compatible door makes of them.
_NEAREST_LEVEL: Final = {"minimal": "low", "xhigh": "max", "ultra": "max"}
_GENERATE_ONLY: Final = ("suffix", "raw", "context", "template")


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request to ``/api/chat``; see ``Dialect.decode_request``."""
    fields = request_object(body)
    links = _Links()
    messages = tuple(_decode_message(message, links) for message in fields.children("messages"))
    if not messages:
        # To Ollama such a request means to load or unload a model, which is the operator's affair.
        wrong = fields.wrong("messages", "is required and must hold at least one message")
        raise wrong
    return _decode(fields, messages)


def decode_generate_request(body: bytes) -> CompletionRequest:
    """Read a request to ``/api/generate``: one turn of the user's."""
    fields = request_object(body)
    prompt = fields.text("prompt")
    if not prompt:
        # As above: without a prompt, Ollama loads or unloads the model.
        wrong = fields.wrong("prompt", "is required and must not be empty")
        raise wrong
    system = fields.text("system")
    parts: tuple[Part, ...] = (Text(text=prompt), *_decode_images(fields))
    for name in _GENERATE_ONLY:
        # The official client always sends these, empty where its user set none.
        if not fields.peek(name):
            fields.take(name)
    return _decode(fields, (Message(role="user", parts=parts),), (Text(text=system),) if system else ())


def _decode(fields: Fields, messages: tuple[Message, ...], system: tuple[Part, ...] = ()) -> CompletionRequest:
    """Read what both kinds of request share."""
    options = fields.child("options") or Fields({})
    limit = options.integer("num_predict")
    stream = fields.flag("stream")
    tools = tuple(_decode_tool(tool) for tool in fields.children("tools"))
    return CompletionRequest(
        messages=messages,
        system=system,
        model=fields.text("model"),
        max_tokens=limit if limit is None or limit >= 0 else None,  # -1: no limit
        temperature=options.number("temperature"),
        top_p=options.number("top_p"),
        top_k=options.integer("top_k"),
        stop=options.texts("stop"),
        seed=options.integer("seed"),
        presence_penalty=options.number("presence_penalty"),
        frequency_penalty=options.number("frequency_penalty"),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.integer("top_logprobs"),
        tools=tools,
        output_schema=_decode_format(fields),
        reasoning=_decode_think(fields),
        stream=stream is not False,
        stream_usage=stream is not False,
        dialect=NAME,
        extras=without_own(fields.rest()) | ({"options": options.rest()} if options.rest() else {}),
    )


class _Links:
    """Links results to calls: both may come without an id, told apart by the tool's name and their order alone."""

    def __init__(self) -> None:
        self._count = 0
        self._names: dict[str, str] = {}
        self._open: list[str] = []

    def ask(self, calls: list[ToolCall]) -> list[ToolCall]:
        """Take the calls of one turn; return them with an id each.

        The id of a call without one is its place in the conversation, which stays the same as that grows.
        """
        found = [
            call if call.id else replace(call, id=f"call_{number}") for number, call in enumerate(calls, self._count)
        ]
        self._count += len(found)
        self._names.update((call.id, call.name) for call in found)
        self._open = [call.id for call in found]
        return found

    def answer(self, call_id: str | None, name: str | None) -> tuple[str, str | None]:
        """Return the id and the name of the tool of the call that a result answers."""
        if call_id is None:
            call_id = next((known for known in self._open if name in {None, self._names[known]}), "")
        if call_id in self._open:
            self._open.remove(call_id)
        return call_id, name or self._names.get(call_id)


def _decode_message(fields: Fields, links: _Links) -> Message:
    told = fields.need_text("role")
    role = _ROLES.get(told.lower())
    if role is None:
        wrong = fields.wrong("role", f"must be one of {', '.join(_ROLES)}; got {told!r}")
        raise wrong
    parts: list[Part] = []
    if role == "assistant" and (thinking := fields.text("thinking")):
        parts.append(Thinking(text=thinking))
    if content := fields.text("content"):
        parts.append(Text(text=content))
    parts += _decode_images(fields)
    if role == "assistant":
        parts += links.ask([decode_call(call) for call in fields.children("tool_calls")])
    elif role == "tool":
        call_id, name = links.answer(fields.text("tool_call_id") or None, fields.text("tool_name") or None)
        parts = [ToolResult(call_id=call_id, name=name, parts=tuple(parts))]
    return Message(role=role, parts=tuple(parts), extras=fields.rest())


def _decode_images(fields: Fields) -> tuple[Image, ...]:
    # Ollama takes bare base64 only; a `data:` prefix is a common slip of callers.
    return tuple(
        Image(media=Media(data=from_address(data).data if data.startswith("data:") else data))
        for data in fields.texts("images")
    )


def _decode_tool(fields: Fields) -> ToolOffer:
    kind = fields.text("type") or "function"
    if kind != "function":
        return OpaqueTool(dialect=NAME, data={"type": kind, **fields.rest()})
    inner = fields.need_child("function")
    tool = Tool(
        name=inner.need_text("name"),
        description=inner.text("description"),
        parameters=inner.object("parameters"),
        strict=inner.flag("strict"),
        extras=fields.rest(),
    )
    if left := inner.rest():
        tool.extras["function"] = left
    return tool


def _decode_format(fields: Fields) -> OutputSchema | None:
    value = fields.take("format")
    if value is None or value == "":
        return None
    if value == "json":
        return OutputSchema()
    if isinstance(value, dict):
        return OutputSchema(schema=value)
    wrong = fields.wrong("format", "must be 'json' or a JSON Schema object")
    raise wrong


def _decode_think(fields: Fields) -> Reasoning | None:
    value = fields.take("think")
    if value is None:
        return None
    if isinstance(value, bool):
        return Reasoning(mode="enabled" if value else "disabled")
    if isinstance(value, str) and value in _LEVELS:
        return Reasoning(effort=value)
    wrong = fields.wrong("think", f"must be true, false or one of {', '.join(_LEVELS)}")
    raise wrong


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request to ``/api/chat``; see ``Dialect.encode_request``."""
    losses = Losses(target.provider)
    request = without_foreign(request, NAME, losses)
    if request.n is not None and request.n > 1:
        refused = losses.refuse("n")
        raise refused
    extras = dict(losses.extras(request, NAME))
    for name in _GENERATE_ONLY:
        if extras.get(name):
            raise losses.refuse(name, "only Ollama's own /api/generate knows it: leave it out")
    tools, instruction = _encode_tools(request, losses)
    body: JsonObject = {
        "model": target.model,
        "messages": Turns(request, losses, own=_is_own(request)).write(instruction),
        # Left out it would mean true.
        "stream": request.stream,
    }
    if tools:
        body["tools"] = tools
    optional: dict[str, Json] = {
        "format": _encode_format(request.output_schema),
        "think": _encode_think(request.reasoning),
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    if options := _encode_options(request, target, losses, extras.pop("options", None)):
        body["options"] = options
    if request.parallel_tool_calls is False and tools:
        losses.drop("parallel_tool_calls")
    if request.dialect != NAME:
        # Ollama cuts a conversation that is too long without a word, which only its own callers can expect; told so, it
        # answers with an error instead.
        body["truncate"] = False
    body.update(extras)
    return Encoded(PATH, dump(losses.suited(body, target.quirks)), {}, losses.warnings)


def _is_own(request: CompletionRequest) -> bool:
    return request.dialect in {None, NAME}


def _encode_options(request: CompletionRequest, target: Target, losses: Losses, more: Json) -> JsonObject:
    options: dict[str, Json] = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    if not target.facts.sampling:
        for name in ("temperature", "top_p", "top_k"):
            if options.pop(name) is not None:
                losses.drop(name)
    set_ones: JsonObject = {name: value for name, value in options.items() if value is not None}
    return set_ones | more if isinstance(more, dict) else set_ones


def _encode_format(wanted: OutputSchema | None) -> Json:
    if wanted is None:
        return None
    return "json" if wanted.schema is None else wanted.schema


def _encode_think(reasoning: Reasoning | None) -> bool | str | None:
    """Without a word on it, thinking models think."""
    if reasoning is None:
        return None
    if reasoning.mode == "disabled" or reasoning.effort == "none":
        return False
    if reasoning.effort is not None:
        return _NEAREST_LEVEL.get(reasoning.effort, reasoning.effort)
    if reasoning.mode is None and reasoning.budget_tokens is None:
        return None
    return reasoning.budget_tokens != 0


def _encode_tools(request: CompletionRequest, losses: Losses) -> tuple[list[Json], str]:
    """Return the tools to offer, and what to tell the model where it must call one: Ollama cannot force it to."""
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        return [], ""
    names = choice.names if choice is not None else ()
    tools: list[Json] = []
    offered: list[str] = []
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            tools.append(tool.data)
        elif not names or tool.name in names:
            tools.append(_encode_tool(tool, losses, own=_is_own(request)))
            offered.append(tool.name)
    if names and not offered:
        refused = losses.refuse("tool_choice", "it names no tool that is offered")
        raise refused
    if choice is None or choice.mode != "required" or not offered:
        return tools, ""
    losses.emulate("tool_choice", "asked for in the instructions instead")
    if len(offered) == 1:
        return tools, f'You must answer by calling the tool "{offered[0]}".'
    return tools, f"You must answer by calling at least one of these tools: {', '.join(offered)}."


def _encode_tool(tool: Tool, losses: Losses, *, own: bool) -> JsonObject:
    if tool.grammar is not None:
        refused = losses.refuse("tools (custom)", "offer a tool with JSON arguments or choose another provider")
        raise refused
    extras = dict(tool.extras) if own else {}
    function: JsonObject = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    elif not own:
        function["parameters"] = {"type": "object", "properties": {}}
    if own and tool.strict is not None:
        function["strict"] = tool.strict
    elif tool.strict:
        losses.drop("tools.strict")
    if isinstance(left := extras.pop("function", None), dict):
        function |= left
    return {"type": "function", "function": function, **extras}
