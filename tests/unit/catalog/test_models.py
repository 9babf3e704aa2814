"""The catalogue of models: facts by the longest rule, homes by how an id begins, and what is one model elsewhere."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final

import pytest

from genai_spine import get_provider_for_model
from genai_spine.catalog.book import PriceBook
from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices
from genai_spine.providers.rows import builtin_rows
from genai_spine.settings import ModelFile
from genai_spine.testing.clock import ManualClock
from genai_spine.types.models import Model, ModelFacts

CATALOG = ModelCatalog.builtin()
ROWS: Final[dict[str, Any]] = tomllib.loads(
    files("genai_spine.catalog").joinpath("models.toml").read_text(encoding="utf-8")
)


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
        ("openai/o3-mini", False, None, 100000),
        ("gpt-5-mini", False, None, 128000),
        ("gpt-5-chat-latest", True, None, 16384),
        ("gpt-4o", True, None, 16384),
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


def test_who_never_thinks() -> None:
    """A model whose abilities are known and hold no thinking; the user's word on them is the last."""
    assert [True, True, False, False] == [
        CATALOG.facts(model).thinks_never for model in ("openai/gpt-4o-mini", "text-embedding-3-small", "o3", "zzz")
    ]
    known = catalog(own={"openai/gpt-4o": {"abilities": ["thinking"]}, "zzz": {"abilities": ["tools"]}})
    assert not known.facts("gpt-4o", "openai").thinks_never
    assert known.facts("gpt-4o", "azure").thinks_never
    assert known.facts("zzz").thinks_never


def test_who_is_told_how_to_think_may_think() -> None:
    """No model that has a way to be told how hard to think passes for one that cannot."""
    told = [name for name, facts in ROWS["facts"].items() if "thinking" in facts]
    assert "gemini-3" in told
    assert [] == [name for name in told if CATALOG.facts(name).thinks_never]


def test_homes_are_providers() -> None:
    """Every home is a provider that ships, or one that is on its way and known by name."""
    homes = {CATALOG.home(model) for model in ("deepseek", "llama", "claude", "minimax", "gpt")}
    assert homes <= set(builtin_rows())


def test_local_providers_are_those_of_the_rows() -> None:
    """Who costs nothing by the catalogue is who runs on the user's own machines by the rows, and the simulator."""
    assert {"simulator"} | {name for name, row in builtin_rows().items() if row.local} == CATALOG.local


UNPRICED: Final = ("fireworks", "accounts/fireworks/models/llama-v3p3-70b-instruct")


def catalog(day: int = 20, own: Mapping[str, object] | None = None) -> ModelCatalog:
    """A catalogue on a day of November 2026, with the user's own tables."""
    now = datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()
    tables = {name: ModelFile.model_validate(table) for name, table in (own or {}).items()}
    return ModelCatalog(PriceBook(), own=tables, clock=ManualClock(now=now))


# Where a model belongs.


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "openai"),
        ("azure/gpt-4o", "azure"),
        ("ollama/gpt-4o", "ollama"),
        ("nobody/gpt-4o", None),
        ("llama-3.1-8b-instruct", "scaleway"),
        ("llama-3.3-70b-versatile", "groq"),
        ("llama-9-unheard-of", "groq"),
        ("claude-3-opus", "anthropic"),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "bedrock"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/x", "bedrock"),
        ("ft:gpt-4o-mini:acme::1", "openai"),
        ("llama3.2:latest", "ollama"),
        ("mistral-large-latest", "mistral"),
        ("abab6.5s-chat", "minimax"),
        ("nothing-like-it", None),
        ("", None),
    ],
)
def test_the_provider_of_a_model(model: str, expected: str | None) -> None:
    """A provider named before it, who serves just that id, its form, how it begins, in this order; else nobody."""
    assert expected == get_provider_for_model(model)


# What is one model.


@pytest.mark.parametrize("family", ROWS["same"])
def test_ids_of_one_model(family: str) -> None:
    """Each id is its provider's: it has a price there, or a row, but for one that the price list has dropped."""
    prices = Prices.builtin()
    for provider, models in ROWS["same"][family].items():
        for model in models:
            assert {family} == {CATALOG.family(provider, model)}
            known = prices.rate(provider, model) is not None
            if provider == "scaleway":
                assert model in builtin_rows()["scaleway"].models
            else:
                assert known == ((provider, model) != UNPRICED), (provider, model)


def test_the_same_model_elsewhere() -> None:
    """Of a model are told the others who serve it, with the ids that they have for it, never the one who was asked."""
    elsewhere = dict(CATALOG.elsewhere("groq", "llama-3.3-70b-versatile"))
    assert {"together", "scaleway", "fireworks", "cerebras", "bedrock", "openrouter"} == set(elsewhere)
    assert "llama-3.3-70b-instruct" == elsewhere["scaleway"]
    back = dict(CATALOG.elsewhere("bedrock", "eu.meta.llama3-3-70b-instruct-v1:0"))
    assert ("llama-3.3-70b-versatile", False) == (back["groq"], "bedrock" in back)
    assert () == CATALOG.elsewhere("openai", "whisper-1")
    assert () == CATALOG.elsewhere("openai", "llama-3.3-70b-versatile")


# What is known of a model.


def test_a_model_described() -> None:
    """The price list and the rows tell one story, whoever serves the model."""
    can = frozenset({"tools", "structured_output", "vision", "thinking", "streaming"})
    described = CATALOG.describe("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0")
    assert (200_000, 64_000, can, "claude-haiku-4-5") == (
        described.max_input_tokens,
        described.max_output_tokens,
        described.abilities,
        described.same_as,
    )
    assert CATALOG.describe("anthropic", "claude-haiku-4-5").quality_rank == described.quality_rank
    assert frozenset({"embeddings"}) == CATALOG.describe("openai", "text-embedding-3-small").abilities
    assert "GPT-4o" == CATALOG.describe("openai", "gpt-4o").display_name.upper().replace("GPT 4O", "GPT-4O").replace(
        "4O", "4o"
    )


def test_a_model_that_nobody_knows() -> None:
    """It is described as what its name says, and no more."""
    expected = Model(id="zzz", provider="openai", owned_by="openai")
    assert expected == CATALOG.describe("openai", "zzz")


def test_what_the_provider_says_comes_first() -> None:
    """A limit or a lifecycle that the provider tells itself wins over the catalogue's."""
    told = Model(id="claude-haiku-4-5", provider="anthropic", max_input_tokens=7, lifecycle="deprecated")
    completed = CATALOG.complete(told)
    assert (7, "deprecated", None) == (completed.max_input_tokens, completed.lifecycle, completed.replaced_by)


@pytest.mark.parametrize(
    ("provider", "model", "day", "expected"),
    [
        ("anthropic", "claude-3-5-sonnet-20241022", 20, ("retired", "claude-sonnet-5-5")),
        ("anthropic", "claude-sonnet-4-5", 29, ("deprecated", "claude-sonnet-5-5")),
        ("anthropic", "claude-sonnet-4-5", 30, ("retired", "claude-sonnet-5-5")),
        ("bedrock", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", 20, ("active", None)),
        ("google", "gemini-2.0-flash", 20, ("deprecated", None)),
        ("openai", "gpt-4o", 20, ("active", None)),
    ],
)
def test_the_end_of_a_model(provider: str, model: str, day: int, expected: tuple[str, str | None]) -> None:
    """Until its day a model is deprecated, from then on retired, at the provider that said so and at no other."""
    known = catalog(day)
    described = known.describe(provider, model)
    assert expected == (described.lifecycle, described.replaced_by)
    assert (expected[1] if expected[0] == "retired" else model) == known.successor(provider, model)


@pytest.mark.parametrize("provider", ROWS["retired"])
def test_successors_are_there(provider: str) -> None:
    """What takes the place of a retired model is not retired itself, and has a price."""
    for retirement in ROWS["retired"][provider].values():
        assert retirement["for"] not in ROWS["retired"][provider]
        assert Prices.builtin().rate(provider, retirement["for"]) is not None


# Ranks.


def test_better_models_have_lesser_ranks() -> None:
    """The fixed points stand in their order, and in each line the newer and the larger before the older and smaller."""
    lines = [
        ["gpt-4o", "claude-3-opus", "llama-3.1-70b-instruct", "llama-3.1-8b-instruct"],
        ["gpt-6-sol", "gpt-5", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo"],
        ["gpt-5-pro", "gpt-5", "gpt-5-mini", "gpt-5-nano"],
        ["claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-6", "claude-opus-4-1", "claude-3-opus"],
        ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"],
        ["gemini-3.1-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"],
        ["llama-4-maverick", "llama-3.3-70b", "llama-3.1-70b", "llama-3.1-8b", "llama-3.2-1b"],
    ]
    for line in lines:
        ranks = [CATALOG.describe("", model).quality_rank or 0 for model in line]
        assert all(better < worse for better, worse in pairwise(ranks)), dict(zip(line, ranks, strict=True))


def test_the_same_model_has_one_rank() -> None:
    """However its providers call it, a model stands in one place, and can do the same."""
    for family, places in ROWS["same"].items():
        described = [CATALOG.describe(name, model) for name, models in places.items() for model in models]
        assert 1 == len({model.quality_rank for model in described}), family
        assert 1 == len({model.abilities for model in described}), family


def test_every_default_model_is_known() -> None:
    """Of the models that answer where a caller names none, it is known what they can do and how good they are."""
    for name, row in builtin_rows().items():
        if row.default_model:
            described = CATALOG.describe(name, CATALOG.successor(name, row.default_model))
            assert described.abilities is not None, name
            assert described.quality_rank is not None, name


def test_every_default_model_for_embeddings_makes_them() -> None:
    """What a row names for embeddings is known to make them, and to do nothing else."""
    named = {name: row.embedding_model for name, row in builtin_rows().items() if row.embedding_model}
    assert "openai" in named
    assert dict.fromkeys(named, frozenset({"embeddings"})) == {
        name: CATALOG.describe(name, model).abilities for name, model in named.items()
    }


# The user's own.


def test_the_users_word_is_the_last() -> None:
    """What stands in the user's file wins over the rows and the provider, for one provider or for all."""
    known = catalog(
        own={
            "groq/llama-3.1-8b-instant": {"max_input_tokens": 8000, "abilities": ["tools"], "quality_rank": 5},
            "GPT-4o": {"lifecycle": "retired", "replaced_by": "gpt-6-luna", "max_output_tokens": 100},
        }
    )
    described = known.describe("groq", "llama-3.1-8b-instant")
    assert (8000, frozenset({"tools"}), 5) == (
        described.max_input_tokens,
        described.abilities,
        described.quality_rank,
    )
    assert "llama-3.1-8b" == described.same_as
    assert CATALOG.describe("cerebras", "llama-3.1-8b-instant") == known.describe("cerebras", "llama-3.1-8b-instant")
    assert ["gpt-6-luna"] * 2 == [known.successor(provider, "gpt-4o") for provider in ("openai", "azure")]
    assert 100 == known.facts("gpt-4o", "openai").max_output_tokens
    assert 7 == known.complete(Model(id="gpt-4o", provider="openai", max_input_tokens=7)).max_input_tokens


def test_a_user_may_say_what_is_one_model() -> None:
    """A model of the user's own provider stands in for the same one elsewhere, and the other way round."""
    known = catalog(own={"mine/Big-Llama": {"same_as": "llama-3.3-70b"}, "other/x": {"same_as": "x"}})
    assert "Big-Llama" == dict(known.elsewhere("groq", "llama-3.3-70b-versatile"))["mine"]
    assert "llama-3.3-70b-versatile" == dict(known.elsewhere("mine", "big-llama"))["groq"]
    assert () == known.elsewhere("other", "x")


def test_names_that_callers_make_up_are_forgotten() -> None:
    """A flood of invented names is not kept."""
    known = catalog()
    for number in range(5_000):
        known.describe("minimax", f"invented-{number}")
    assert len(known._described) <= 4_096  # what it holds in memory shows nowhere else
