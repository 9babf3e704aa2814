"""Prices as they are told, stated and taken for nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from genai_spine.catalog.book import PriceBook
from genai_spine.catalog.prices import Prices, Rate, is_free_model, own_rates
from genai_spine.errors import ConfigurationError
from genai_spine.settings import ModelFile
from genai_spine.testing.clock import ManualClock

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("model", "input_price", "output_price", "cache_read", "cache_write"),
    [
        ("openai/gpt-4o", "2.5", "10", "1.25", None),
        ("openai/gpt-4o-mini", "0.15", "0.6", "0.075", None),
        ("anthropic/claude-haiku-4-5", "1", "5", "0.1", "1.25"),
        ("anthropic/claude-3-opus-20240229", "15", "75", "1.5", "18.75"),
        ("google/gemini-2.5-flash", "0.3", "2.5", "0.03", None),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "0.25", "1.25", None, None),
        ("groq/llama-3.3-70b-versatile", "0.59", "0.79", None, None),
        ("together/openai/gpt-oss-120b", "0.15", "0.6", None, None),
        ("deepseek/deepseek-chat", "0.27", "1.1", "0.07", None),
        ("minimax/MiniMax-M2", "0.3", "1.2", "0.03", "0.375"),
        ("ollama/llama3.2:latest", "0", "0", None, None),
        ("vllm/anything", "0", "0", None, None),
    ],
)
def test_prices_per_million(
    model: str, input_price: str, output_price: str, cache_read: str | None, cache_write: str | None
) -> None:
    """The published prices of a model of each provider, in dollars per million tokens."""
    prices = Prices(PriceBook(), clock=ManualClock(now=NOON))
    rate = prices.rate_of(model)
    stated = {"input": input_price, "output": output_price, "cache_read": cache_read, "cache_write": cache_write}
    expected = {name: Decimal(price) for name, price in stated.items() if price is not None}
    told = {} if rate is None else rate.usd_per_million
    told.pop("cache_write_1h", None)

    assert expected == told


def test_a_fine_price_per_million() -> None:
    """A price finer than a picodollar a token is told exactly too."""
    rate = Rate.per_million(input="0.00000025", output="2")

    assert {"input": Decimal("0.00000025"), "output": Decimal(2)} == rate.usd_per_million


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("ollama/llama3.2", True),
        ("llama3.2:latest", True),
        ("openrouter/deepseek/deepseek-r1:free", True),
        ("meta-llama/llama-3.3-70b-instruct:free", True),
        ("openai/text-embedding-3-small", False),
        ("gpt-4o", False),
        ("never-heard-of-it", False),
    ],
)
def test_free_models(model: str, *, expected: bool) -> None:
    """A model is free where it is known to cost nothing at all, not where its price is not known."""
    assert expected is is_free_model(model)


def test_the_prices_in_the_users_file() -> None:
    """A table with prices makes a rate; one without states none."""
    tables = {
        "groq/x": ModelFile.model_validate({"input": Decimal("0.1"), "output": 1, "cache_read": "0.01"}),
        "y": ModelFile(quality_rank=3),
    }
    rates = own_rates(tables)

    assert {"groq/x": Rate.per_million(input="0.1", output="1", cache_read="0.01")} == rates
    with pytest.raises(ConfigurationError, match=r'models\."z": .* not a price for input'):
        own_rates({"z": ModelFile(input=Decimal("1e99"), output=Decimal(1))})


def test_a_free_rate() -> None:
    """A rate is free only if nothing that it states costs anything."""
    free = [Rate(input=0, output=0), Rate(input=0, output=0, cache_read=0)]
    dear = [Rate(input=0, output=1), Rate(input=1, output=0), Rate(input=0, output=0, cache_write=1)]

    assert [True, True, False, False, False] == [rate.free for rate in (*free, *dear)]
