"""The catalogue of models: facts by the longest rule, and homes by how an id begins."""

from __future__ import annotations

import pytest

from genai_spine.catalog.models import ModelCatalog
from genai_spine.providers.rows import builtin_rows
from genai_spine.types.models import ModelFacts

CATALOG = ModelCatalog.builtin()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("o1-preview", "openai"),
        ("o4-mini", "openai"),
        ("Claude-3-Opus", "anthropic"),
        ("gemini-2.5-flash", "google"),
        ("gemma2-9b-it", "groq"),
        ("llama-3.3-70b", "groq"),
        ("mixtral-8x7b", "groq"),
        ("deepseek-chat", "deepseek"),
        ("MiniMax-M2", "minimax"),
        ("abab6.5s-chat", "minimax"),
        ("qwen3", None),
        ("openai/gpt-4o", None),
        ("", None),
    ],
)
def test_the_home_of_an_id(model: str, expected: str | None) -> None:
    """The provider that an id belongs to, whatever its case; none for one that no rule fits."""
    assert expected == CATALOG.home(model)


@pytest.mark.parametrize(
    ("model", "sampling", "thinking", "most"),
    [
        ("claude-3-5-sonnet-20241022", True, None, 8192),
        ("claude-3-7-sonnet-latest", True, "budget", 64000),
        ("claude-sonnet-4-5", True, "budget", 64000),
        ("claude-sonnet-4-6", True, "adaptive", 64000),
        ("claude-opus-4-8", False, "adaptive", 64000),
        ("claude-sonnet-5-5", False, "adaptive", 64000),
        ("anthropic/claude-opus-4-1", True, "budget", 32000),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", True, None, 4096),
        ("anthropic.claude-3-opus-20240229-v1:0", True, None, 4096),
        ("gemini-2.0-flash", True, None, None),
        ("gemini-2.5-flash", True, "budget", 65536),
        ("google/gemini-2.5-pro-preview-03-25", True, "budget", 65536),
        ("gemini-2.5-flash-image", True, None, None),
        ("gemini-3-pro-preview", True, "level", 65536),
        ("gemini-3.5-flash", True, "level", 65536),
        ("openai/o3-mini", False, None, None),
        ("gpt-5-mini", False, None, None),
        ("gpt-5-chat-latest", True, None, None),
        ("gpt-4o", True, None, None),
        ("accounts/fireworks/models/gpt-oss-120b", True, None, None),
    ],
)
def test_facts(model: str, *, sampling: bool, thinking: str | None, most: int | None) -> None:
    """The longest rule counts, and vendors' and regions' prefixes do not hide the model."""
    facts = CATALOG.facts(model)
    assert (sampling, thinking, most) == (facts.sampling, facts.thinking, facts.max_output_tokens)


def test_how_gemini_thinks() -> None:
    """Which degrees and budgets a model takes, and whether it can be told not to think, differs by model."""
    pro, flash = CATALOG.facts("gemini-3-pro-preview"), CATALOG.facts("gemini-3-flash-preview")
    assert (("low", "high"), ("minimal", "low", "medium", "high")) == (pro.efforts, flash.efforts)
    assert (True, True) == (pro.media_results, pro.thinks_always)
    older, lite = CATALOG.facts("gemini-2.5-pro"), CATALOG.facts("gemini-2.5-flash-lite")
    assert ((128, 32_768), True) == (older.thinking_range, older.thinks_always)
    assert ((512, 24_576), False) == (lite.thinking_range, lite.thinks_by_default)


def test_an_unknown_model() -> None:
    """Of a model that nobody has heard of nothing is assumed."""
    assert CATALOG.facts("zzz") == ModelFacts()


def test_the_longest_rule_whatever_the_order() -> None:
    """The order of the rules does not count, their length does."""
    rules = {"a": "short", "abc": "long", "ab": "middle"}
    for order in (list(rules), list(reversed(rules))):
        catalog = ModelCatalog({name: rules[name] for name in order}, {})
        assert ["short", "middle", "long", "long"] == [catalog.home(text) for text in ("ax", "abx", "abc", "abcd")]


def test_homes_are_providers() -> None:
    """Every home is a provider that ships, or one that is on its way and known by name."""
    homes = {CATALOG.home(model) for model in ("deepseek", "llama", "claude", "minimax", "gpt")}
    assert homes <= set(builtin_rows())
