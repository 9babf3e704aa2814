"""Which provider and model a request means: the rules in the order in which they count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from genai_spine.errors import InvalidRequestError, SpineError
from genai_spine.types.candidate import Candidate

__all__ = ["AUTO", "Known", "Place", "Resolved", "candidates", "resolve"]

AUTO: Final = "auto"
"""Named as the model, it leaves the choice to the gateway."""
_BEDROCK: Final = re.compile(
    r"^(?:us|us-gov|eu|apac|jp|au|ca|sa|in|global)\.[a-z0-9]+\."
    r"|^(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|moonshotai|nvidia|openai|qwen|writer|zai)\."
    r"|^arn:aws"
)


class Place(Struct, frozen=True):
    """A provider as the rules see it.

    Attributes:
        usable: It is configured.
        open_models: It serves models beyond ``models``: any, if that is empty.
        local: It runs on the user's own machines.
    """

    name: str
    usable: bool
    models: frozenset[str]
    default_model: str
    open_models: bool
    local: bool = False


class Resolved(Struct, frozen=True):
    """Where a request may go, best first.

    Attributes:
        names: What the request named: a place and no other, a model wherever it is, or nothing.
    """

    candidates: list[Candidate]
    names: Literal["place", "model", "nothing"]


class Known(Protocol):
    """What the rules must be told."""

    def place(self, name: str) -> Place | None:
        """The provider of a name, configured or not; None if there is none."""
        ...

    def places(self) -> Sequence[Place]:
        """All real providers."""
        ...

    def default_place(self) -> Place | None:
        """The default provider."""
        ...

    def last_resort(self) -> Place | None:
        """The provider that answers where no real one is configured."""
        ...

    def home(self, model: str) -> str | None:
        """The provider that an id belongs to by how it begins."""
        ...

    def serves(self, name: str, model: str) -> bool:
        """Whether a provider is known to serve a model of just this id."""
        ...

    def unknown_provider(self, name: str) -> SpineError:
        """The error for a provider that does not exist."""
        ...

    def unknown_model(self, model: str) -> SpineError:
        """The error for a model that nobody serves."""
        ...


def candidates(model: str | None, provider: str | None, known: Known) -> list[Candidate]:
    """Return where a request may go, as ``resolve`` does, without what it named."""
    return resolve(model, provider, known).candidates


def resolve(model: str | None, provider: str | None, known: Known) -> Resolved:
    """Return where a request may go, best first.

    A provider that the caller named is returned whether it is configured or not: that it is not is then the answer.

    Raises:
        SpineError: The provider is unknown, contradicts the model, or nobody serves the model.
    """
    if provider is not None:
        return Resolved([_named(model, provider, known)], "place")
    if model is None or model == AUTO:
        return Resolved(_any(known), "nothing")
    prefixed = _prefixed(model, known)
    if prefixed is not None and known.serves(prefixed[0].name, prefixed[1]):
        return Resolved([Candidate(prefixed[0].name, prefixed[1], "the model names its provider")], "place")
    listed = [place for place in known.places() if _lists(place, model, known)]
    if usable := [place for place in listed if place.usable]:
        return Resolved([Candidate(place.name, model, "the provider lists the model") for place in usable], "model")
    if prefixed is not None:
        return Resolved([Candidate(prefixed[0].name, prefixed[1], "the model names its provider")], "place")
    return Resolved([_placed(model, listed, known)], "model")


def _placed(model: str, listed: Sequence[Place], known: Known) -> Candidate:
    """The place of a model that nobody who is configured lists."""
    for name, reason in _by_form(model, known):
        place = known.place(name)
        if place is not None:
            return Candidate(name, model, reason)
    if listed:
        return Candidate(listed[0].name, model, "the provider lists the model")
    default = known.default_place()
    if default is not None and default.usable and default.open_models:
        return Candidate(default.name, model, "nothing else places the model: the default provider")
    raise known.unknown_model(model)


def _named(model: str | None, provider: str, known: Known) -> Candidate:
    place = known.place(provider)
    if place is None:
        raise known.unknown_provider(provider)
    if model is None or model == AUTO:
        return Candidate(provider, place.default_model, "the request names the provider; its default model")
    prefixed = _prefixed(model, known)
    if prefixed is not None and not known.serves(provider, model):
        other, rest = prefixed
        if other.name == provider:
            return Candidate(provider, rest, "the request names the provider, and the model too")
        if not place.open_models:
            message = f"the request names the provider {provider!r}, but the model {model!r} names {other.name!r}"
            raise InvalidRequestError(message, param="provider")
    return Candidate(provider, model, "the request names the provider")


def _lists(place: Place, model: str, known: Known) -> bool:
    """Whether a provider serves the id as it stands; an id with a slash may be another's, with that one's prefix."""
    return model in place.models or ("/" in model and place.usable and known.serves(place.name, model))


def _prefixed(model: str, known: Known) -> tuple[Place, str] | None:
    name, slash, rest = model.partition("/")
    if not slash or not rest:
        return None
    place = known.place(name)
    return None if place is None else (place, rest)


def _by_form(model: str, known: Known) -> list[tuple[str, str]]:
    """The homes that an id's form suggests, the surest first."""
    found: list[tuple[str, str]] = []
    if _BEDROCK.match(model):
        found.append(("bedrock", "an id of Bedrock's form"))
    if model.startswith("ft:"):
        found.append(("openai", "a fine-tuned model's id"))
    elif ":" in model:
        found.append(("ollama", "an id with a tag"))
    if (home := known.home(model)) is not None:
        found.append((home, "how the id begins"))
    return found


def _any(known: Known) -> list[Candidate]:
    usable = [place for place in known.places() if place.usable and place.default_model]
    default = known.default_place()
    if default is not None and default in usable:
        usable.remove(default)
        usable.insert(0, default)
    if not usable and (last := known.last_resort()) is not None:
        return [Candidate(last.name, last.default_model, "no real provider is configured")]
    return [Candidate(place.name, place.default_model, "no model named: the provider's default") for place in usable]
