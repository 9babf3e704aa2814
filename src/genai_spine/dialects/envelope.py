"""Reading a body only as far as routing needs, and writing it again with few fields changed."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.types.json import JsonObject

__all__ = ["EXTENSION_FIELDS", "read_fields", "read_typed", "splice", "without_own"]

EXTENSION_FIELDS: Final = ("provider", "provider_hint", "routing", "fallback", "task_type")
"""The gateway's own fields in a body: never sent upstream."""

T = TypeVar("T")

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
