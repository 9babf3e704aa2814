"""The data of the genai-prices library, compiled into the files that ``book.py`` reads.

This is the one module that imports the library, which is an extra: those who import this one do so when they need it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import time
from decimal import Decimal
from typing import Final

from genai_prices import types

from genai_spine.catalog.book import FORMAT
from genai_spine.types.json import Json, JsonObject

__all__ = ["PROVIDERS", "compile_prices"]

# Our name and the library's, makers of models first and resellers last: a model named without a provider goes to the
# first that knows it.
PROVIDERS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "minimax": "minimax",
    "xai": "x-ai",
    "moonshotai": "moonshotai",
    "cerebras": "cerebras",
    "groq": "groq",
    "together": "together",
    "fireworks": "fireworks",
    "bedrock": "aws",
    "azure": "azure",
    "openrouter": "openrouter",
}

# The prices per token that the package's own counters can be charged with. The others (audio, images, searches) are
# left out: nothing counts them.
RATES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
}

# A price of 1 USD per million tokens, in picodollars per token.
PICODOLLARS_PER_TOKEN: Final = 10**6


def compile_prices(providers: Sequence[types.Provider], source: str) -> dict[str, str]:
    """Return the text of every file, by its name.

    Args:
        providers: The library's data.
        source: What the files say where it comes from.
    """
    library = {provider.id: provider for provider in providers}
    ours = {theirs: name for name, theirs in PROVIDERS.items()}
    index: list[JsonObject] = []
    files: dict[str, str] = {}
    for name, theirs in PROVIDERS.items():
        provider = library[theirs]
        row: JsonObject = {"name": name}
        if provider.model_match is not None:
            row["makes"] = _clause(provider.model_match)
        if provider.fallback_model_providers:
            row["resells"] = [ours[other] for other in provider.fallback_model_providers]
        index.append(row)
        files[f"{name}.json"] = _lines({"provider": name}, "models", map(_model, provider.models))
    files["index.json"] = _lines({"format": FORMAT, "source": source}, "providers", index)
    return files


def _lines(head: JsonObject, name: str, rows: Iterable[JsonObject]) -> str:
    """A JSON object that ends in a list with one row a line, so that a change of price is a change of one line."""
    opening = _json(head).removesuffix("}")
    return f"{opening},{_json(name)}:[\n" + ",\n".join(map(_json, rows)) + "\n]}\n"


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _model(model: types.ModelInfo) -> JsonObject:
    row: JsonObject = {"id": model.id}
    if model.name:
        row["name"] = model.name
    match = _clause(model.match)
    if match != ["equals", model.id.lower()]:
        row["match"] = match
    if model.context_window is not None:
        row["context"] = model.context_window
    if model.deprecated:
        row["deprecated"] = True
    per = _per(model)
    if per > 1:
        row["per"] = per
    # The library charges an empty price as nothing, whether the model is free or its price was never found out. Only a
    # name that says so is believed.
    free = model.id.endswith(":free")
    prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    row["prices"] = [_condition(price.constraint) | _tariff(price.prices, per, free=free) for price in prices]
    variants: list[Json] = [
        {"when": dict(sorted(variant.when.items())), **_condition(variant.constraint), **tariff}
        for variant in model.price_variants or ()
        if (tariff := _tariff(variant.prices, per))
    ]
    if variants:
        row["variants"] = variants
    return row


def _clause(clause: types.MatchLogic) -> list[Json]:
    """The clause as a list, its kind first; text is in lower case, as the names are that it is compared with."""
    if isinstance(clause, types.ClauseOr):
        return ["or", [_clause(part) for part in clause.or_]]
    if isinstance(clause, types.ClauseAnd):
        return ["and", [_clause(part) for part in clause.and_]]
    if isinstance(clause, types.ClauseRegex):
        return ["regex", clause.regex]
    [(kind, text)] = vars(clause).items()
    return [kind, text.lower()]


def _condition(constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None) -> JsonObject:
    if constraint is None:
        return {}
    if isinstance(constraint, types.StartDateConstraint):
        return {"since": constraint.start_date.isoformat()}
    return {"between": [_utc(constraint.start_time), _utc(constraint.end_time)]}


def _utc(moment: time) -> str:
    if moment.utcoffset():
        message = f"{moment} is not in UTC; teach this module to convert it."
        raise ValueError(message)
    return moment.replace(tzinfo=None).isoformat()


def _tariff(price: types.ModelPrice, per: int, *, free: bool = False) -> JsonObject:
    """The rates in picodollars per ``per`` tokens; one with tiers is ``[rate, above, rate, above, rate ...]``."""
    stated = {key: value for key, value in vars(price).items() if value is not None}
    if not stated and free:
        return {"input": 0, "output": 0}
    tariff: JsonObject = {}
    for key, name in RATES.items():
        value = stated.get(key)
        if isinstance(value, types.TieredPrices):
            steps: list[Json] = [_whole(value.base, per)]
            for tier in value.tiers:
                steps += [tier.start, _whole(tier.price, per)]
            tariff[name] = steps
        elif value is not None:
            tariff[name] = _whole(value, per)
    return tariff


def _whole(usd_per_million: Decimal, per: int) -> int:
    rate = usd_per_million * PICODOLLARS_PER_TOKEN * per
    whole = int(rate)
    if whole != rate:
        message = f"{usd_per_million} USD per million tokens is not a whole number of picodollars per {per} tokens."
        raise ValueError(message)
    return whole


def _per(model: types.ModelInfo) -> int:
    """The least power of ten that makes every rate of the model whole."""
    finest = 0
    for rate in _stated_rates(model):
        exponent = rate.normalize().as_tuple().exponent
        if isinstance(exponent, int):
            finest = min(finest, exponent + len(str(PICODOLLARS_PER_TOKEN)) - 1)
    return int(10**-finest)


def _stated_rates(model: types.ModelInfo) -> Iterator[Decimal]:
    prices = [price.prices for price in model.prices] if isinstance(model.prices, list) else [model.prices]
    prices += [variant.prices for variant in model.price_variants or ()]
    for price in prices:
        for key, value in vars(price).items():
            if key not in RATES or value is None:
                continue
            if isinstance(value, types.TieredPrices):
                yield value.base
                yield from (tier.price for tier in value.tiers)
            else:
                yield value
