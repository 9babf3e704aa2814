"""Reading a JSON object field by field: each is taken once, by the type it must have, and what nobody took is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, TypeVar

import msgspec

from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError, SpineError
from genai_spine.types.json import Json, JsonObject

__all__ = [
    "Fields",
    "dump",
    "dump_text",
    "glimpse",
    "load",
    "request_fault",
    "request_object",
    "response_fault",
    "response_object",
    "text_in",
]

T = TypeVar("T")

Fault: TypeAlias = Callable[[str, str], SpineError]
"""Makes the error to raise from a message and the path of the field at fault."""

Body: TypeAlias = bytes | msgspec.Raw
"""JSON that has not been looked into."""

_NAMES: Final = {str: "a string", bool: "true or false", int: "an integer", float: "a number", list: "an array"}

load: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def dump(value: Json) -> bytes:
    """Return ``value`` as compact JSON.

    Raises:
        InvalidRequestError: It is nested too deeply. What was read passed the same limit with less around it.
    """
    try:
        return _encode(value)
    except RecursionError as error:
        message = "the body is nested too deeply"
        raise InvalidRequestError(message) from error


def dump_text(value: Json) -> str:
    """Return ``value`` as compact JSON text."""
    return dump(value).decode()


def glimpse(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """Return the few fields of an answer that ``decoder`` declares; None where it is no such answer."""
    try:
        if not body.isascii():
            # What is not declared is not looked into, so broken UTF-8 would pass.
            body.decode()
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text_in(value: Json, name: str) -> str:
    """Return the text in a field of an object; empty where there is no object, or no text in it."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def request_fault(message: str, path: str) -> SpineError:
    """The fault of a caller's field."""
    return InvalidFieldError(f"{path}: {message}" if path else message, param=path or None)


def response_fault(message: str, path: str) -> SpineError:
    """The fault of an upstream's field."""
    return MalformedResponseError(f"the provider's answer is malformed: {path}: {message}")


def _read_object(body: Body, fault: Fault, broken: Callable[[str], SpineError], path: str) -> Fields:
    try:
        value: Json = load(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise broken(str(error)) from error
    return Fields(value, path, fault=fault)


def request_object(body: Body, path: str = "") -> Fields:
    """Read a caller's body, or an object in it that has not been looked into yet and stands at ``path``.

    Raises:
        InvalidRequestError: It is not JSON, or nested too deeply.
        InvalidFieldError: It is JSON, but no object.
    """
    what = "the body is not valid JSON"
    return _read_object(body, request_fault, lambda why: InvalidRequestError(f"{what}: {why}"), path)


def response_object(body: Body, path: str = "") -> Fields:
    """Read an upstream's body, or an object in it that has not been looked into yet and stands at ``path``.

    Raises:
        MalformedResponseError: It is not a JSON object.
    """
    what = "the provider's answer is not valid JSON"
    return _read_object(body, response_fault, lambda why: MalformedResponseError(f"{what}: {why}"), path)


class Fields:
    """One JSON object, being read.

    A field that is null counts as absent. Each method raises what ``fault`` makes, naming the field's path, if the
    field is of another type.
    """

    __slots__ = ("_fault", "_left", "path")

    def __init__(self, value: Json, path: str = "", *, fault: Fault = request_fault) -> None:
        if not isinstance(value, dict):
            message = "must be an object"
            raise fault(message, path)
        self._left = dict(value)
        self._fault = fault
        self.path = path

    def at(self, name: str) -> str:
        """The path of the field ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, message: str) -> SpineError:
        """The error to raise for the field ``name``."""
        return self._fault(message, self.at(name))

    def take(self, name: str) -> Json:
        """Take a field of any type."""
        return self._left.pop(name, None)

    def peek(self, name: str) -> Json:
        """Look at a field without taking it."""
        return self._left.get(name)

    def __contains__(self, name: str) -> bool:
        return self._left.get(name) is not None

    def text(self, name: str) -> str | None:
        """Take a string."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, str):
            return value
        raise self._mistyped(name, str)

    def need_text(self, name: str) -> str:
        """Take a string that must be there."""
        value = self.text(name)
        if value is None:
            message = "is required and must be a string"
            raise self.wrong(name, message)
        return value

    def flag(self, name: str) -> bool | None:
        """Take true or false."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        raise self._mistyped(name, bool)

    def integer(self, name: str) -> int | None:
        """Take an integer; one written as ``3.0`` counts."""
        value = self._left.pop(name, None)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._mistyped(name, int)

    def number(self, name: str) -> float | None:
        """Take a number."""
        value = self._left.pop(name, None)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self._mistyped(name, float)

    def items(self, name: str) -> list[Json] | None:
        """Take an array."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, list):
            return value
        raise self._mistyped(name, list)

    def texts(self, name: str) -> tuple[str, ...]:
        """Take an array of strings, or one string as an array of one."""
        value = self._left.pop(name, None)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list):
            found = tuple(item for item in value if isinstance(item, str))
            if len(found) == len(value):
                return found
        message = "must be a string or an array of strings"
        raise self.wrong(name, message)

    def object(self, name: str) -> JsonObject | None:
        """Take an object as it is."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        message = "must be an object"
        raise self.wrong(name, message)

    def child(self, name: str) -> Fields | None:
        """Take an object, to be read in its turn."""
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, self.at(name), fault=self._fault)

    def need_child(self, name: str) -> Fields:
        """Take an object that must be there, to be read in its turn."""
        return Fields(self._left.pop(name, None), self.at(name), fault=self._fault)

    def children(self, name: str) -> Iterator[Fields]:
        """Take an array of objects, each to be read in its turn; nothing if it is absent."""
        for number, value in enumerate(self.items(name) or ()):
            yield Fields(value, f"{self.at(name)}[{number}]", fault=self._fault)

    def rest(self) -> JsonObject:
        """What nobody took."""
        return self._left

    def told(self) -> JsonObject:
        """What nobody took and is not null."""
        return {name: value for name, value in self._left.items() if value is not None}

    def _mistyped(self, name: str, kind: type) -> SpineError:
        return self.wrong(name, f"must be {_NAMES[kind]}")
