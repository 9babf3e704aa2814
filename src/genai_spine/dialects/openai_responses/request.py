"""OpenAI Responses: requests, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump, request_object
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_responses.items import NAME
from genai_spine.dialects.openai_responses.tools import (
    decode_tool_choice,
    decode_tools,
    encode_tool_choice,
    encode_tools,
)
from genai_spine.dialects.openai_responses.turns import Turns, decode_input
from genai_spine.dialects.user_ids import short_user
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Part, Text

__all__ = [
    "COUNT_PATH",
    "INSTEAD_OF_INPUT",
    "PATH",
    "SAMPLING",
    "decode_request",
    "encode_count_request",
    "encode_request",
]

PATH: Final = "/responses"
COUNT_PATH: Final = "/responses/input_tokens"
SCHEMA_NAME: Final = "answer"
"""Of an output schema that has no name; the service demands one."""

_LOGPROBS: Final = "message.output_text.logprobs"
"""Listed in ``include``, it asks for the logprobs."""
INSTEAD_OF_INPUT: Final = ("previous_response_id", "conversation", "prompt")
"""Fields that bring a conversation with them, so that ``input`` may be left out."""
_COUNTED: Final = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""The fields that a request to count tokens may have."""
SAMPLING: Final = ("temperature", "top_p")
"""The fields that models without sampling refuse."""
_MERGED: Final = ("reasoning", "text")


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request; see ``Dialect.decode_request``."""
    fields = request_object(body)
    messages = decode_input(fields)
    if not messages and not any(name in fields for name in INSTEAD_OF_INPUT):
        fault = fields.wrong("input", "is required and must be a string or an array of at least one item")
        raise fault
    instructions = fields.text("instructions")
    choice, other_choice = decode_tool_choice(fields)
    reasoning = _decode_reasoning(fields.child("reasoning"))
    schema, text = _decode_text(fields.child("text"))
    logprobs, include = _decode_include(fields)
    stream = fields.flag("stream") or False
    return CompletionRequest(
        messages=messages,
        system=(Text(text=instructions),) if instructions else (),
        model=fields.text("model"),
        max_tokens=fields.integer("max_output_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        logprobs=logprobs,
        top_logprobs=fields.integer("top_logprobs"),
        tools=decode_tools(fields),
        tool_choice=choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        output_schema=schema,
        reasoning=reasoning,
        user=fields.text("user"),
        stream=stream,
        stream_usage=stream,
        dialect=NAME,
        extras=without_own(fields.told())
        | ({"text": text} if text else {})
        | ({"include": include} if include else {})
        | ({} if other_choice is None else {"tool_choice": other_choice}),
    )


def _decode_reasoning(fields: Fields | None) -> Reasoning | None:
    if fields is None:
        return None
    effort = fields.text("effort")
    extras = fields.told()
    if effort is None and not extras:
        return None
    shown = extras.get("summary") is not None or extras.get("generate_summary") is not None
    return Reasoning(effort=effort, display="summarized" if shown else None, extras=extras)


def _decode_text(fields: Fields | None) -> tuple[OutputSchema | None, JsonObject]:
    if fields is None:
        return None, {}
    form = fields.child("format")
    return (None if form is None else _decode_format(form)), fields.told()


def _decode_format(fields: Fields) -> OutputSchema | None:
    match kind := fields.need_text("type"):
        case "text":
            return None
        case "json_object":
            return OutputSchema()
        case "json_schema":
            return OutputSchema(
                schema=fields.object("schema") or {},
                name=fields.text("name") or SCHEMA_NAME,
                description=fields.text("description"),
                strict=fields.flag("strict"),
                extras=fields.told(),
            )
    message = f"must be text, json_object or json_schema; got {kind!r}"
    fault = fields.wrong("type", message)
    raise fault


def _decode_include(fields: Fields) -> tuple[bool | None, list[Json]]:
    """Take ``include``: whether it asks for logprobs, and what else it asks for."""
    names = fields.items("include") or []
    others = [name for name in names if name != _LOGPROBS]
    return (True if len(others) < len(names) else None), others


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request; see ``Dialect.encode_request``."""
    losses = Losses(target.provider)
    request = without_foreign(request, NAME, losses)
    _check(request, losses)
    came_so = request.dialect == NAME
    body: JsonObject = {"model": target.model}
    if request.messages or not came_so:
        body["input"] = Turns(request, target.quirks, losses).write()
    optional: dict[str, Json] = {
        "instructions": _instructions(request.system, losses),
        "max_output_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_logprobs": request.top_logprobs,
        "parallel_tool_calls": request.parallel_tool_calls if request.tools or came_so else None,
        "reasoning": _encode_reasoning(request),
        "user": request.user if request.dialect == NAME else short_user(request.user),
        "text": _encode_format(request.output_schema, own=request.dialect in {None, NAME}),
        "tool_choice": encode_tool_choice(request),
        "tools": encode_tools(request) or None,
        "include": [_LOGPROBS] if request.logprobs else None,
        # What is asked elsewhere is not kept there, whereas here it would be unless it is said.
        "store": None if came_so else False,
    }
    if not target.facts.sampling:
        for name in SAMPLING:
            if optional.pop(name) is not None:
                losses.drop(name)
    body.update((name, value) for name, value in optional.items() if value is not None)
    for name, value in losses.extras(request, NAME).items():
        body[name] = _joined(name, body.get(name), value)
    if request.stream:
        body["stream"] = True
    return Encoded(PATH, dump(losses.suited(body, target.quirks)), {}, losses.warnings)


def _check(request: CompletionRequest, losses: Losses) -> None:
    """Account for the fields that do not exist here.

    Raises:
        InvalidFieldError: One of them must not be lost.
    """
    if request.stop:
        refusal = losses.refuse("stop")
        raise refusal
    if request.n is not None and request.n > 1:
        refusal = losses.refuse("n", "ask more than once or choose another provider")
        raise refusal
    lost = {
        "top_k": request.top_k,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    for name, value in lost.items():
        if value is not None:
            losses.drop(name)


def _joined(name: str, written: Json, extra: Json) -> Json:
    """Put together what the vocabulary says in a field and what only this dialect says there."""
    if name in _MERGED and isinstance(written, dict) and isinstance(extra, dict):
        return {**written, **extra}
    if isinstance(written, list) and isinstance(extra, list):
        return [*extra, *written]
    return extra


def encode_count_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write the question how many tokens a request has."""
    encoded = encode_request(request, target)
    fields = request_object(encoded.body).rest()
    counted = {name: value for name, value in fields.items() if name in _COUNTED}
    return Encoded(COUNT_PATH, dump(counted), {}, encoded.warnings)


def _instructions(system: tuple[Part, ...], losses: Losses) -> str | None:
    words = [part.text for part in system if isinstance(part, Text)]
    if len(words) < len(system):
        refusal = losses.refuse("system", "say the instructions in words")
        raise refusal
    return "\n\n".join(text for text in words if text) or None


def _encode_reasoning(request: CompletionRequest) -> JsonObject | None:
    wanted = request.reasoning
    if wanted is None:
        return None
    written: JsonObject = {}
    if (effort := _effort(wanted)) is not None:
        written["effort"] = effort
    if request.dialect in {None, NAME} and wanted.extras:
        written |= wanted.extras
    elif wanted.display == "summarized":
        written["summary"] = "auto"
    return written or None


def _effort(wanted: Reasoning) -> str | None:
    if wanted.effort is not None:
        return wanted.effort
    if wanted.mode == "disabled":
        return "none"
    if (budget := wanted.budget_tokens) is not None:
        # The efforts' usual budgets, the other way round.
        return "low" if budget <= 2048 else "medium" if budget <= 12_000 else "high"
    return None


def _encode_format(wanted: OutputSchema | None, *, own: bool) -> JsonObject | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"format": {"type": "json_object"}}
    form: JsonObject = {"type": "json_schema", "name": wanted.name or SCHEMA_NAME, "schema": wanted.schema}
    if wanted.description is not None:
        form["description"] = wanted.description
    if wanted.strict is not None:
        form["strict"] = wanted.strict
    return {"format": form | wanted.extras if own else form}
