"""The tables of a configuration: providers, models and aliases, as ``spine.toml`` and the database say them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from genai_spine.types.models import Ability, Lifecycle

__all__ = ["AliasTarget", "Frozen", "ModelFile", "ProviderFile", "Targets", "TimeoutSettings"]


class Frozen(BaseModel):
    """A part of the settings. What stands in a file may be a key: neither a fault nor a printed object shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TimeoutSettings(Frozen):
    """How long to wait for a provider, in seconds."""

    connect: float = Field(default=10, gt=0, description="for a connection")
    first_byte: float | None = Field(
        default=None, gt=0, description="from sending to the head of the answer; unset: 120, for a local provider 300"
    )
    between_chunks: float = Field(default=60, gt=0, description="for the next bytes, once the answer has begun")
    total: float = Field(default=600, gt=0, description="for all of it")


class ProviderFile(Frozen):
    """A table ``[providers.NAME]`` of the file: a built-in provider's settings, or a provider of the user's own."""

    is_enabled: bool = Field(default=True, description="false switches it off")
    dialect: str | None = Field(default=None, description="the wire dialect; required for a provider of your own")
    also: dict[str, dict[str, object]] = Field(
        default={}, description="further dialects spoken at the same address, each with its departures"
    )
    url: str | None = Field(default=None, description="base address")
    api_key: str | None = Field(default=None, repr=False, description="one key; better set in the environment")
    api_keys: tuple[str, ...] = Field(default=(), repr=False, description="several keys; better set in the environment")
    default_model: str | None = Field(default=None, description="the model where the caller names none")
    embedding_model: str | None = Field(default=None, description="the same for embeddings")
    max_tokens: int | None = Field(
        default=None, gt=0, description="limit of an answer where the project asks by itself and names none"
    )
    temperature_default: float | None = Field(
        default=None, ge=0, le=2, description="the same of the temperature; unset: 0.7"
    )
    models: tuple[str, ...] = Field(default=(), description="the models it serves")
    local: bool | None = Field(default=None, description="it needs no key and costs nothing")
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] | None = Field(
        default=None, description="how the key is sent"
    )
    headers: dict[str, str] = Field(default={}, repr=False, description="headers to add to each request")
    quirks: dict[str, object] = Field(default={}, description="departures from the dialect, as in the built-in rows")
    weight: float = Field(default=1, ge=0, description="its share where requests are spread by weight")
    timeouts: TimeoutSettings = TimeoutSettings()


class AliasTarget(Frozen):
    """One of the models that an alias stands for; its weight is None where the alias is a list in order."""

    model: str = Field(min_length=1)
    weight: float | None = Field(default=None, ge=0)


def _targets(value: object) -> object:
    """Read an alias as it is written: one model, several in order, or a table of models with their weights."""
    if isinstance(value, str):
        return ({"model": value},)
    if isinstance(value, dict):
        return tuple({"model": model, "weight": weight} for model, weight in value.items())
    if isinstance(value, list):
        return tuple({"model": model} if isinstance(model, str) else model for model in value)
    return value


Targets: TypeAlias = Annotated[tuple[AliasTarget, ...], BeforeValidator(_targets), Field(min_length=1)]


class ModelFile(Frozen):
    """A table ``[models."ID"]`` of the file: what the user knows better of ``provider/model``, or of a model anywhere.

    The prices are in US dollars per million tokens. One of a part that is left out is that of the whole.
    """

    is_enabled: bool = Field(default=True, description="false switches it off; for `provider/model`")
    display_name: str | None = Field(default=None, description="its name for people")
    input: Decimal | None = Field(default=None, ge=0, description="price of what is read; goes with `output`")
    output: Decimal | None = Field(default=None, ge=0, description="price of what is written; goes with `input`")
    cache_read: Decimal | None = Field(default=None, ge=0, description="price of input from the provider's cache")
    cache_write: Decimal | None = Field(default=None, ge=0, description="price of input written to that cache")
    cache_write_1h: Decimal | None = Field(default=None, ge=0, description="price of input kept there for an hour")
    reasoning: Decimal | None = Field(default=None, ge=0, description="price of output spent on thinking")
    max_input_tokens: int | None = Field(default=None, gt=0, description="the most that it reads")
    max_output_tokens: int | None = Field(default=None, gt=0, description="the most that it writes")
    abilities: frozenset[Ability] | None = Field(
        default=None,
        description="all that it can do: vision, tools, structured_output, streaming, thinking, embeddings",
    )
    quality_rank: int | None = Field(default=None, gt=0, description="its place among all models, the best the least")
    lifecycle: Lifecycle | None = Field(default=None, description="active, deprecated or retired")
    replaced_by: str | None = Field(default=None, description="the model that takes its place")
    same_as: str | None = Field(default=None, description="the name that it shares with the same model elsewhere")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        finer = (self.cache_read, self.cache_write, self.cache_write_1h, self.reasoning)
        if (self.input is None) != (self.output is None) or (
            self.input is None and any(price is not None for price in finer)
        ):
            message = "a price needs both input and output"
            raise ValueError(message)
        return self
