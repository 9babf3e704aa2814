"""What an answer costs, from the provider's own way of counting to the last digit of the bill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final
from urllib.parse import unquote

import genai_prices
import msgspec
import pytest
from genai_prices.data_snapshot import get_snapshot
from msgspec.structs import replace

from genai_spine.assembly import DIALECTS
from genai_spine.catalog.prices import Cost, Prices
from genai_spine.dialects.base import Quirks
from genai_spine.money import picodollars_from
from genai_spine.providers.rows import builtin_rows
from genai_spine.types.json import JsonObject
from genai_spine.types.usage import Usage
from tests.conformance.recordings import Exchange, exchanges, require

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS: Final = builtin_rows()


def chat(**usage: Any) -> JsonObject:
    """An answer of OpenAI's dialect."""
    choice: JsonObject = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def responses(**usage: Any) -> JsonObject:
    """An answer of OpenAI's newer API."""
    content: JsonObject = {"type": "output_text", "text": "x", "annotations": []}
    item: JsonObject = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    return {"id": "1", "object": "response", "model": "m", "status": "completed", "output": [item], "usage": usage}


def messages(**usage: Any) -> JsonObject:
    """An answer of Anthropic's dialect."""
    content: JsonObject = {"type": "text", "text": "x"}
    head: JsonObject = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    return {**head, "content": [content], "usage": usage}


def content(**usage: Any) -> JsonObject:
    """An answer of Gemini's dialect."""
    candidate: JsonObject = {"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}
    return {"candidates": [candidate], "modelVersion": "m", "usageMetadata": usage}


def converse(**usage: Any) -> JsonObject:
    """An answer of Bedrock's dialect."""
    message: JsonObject = {"role": "assistant", "content": [{"text": "x"}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}


def ollama(**usage: Any) -> JsonObject:
    """An answer of Ollama's dialect."""
    message: JsonObject = {"role": "assistant", "content": "x"}
    head: JsonObject = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
    return {**head, "message": message, **usage}


# A million of everything is easily added up: each amount is the sum of the published prices of its parts.
INVOICES: Final[list[tuple[str, str, str, JsonObject, Usage, str]]] = [
    (
        "openai",
        "openai_chat",
        "gpt-4o",
        chat(
            prompt_tokens=1000,
            completion_tokens=500,
            total_tokens=1500,
            prompt_tokens_details={"cached_tokens": 400},
            completion_tokens_details={"reasoning_tokens": 100},
        ),
        Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=400, reasoning_tokens=100),
        "0.007",  # 600 at 2.50, 400 at 1.25, 500 at 10
    ),
    (
        "openai",
        "openai_responses",
        "gpt-4o-mini",
        responses(
            input_tokens=1000,
            output_tokens=500,
            total_tokens=1500,
            input_tokens_details={"cached_tokens": 1000},
            output_tokens_details={"reasoning_tokens": 0},
        ),
        Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=1000, reasoning_tokens=0),
        "0.000375",  # 1000 at 0.075, 500 at 0.60
    ),
    (
        "anthropic",
        "anthropic_messages",
        "claude-haiku-4-5",
        messages(
            input_tokens=100,
            output_tokens=10,
            cache_read_input_tokens=1000,
            cache_creation_input_tokens=300,
            cache_creation={"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        ),
        Usage(
            input_tokens=1400,
            output_tokens=10,
            cache_read_tokens=1000,
            cache_write_tokens=300,
            cache_write_1h_tokens=100,
        ),
        "0.0007",  # 100 at 1, 1000 at 0.10, 200 at 1.25, 100 at 2, 10 at 5
    ),
    (
        "google",
        "gemini",
        "gemini-2.5-flash",
        content(
            promptTokenCount=1000,
            cachedContentTokenCount=400,
            candidatesTokenCount=100,
            thoughtsTokenCount=900,
            toolUsePromptTokenCount=50,
            totalTokenCount=2050,
        ),
        Usage(input_tokens=1050, output_tokens=1000, cache_read_tokens=400, reasoning_tokens=900),
        "0.002707",  # 650 at 0.30, 400 at 0.03, 1000 at 2.50
    ),
    (
        "bedrock",
        "bedrock_converse",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        converse(
            inputTokens=100,
            outputTokens=10,
            totalTokens=1410,
            cacheReadInputTokens=1000,
            cacheWriteInputTokens=300,
            cacheDetails=[{"ttl": "5m", "inputTokens": 200}, {"ttl": "1h", "inputTokens": 100}],
        ),
        Usage(
            input_tokens=1400,
            output_tokens=10,
            cache_read_tokens=1000,
            cache_write_tokens=300,
            cache_write_1h_tokens=100,
        ),
        "0.00077",  # a tenth more than anthropic's: 100 at 1.10, 1000 at 0.11, 200 at 1.375, 100 at 2.20, 10 at 5.50
    ),
    (
        "deepseek",
        "openai_chat",
        "deepseek-chat",
        chat(
            prompt_tokens=1000,
            completion_tokens=100,
            total_tokens=1100,
            prompt_tokens_details={"cached_tokens": 640},
            prompt_cache_hit_tokens=640,
            prompt_cache_miss_tokens=360,
        ),
        Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=640),
        "0.000252",  # 360 at 0.27, 640 at 0.07, 100 at 1.10
    ),
    (
        "xai",
        "openai_chat",
        "grok-3-mini",
        chat(
            prompt_tokens=1000,
            completion_tokens=100,
            total_tokens=1900,
            completion_tokens_details={"reasoning_tokens": 800},
        ),
        Usage(input_tokens=1000, output_tokens=900, reasoning_tokens=800),
        "0.00075",  # 1000 at 0.30, 900 at 0.50
    ),
    (
        "groq",
        "openai_chat",
        "llama-3.1-8b-instant",
        chat(prompt_tokens=1000, completion_tokens=500, total_tokens=1500, prompt_time=0.1),
        Usage(input_tokens=1000, output_tokens=500),
        "0.00009",  # 1000 at 0.05, 500 at 0.08
    ),
    (
        "minimax",
        "anthropic_messages",
        "MiniMax-M2",
        messages(input_tokens=1000, output_tokens=500),
        Usage(input_tokens=1000, output_tokens=500),
        "0.0009",  # 1000 at 0.30, 500 at 1.20
    ),
    (
        "ollama",
        "ollama",
        "llama3.2:latest",
        ollama(prompt_eval_count=1000, eval_count=500),
        Usage(input_tokens=1000, output_tokens=500),
        "0",
    ),
]


def quirks_of(provider: str) -> Quirks:
    """How a provider departs from its dialect."""
    return ROWS[provider].quirks if provider in ROWS else Quirks()


def counters(usage: Usage) -> tuple[int, ...]:
    """What is charged; what was not told is nothing."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens or 0,
        usage.cache_write_tokens or 0,
        usage.cache_write_1h_tokens or 0,
        usage.reasoning_tokens or 0,
    )


@pytest.mark.parametrize(
    ("provider", "dialect", "model", "body", "usage", "usd"), INVOICES, ids=[f"{row[0]}-{row[1]}" for row in INVOICES]
)
def test_golden_invoices(provider: str, dialect: str, model: str, body: JsonObject, usage: Usage, usd: str) -> None:
    """However a provider counts, each token is charged once, at the price of what was done with it."""
    told = DIALECTS[dialect].decode_response(msgspec.json.encode(body), quirks_of(provider)).usage
    assert told is not None
    assert counters(usage) == counters(told)
    assert Cost(picodollars_from(usd), known=True) == replace(
        Prices.builtin().cost(provider, model, told, NOW), by_kind=None
    )


# Addresses of recorded answers, the provider and dialect that they are, and what the library calls both.
RECORDED: Final = {
    "openai chat": ("*api.openai.com/*chat/completions", "openai", "openai_chat", "openai", "chat"),
    "openai responses": ("*api.openai.com/*/responses", "openai", "openai_responses", "openai", "responses"),
    "anthropic": ("*api.anthropic.com/v1/messages", "anthropic", "anthropic_messages", "anthropic", "default"),
    "google": ("*generativelanguage*:generateContent", "google", "gemini", "google", "default"),
    "groq": ("*api.groq.com*chat/completions", "groq", "openai_chat", "groq", "default"),
    "mistral": ("*api.mistral.ai*chat/completions", "mistral", "openai_chat", "mistral", "default"),
    "deepseek": ("*api.deepseek.com*chat/completions", "deepseek", "openai_chat", "deepseek", "chat"),
    "cerebras": ("*api.cerebras.ai*chat/completions", "cerebras", "openai_chat", "cerebras", "chat"),
    "openrouter": ("*openrouter.ai*chat/completions", "openrouter", "openai_chat", "openrouter", "chat"),
    "bedrock": ("*bedrock-runtime*/converse", "bedrock", "bedrock_converse", "aws", "default"),
}


def _invoice(exchange: Exchange, provider: str, dialect: str) -> tuple[Usage | None, str]:
    """What was used, and the model that used it."""
    response = DIALECTS[dialect].decode_response(exchange.body, quirks_of(provider))
    _, named, rest = exchange.uri.partition("/model/")
    return response.usage, unquote(rest.partition("/")[0]) if named else response.model


def _oracle(exchange: Exchange, theirs: str, flavour: str) -> genai_prices.Usage | None:
    """The same by the library, tokens alone: fees for searches, and what sound costs more, are no part of it."""
    body = msgspec.json.decode(exchange.body)
    if not (body.get("usage") or body.get("usageMetadata")):
        return None
    provider = next(provider for provider in get_snapshot().providers if provider.id == theirs)
    _, usage = provider.extract_usage(body, api_flavor=flavour)
    return genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_reasoning_tokens=usage.output_reasoning_tokens,
    )


def _bill(provider: str, model: str, usage: genai_prices.Usage) -> Cost | None:
    try:
        found = genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=NOW)
    except LookupError:
        return None
    if not {"input_mtok", "output_mtok"} & {name for name, price in vars(found.model_price).items() if price}:
        return None
    return Cost(picodollars_from(found.total_price.quantize(Decimal("1e-12"), ROUND_CEILING)), known=True)


def _differing(uri: str, provider: str, dialect: str, theirs: str, flavour: str) -> Iterator[tuple[object, ...]]:
    for exchange in exchanges(uri, stream=False, failed=False):
        ours, model = _invoice(exchange, provider, dialect)
        oracle = _oracle(exchange, theirs, flavour)
        if ours is None or oracle is None:
            if ours is not None or oracle is not None:
                yield exchange.name, ours, oracle
            continue
        totals = (oracle.input_tokens or 0, oracle.output_tokens or 0, oracle.cache_read_tokens or 0)
        cost = replace(Prices.builtin().cost(provider, model, ours, NOW), by_kind=None)
        if ours.input_tokens < (ours.cache_read_tokens or 0) + (ours.cache_write_tokens or 0):
            continue  # the service told more cached tokens than it read: the library refuses to price that
        if totals != counters(ours)[:3]:
            yield exchange.name, totals, counters(ours)
        elif (cost if cost.known else None) != (bill := _bill(theirs, model, oracle)):
            yield exchange.name, model, cost, bill


@pytest.mark.parametrize("service", RECORDED)
def test_recorded_invoices_are_the_librarys(service: str) -> None:
    """For every recorded answer the tokens are those that the library reads out of it, and so is what they cost."""
    require()
    uri, provider, dialect, theirs, flavour = RECORDED[service]
    assert exchanges(uri, stream=False, failed=False)
    assert [] == list(_differing(uri, provider, dialect, theirs, flavour))
