"""Reading a body only as far as routing needs, and writing it again with few fields changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.money import picodollars_from
from genai_spine.types.json import JsonObject
from genai_spine.types.routing import NO_WISHES, Fallback, Wishes

__all__ = [
    "EXTENSION_FIELDS",
    "read_fields",
    "read_typed",
    "read_wishes",
    "splice",
    "told_in",
    "with_number",
    "without_own",
]

EXTENSION_FIELDS: Final = ("provider", "provider_hint", "routing", "fallback", "task_type")
"""The gateway's own fields in a body: never sent upstream."""

T = TypeVar("T")

_HEADERS: Final = ("x-spine-provider", "x-spine-hint", "x-spine-strategy", "x-spine-fallback")
_OF_ROUTING: Final = ("provider", "provider_hint", "routing", "fallback")


# Each name is looked up, so a list of them must have an end.
_MOST_NAMES: Final = 64
_Names: TypeAlias = Annotated[tuple[str, ...], Meta(max_length=_MOST_NAMES)]


class _Routing(Struct, forbid_unknown_fields=True):
    strategy: str | None = None
    max_cost_usd: Decimal | None = None
    preferred_providers: _Names = ()


class _Own(Struct):
    """The gateway's own fields that say where a request shall go."""

    provider: str | None = None
    provider_hint: str | None = None
    routing: _Routing | None = None
    fallback: bool | _Names | None = None


_own: Final = msgspec.json.Decoder(_Own)
_fields: Final = msgspec.json.Decoder(dict[str, Raw])


def read_fields(body: bytes) -> dict[str, Raw]:
    """Return the fields of a body, each as it came; of a field given twice, the last.

    Raises:
        InvalidRequestError: The body is not a JSON object in UTF-8, or nested too deeply.
    """
    try:
        if not body.isascii():
            # Raw fields are not looked into, so broken UTF-8 would pass.
            body.decode()
        return _fields.decode(body)
    except msgspec.ValidationError as error:
        message = "the body must be a JSON object"
        raise InvalidRequestError(message) from error
    except msgspec.DecodeError as error:
        message = f"the body is not valid JSON: {error}"
        raise InvalidRequestError(message) from error
    except UnicodeDecodeError as error:
        message = "the body is not valid UTF-8"
        raise InvalidRequestError(message) from error
    except RecursionError as error:
        message = "the body is nested too deeply"
        raise InvalidRequestError(message) from error


def read_typed(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return the fields that ``decoder`` declares, their types checked.

    Raises:
        InvalidFieldError: One is of another type; ``param`` names it.
        InvalidRequestError: The body is nested too deeply.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        param = where.rstrip("`").lstrip(".") or None
        raise InvalidFieldError(f"{param}: {what}" if param else what, param=param) from error
    except RecursionError as error:
        message = "the body is nested too deeply"
        raise InvalidRequestError(message) from error


def read_wishes(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> Wishes:
    """Return what a request says of where it shall go, in fields of its body or, where these are silent, in headers.

    Raises:
        InvalidFieldError: A field is of the wrong type, or an amount is none; ``param`` names it.
    """
    told = {name: fields[name] for name in _OF_ROUTING if name in fields and not _is_foreign(name, fields[name])}
    by_header = [headers.get(name) for name in _HEADERS]
    if not told and not any(by_header):
        return NO_WISHES
    own = read_typed(_own, msgspec.json.encode(told))
    routing = own.routing or _Routing()
    provider, hint, strategy, fallback = by_header
    return Wishes(
        provider=own.provider or provider,
        strategy=routing.strategy or strategy,
        hint=own.provider_hint or hint,
        fallback=_fallback(fallback) if own.fallback is None else own.fallback,
        preferred=routing.preferred_providers,
        max_cost=None if routing.max_cost_usd is None else _picodollars(routing.max_cost_usd),
    )


def _fallback(header: str | None) -> Fallback:
    if header is None or not (text := header.strip()):
        return None
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    names = tuple(name for name in (piece.strip() for piece in text.split(",")) if name)
    if len(names) > _MOST_NAMES:
        message = f"x-spine-fallback: must hold at most {_MOST_NAMES} names"
        raise InvalidFieldError(message, param="fallback")
    return names


def _picodollars(amount: Decimal) -> int:
    param = "routing.max_cost_usd"
    try:
        found = picodollars_from(amount)
    except ValueError as error:
        message = f"{param}: {error}"
        raise InvalidFieldError(message, param=param) from error
    if found < 0:
        message = f"{param}: must not be negative"
        raise InvalidFieldError(message, param=param)
    return found


def told_in(fields: Mapping[str, Raw], name: str, *signs: bytes) -> bool:
    """Return whether the text of a field holds one of some signs, without reading it.

    With its quotation marks a JSON string is found only as such: inside a text they would be escaped.
    """
    field = fields.get(name)
    if field is None:
        return False
    text = bytes(field)
    return any(sign in text for sign in signs)


def with_number(fields: Mapping[str, Raw], path: Sequence[str], number: int) -> dict[str, Raw]:
    """Return fields with a number under a path of one name, or of two."""
    name, *within = path
    value: object = number
    if within:
        told = msgspec.json.decode(fields[name]) if name in fields else None
        value = {**(told or {}), within[0]: number}
    return {**fields, name: Raw(msgspec.json.encode(value))}


def without_own(extras: JsonObject) -> JsonObject:
    """Return fields without the gateway's own."""
    return {
        name: value
        for name, value in extras.items()
        if name not in EXTENSION_FIELDS or (name == "provider" and isinstance(value, dict))
    }


def _is_foreign(name: str, value: Raw) -> bool:
    """OpenRouter has an object under the name of our ``provider``, which is a string: that one belongs to it."""
    return name == "provider" and bytes(value).startswith(b"{")


def splice(fields: dict[str, Raw], model: str | None) -> bytes:
    """Return a body of ``fields`` for ``model``, without the gateway's own; None where the model stands in the path.

    It is always written anew: in the body as it came, a field given twice might mean one thing here and another
    upstream.
    """
    named = {name: value for name, value in fields.items() if name not in EXTENSION_FIELDS or _is_foreign(name, value)}
    if model is None:
        named.pop("model", None)
    else:
        named["model"] = Raw(msgspec.json.encode(model))
    return msgspec.json.encode(named)
