"""Bedrock Converse: requests, read and written.

The service has the model, and whether the answer comes in pieces, in the address; they are no part of what is written.
A door that speaks the dialect puts both into the body, as ``model`` and ``stream``, and they are read from there.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.bedrock_converse.blocks import NAME, BlockWriter, decode_blocks
from genai_spine.dialects.bedrock_converse.families import Family, family_of
from genai_spine.dialects.bedrock_converse.objects import keep, merge
from genai_spine.dialects.bedrock_converse.reasoning import MAKER, apply_reasoning, take_reasoning
from genai_spine.dialects.bedrock_converse.tools import encode_tools, take_tools
from genai_spine.dialects.bedrock_converse.turns import encode_system, encode_turns
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump, dump_text, load, request_object
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.schemas import closed
from genai_spine.types.completion import CompletionRequest, OutputSchema
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Role

__all__ = ["decode_request", "encode_request", "path_of"]

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_USER: Final = "user_id"
"""The name under which ``requestMetadata`` tells whom the answer is for; the service keeps such pairs in its logs."""
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}")
_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no other words, no code fence."


def path_of(model: str, *, stream: bool) -> str:
    """Return where a request for a model goes; an id may hold ``:`` and ``/``."""
    return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request; see ``Dialect.decode_request``."""
    fields = request_object(body)
    messages = tuple(_decode_message(message) for message in fields.children("messages"))
    if not messages:
        message = "is required and must hold at least one message"
        fault = fields.wrong("messages", message)
        raise fault
    system = decode_blocks(fields, "system")
    config, maker, output = fields.child("inferenceConfig"), fields.child(MAKER), fields.child("outputConfig")
    tools, tool_choice = take_tools(fields)
    reasoning = take_reasoning(maker, output)
    output_schema = None if output is None else _decode_schema(output)
    top_k = maker.integer("top_k") if maker is not None and _is_integer(maker.peek("top_k")) else None
    user = None
    if (metadata := fields.child("requestMetadata")) is not None:
        user = metadata.text(_USER)
        keep(fields, "requestMetadata", metadata)
    max_tokens = temperature = top_p = None
    stop: tuple[str, ...] = ()
    if config is not None:
        max_tokens, stop = config.integer("maxTokens"), config.texts("stopSequences")
        temperature, top_p = config.number("temperature"), config.number("topP")
        keep(fields, "inferenceConfig", config)
    if maker is not None:
        keep(fields, MAKER, maker)
    if output is not None:
        keep(fields, "outputConfig", output)
    stream = fields.flag("stream") or False
    return CompletionRequest(
        messages=messages,
        model=fields.text("model"),
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=stop,
        tools=tools,
        tool_choice=tool_choice,
        output_schema=output_schema,
        reasoning=reasoning,
        user=user,
        stream=stream,
        # The dialect always tells usage.
        stream_usage=stream,
        dialect=NAME,
        extras=without_own(fields.rest()),
    )


def _is_integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decode_message(fields: Fields) -> Message:
    name = fields.need_text("role")
    role = _ROLES.get(name)
    if role is None:
        message = f"must be user, assistant or system; got {name!r}"
        fault = fields.wrong("role", message)
        raise fault
    return Message(role=role, parts=decode_blocks(fields, "content"), extras=fields.rest())


def _decode_schema(output: Fields) -> OutputSchema | None:
    """Take ``textFormat``, whose schema is JSON written into a string."""
    form = output.child("textFormat")
    if form is None:
        return None
    if (kind := form.need_text("type")) != "json_schema":
        message = f"must be json_schema; got {kind!r}"
        fault = form.wrong("type", message)
        raise fault
    structure = form.need_child("structure")
    told = structure.need_child("jsonSchema")
    try:
        schema: Json = load(told.need_text("schema"))
    except (msgspec.DecodeError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        message = "must be a JSON object, written into a string"
        fault = told.wrong("schema", message)
        raise fault
    name, description = told.text("name"), told.text("description")
    keep(structure, "jsonSchema", told)
    return OutputSchema(schema=schema, name=name, description=description, extras=keep(form, "structure", structure))


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request; see ``Dialect.encode_request``."""
    losses = Losses(target.provider)
    request = without_foreign(request, NAME, losses)
    # A gateway may have put turns of other kinds into a request that came in this dialect.
    native = request.dialect == NAME and all(message.role in _ROLES for message in request.messages)
    own = request.dialect in {None, NAME}
    family = family_of(target.model)
    _account(request, losses, native=native)
    blocks = BlockWriter(losses, own=own, native=native, caches=family.caches)
    body: JsonObject = {"messages": list[Json](encode_turns(request, blocks, losses))}
    if system := encode_system(request, blocks):
        body["system"] = system
    _encode_sampling(body, request, target, family, losses, native=native)
    encode_tools(body, request, family, losses, own=own, native=native)
    _encode_schema(body, request.output_schema, native=native)
    if request.user is not None and (native or _METADATA.fullmatch(request.user)):
        body["requestMetadata"] = {_USER: request.user}
    apply_reasoning(body, request, target.facts, family, losses, native=native)
    merge(body, losses.extras(request, NAME))
    path = path_of(target.model, stream=request.stream)
    return Encoded(path, dump(losses.suited(body, target.quirks)), {}, losses.warnings)


def _account(request: CompletionRequest, losses: Losses, *, native: bool) -> None:
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
    if request.user is not None and not native and not _METADATA.fullmatch(request.user):
        losses.drop("user")


def _encode_sampling(
    body: JsonObject, request: CompletionRequest, target: Target, family: Family, losses: Losses, *, native: bool
) -> None:
    temperature = request.temperature
    if temperature is not None and temperature > 1 and not native and target.facts.sampling:
        losses.change("temperature", "lowered to 1, the most that the provider takes")
        temperature = 1
    config: JsonObject = {}
    if request.max_tokens is not None:
        config["maxTokens"] = request.max_tokens
    for name, field, value in (("temperature", "temperature", temperature), ("top_p", "topP", request.top_p)):
        if value is not None and target.facts.sampling:
            config[field] = value
        elif value is not None:
            losses.drop(name)
    if stop := [text for text in request.stop if native or text.strip()]:
        config["stopSequences"] = list[Json](stop)
    if config:
        body["inferenceConfig"] = config
    if request.top_k is None:
        return
    if not target.facts.sampling:
        losses.drop("top_k")
        return
    told: Json = request.top_k
    # As it came, a request says this in one place only.
    for step in reversed(("top_k",) if native else family.top_k):
        told = {step: told}
    merge(body, {MAKER: told})


def _encode_schema(body: JsonObject, wanted: OutputSchema | None, *, native: bool) -> None:
    if wanted is None:
        return
    if not wanted.schema and not native:
        # There is no mode for any JSON object; the model is told instead.
        system = body.get("system")
        body["system"] = [*(system if isinstance(system, list) else []), {"text": _JSON_ONLY}]
        return
    schema = wanted.schema or {}
    told: JsonObject = {"schema": dump_text(schema if native else closed(schema))}
    if wanted.name is not None:
        told["name"] = wanted.name
    if wanted.description is not None:
        told["description"] = wanted.description
    form: JsonObject = {"type": "json_schema", "structure": {"jsonSchema": told}}
    body["outputConfig"] = {"textFormat": merge(form, wanted.extras if native else {})}
