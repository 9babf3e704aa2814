"""Rows: every one that ships can be used, users' own become rows, and addresses are understood as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_spine.assembly import DIALECTS
from genai_spine.catalog.models import ModelCatalog
from genai_spine.dialects.base import Quirks
from genai_spine.errors import ConfigurationError
from genai_spine.providers.builtin import provider_from_row, providers
from genai_spine.providers.rows import Row, base_address, builtin_rows, row_from_file
from genai_spine.settings import ProviderFile
from genai_spine.transport.base import Timeouts
from tests.context import context

ROWS = builtin_rows()


@pytest.mark.parametrize(
    ("provider", "written", "expected"),
    [
        # A whole path is cut back.
        ("openai", "https://proxy.example/v1/chat/completions", "https://proxy.example/v1"),
        ("openai", "https://proxy.example/v1/completions/", "https://proxy.example/v1"),
        ("openai", "https://proxy.example/v1/models", "https://proxy.example/v1"),
        ("anthropic", "https://proxy.example/v1/messages", "https://proxy.example"),
        ("anthropic", "https://proxy.example/claude/v1", "https://proxy.example/claude"),
        ("ollama", "http://box:11434/api/chat", "http://box:11434"),
        ("ollama", "http://box:11434/api/generate", "http://box:11434"),
        ("ollama", "http://box:11434/api/", "http://box:11434"),
        ("ollama", "http://box:11434/v1", "http://box:11434"),
        # No path is the provider's own path.
        ("openai", "https://proxy.example", "https://proxy.example/v1"),
        ("openai", "https://proxy.example/", "https://proxy.example/v1"),
        ("groq", "https://proxy.example", "https://proxy.example/openai/v1"),
        ("minimax", "https://proxy.example", "https://proxy.example/anthropic"),
        ("deepseek", "https://proxy.example", "https://proxy.example"),
        # A path of its own stays.
        ("openai", "https://proxy.example/team/v2/", "https://proxy.example/team/v2"),
        # No scheme is http; the address to listen on is that of this machine.
        ("ollama", "localhost:11434", "http://localhost:11434"),
        ("ollama", "0.0.0.0:11435", "http://127.0.0.1:11435"),
        ("ollama", "0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  # nothing listens
        ("ollama", "box", "http://box:11434"),
        ("ollama", "http://box", "http://box"),
        ("openai", "proxy.example", "http://proxy.example/v1"),
        ("vllm", "gpu-box:8000", "http://gpu-box:8000/v1"),
        ("vllm", "[::1]:8000", "http://[::1]:8000/v1"),
        ("vllm", "  http://gpu-box:8000/v1  ", "http://gpu-box:8000/v1"),
        # Azure's endpoint, as its portal shows it, and the address in full.
        ("azure", "https://me.openai.azure.com/", "https://me.openai.azure.com/openai/v1"),
        ("azure", "https://me.openai.azure.com/openai/v1", "https://me.openai.azure.com/openai/v1"),
        ("azure", "https://me.openai.azure.com/openai/v1/chat/completions", "https://me.openai.azure.com/openai/v1"),
        # A query and a fragment mean nothing.
        ("openai", "https://proxy.example/v1?x=1#y", "https://proxy.example/v1"),
    ],
)
def test_an_address_as_users_write_it(provider: str, written: str, expected: str) -> None:
    """The base address meant is found, whatever is there too much or too little."""
    row = ROWS[provider]
    assert expected == base_address(written, row, DIALECTS[row.dialect])


@pytest.mark.parametrize(
    "written",
    [
        "https://user:canary@proxy.example",
        "https://user:can/ary@proxy.example",
        "user:canary@proxy.example",
        "https://canary@proxy.example",
        "ftp://proxy.example",
        "https://",
        "http:///v1",
        "https://[::1",
        "https://host:port",
        "host:99999",
        "",
    ],
)
def test_what_is_no_address(written: str) -> None:
    """Another scheme, no host, or a user and password in it are refused, with how to write it and no password shown."""
    row = ROWS["openai"]
    with pytest.raises(ConfigurationError, match="https://host/path") as caught:
        base_address(written, row, DIALECTS[row.dialect])
    assert "can" not in caught.value.message


@pytest.mark.parametrize("name", ROWS)
def test_every_row_can_be_used(name: str) -> None:
    """Its dialect exists, its address is one, its default is among its models, its successor is not retired."""
    row = ROWS[name]
    dialect = DIALECTS[row.dialect]
    if row.url:
        assert row.url == base_address(row.url, row, dialect)
    if row.models:
        assert row.default_model in row.models
    assert row.default_model or row.local
    catalog = ModelCatalog.builtin()
    default = catalog.successor(name, row.default_model)
    assert catalog.successor(name, default) == default


def test_the_documented_providers_are_there() -> None:
    """The names, dialects and default models that the documentation promises."""
    expected = {
        "ollama": ("ollama", "llama3.2:latest"),
        "openai": ("openai_chat", "gpt-4o-mini"),
        "anthropic": ("anthropic_messages", "claude-3-5-sonnet-20241022"),
        "groq": ("openai_chat", "llama-3.1-8b-instant"),
        "scaleway": ("openai_chat", "llama-3.1-8b-instruct"),
        "deepseek": ("openai_chat", "deepseek-chat"),
    }
    assert expected == {name: (ROWS[name].dialect, ROWS[name].default_model) for name in expected}
    assert len(ROWS["scaleway"].models) == 7


# Rows from the file.


def test_a_row_of_the_users_own() -> None:
    """Dialect and address are enough; what else the file says is in the row."""
    file = ProviderFile(
        dialect="openai_chat",
        url="https://llm.lab.example/v1",
        auth="x-api-key",
        local=True,
        default_model="m",
        models=("m", "n"),
        headers={"X-Team": "blue"},
        quirks={"stream_usage": False},
    )
    assert row_from_file("lab", file, None) == Row(
        dialect="openai_chat",
        url="https://llm.lab.example/v1",
        auth="x-api-key",
        local=True,
        default_model="m",
        models=("m", "n"),
        headers={"X-Team": "blue"},
        quirks=Quirks(stream_usage=False),
    )


@pytest.mark.parametrize("file", [ProviderFile(dialect="openai_chat"), ProviderFile(url="https://x.example")])
def test_a_row_that_lacks_what_it_needs(file: ProviderFile) -> None:
    """Without a dialect or an address there is no provider; the message names the table and both."""
    with pytest.raises(ConfigurationError, match=r"providers\.lab: .* needs dialect and url"):
        row_from_file("lab", file, None)


@pytest.mark.parametrize("quirks", [{"stream_usaeg": False}, {"drop": 5}])
def test_a_wrong_quirk(quirks: dict[str, object]) -> None:
    """An unknown quirk, or one of the wrong type, is told with the table's name."""
    with pytest.raises(ConfigurationError, match=r"providers\.groq\.quirks: "):
        row_from_file("groq", ProviderFile(quirks=quirks), ROWS["groq"])


def test_a_builtin_row_changed_in_part() -> None:
    """What the file does not say stays as it ships, quirks and headers one by one."""
    groq = ROWS["groq"]
    changed = row_from_file("groq", ProviderFile(quirks={"stream_usage": False}, default_model="m"), groq)
    assert changed.default_model == "m"
    assert (False, groq.quirks.drop, groq.quirks.reasoning_field) == (
        changed.quirks.stream_usage,
        changed.quirks.drop,
        changed.quirks.reasoning_field,
    )
    assert groq == row_from_file("groq", ProviderFile(), groq)


def test_further_dialects() -> None:
    """The file may add a dialect, and change one's departures; another first dialect is another service with none."""
    openai = ROWS["openai"]
    added = row_from_file("openai", ProviderFile(also={"ollama": {"image_urls": False}}), openai)
    assert {**openai.also, "ollama": Quirks(image_urls=False)} == added.also
    assert not row_from_file("openai", ProviderFile(dialect="ollama"), openai).also
    with pytest.raises(ConfigurationError, match=r"providers\.openai\.also: "):
        row_from_file("openai", ProviderFile(also={"ollama": {"image_url": False}}), openai)
    with pytest.raises(ConfigurationError, match=r"providers\.lab\.also: unknown dialect 'morse'"):
        provider_from_row(
            "lab", Row(dialect="openai_chat", url="https://x.example", also={"morse": Quirks()}), context()
        )


# Rows made into providers.


def test_without_settings_only_the_simulator_is_ready() -> None:
    """Nothing is configured by itself; each provider says what would configure it."""
    made = {provider.name: provider for provider in providers(context())}
    assert {*ROWS, "simulator"} == set(made)
    assert ["simulator"] == [name for name, provider in made.items() if provider.status == "ready"]
    assert made["openai"].hint == "set OPENAI_API_KEY"
    assert made["scaleway"].hint == "set SCALEWAY_API_KEY (or SCW_SECRET_KEY)"
    assert made["ollama"].hint == "set OLLAMA_API_URL (or OLLAMA_HOST), or start it at http://localhost:11434"
    azure = "set AZURE_API_URL (or AZURE_OPENAI_ENDPOINT) and AZURE_API_KEY (or AZURE_OPENAI_API_KEY)"
    assert azure == made["azure"].hint
    assert made["vllm"].hint == "set VLLM_API_URL, or start it at http://localhost:8000/v1"


@pytest.mark.parametrize("variable", ["SCALEWAY_API_KEY", "SCW_SECRET_KEY", "GENAI_SCALEWAY_API_KEYS"])
def test_a_key_makes_a_hosted_provider_ready(variable: str) -> None:
    """Any of its variables does, and the hint tells which one it was, not its value."""
    made = {provider.name: provider for provider in providers(context({variable: "canary"}))}
    assert ("ready", f"found by {variable}") == (made["scaleway"].status, made["scaleway"].hint)


def test_an_address_makes_a_local_provider_ready() -> None:
    """It needs no key."""
    made = {provider.name: provider for provider in providers(context({"OLLAMA_HOST": "box"}))}
    assert ("ready", "found by OLLAMA_HOST", "http://box:11434") == (
        made["ollama"].status,
        made["ollama"].hint,
        made["ollama"].address,
    )


def test_a_provider_from_the_file(tmp_path: Path) -> None:
    """A table of the user's own is a provider like the others; one without any credentials needs none."""
    path = tmp_path / "spine.toml"
    path.write_text('[providers.lab]\ndialect = "openai_chat"\nurl = "http://llm.lab:9000/v1"\nauth = "none"\n')
    made = {provider.name: provider for provider in providers(context({}, path))}
    lab = made["lab"]
    assert ("ready", "http://llm.lab:9000/v1", f"found by {path}") == (lab.status, lab.address, lab.hint)


def test_an_unknown_dialect(tmp_path: Path) -> None:
    """It is told with the place and those that there are."""
    path = tmp_path / "spine.toml"
    path.write_text('[providers.lab]\ndialect = "klingon"\nurl = "http://llm.lab"\n')
    with pytest.raises(ConfigurationError, match=r"providers\.lab\.dialect: unknown dialect 'klingon'; known .*ollama"):
        list(providers(context({}, path)))


def test_a_wrong_address_names_its_variable() -> None:
    """The operator learns which variable to mend."""
    with pytest.raises(ConfigurationError, match=r"^OPENAI_API_BASE: "):
        list(providers(context({"OPENAI_API_BASE": "ftp://x"})))


def test_timeouts_of_local_and_hosted_providers() -> None:
    """A local model may take 300 s to its first byte, a hosted one 120; what is set counts for both."""
    made = {provider.name: provider for provider in providers(context())}
    assert Timeouts(connect=10, first_byte=300, between_chunks=60, total=600) == made["ollama"].timeouts
    assert Timeouts(connect=10, first_byte=120, between_chunks=60, total=600) == made["openai"].timeouts
    made = {provider.name: provider for provider in providers(context({"GENAI_OLLAMA_TIMEOUT_FIRST_BYTE": "5"}))}
    assert made["ollama"].timeouts.first_byte == 5


def test_a_retired_default_is_replaced_with_a_warning() -> None:
    """Only a default is replaced; set to something else, it is taken as it is, and nobody is warned."""
    made = {provider.name: provider for provider in providers(context())}
    anthropic = made["anthropic"]
    assert anthropic.default_model == "claude-sonnet-5-5"
    assert "claude-3-5-sonnet-20241022" in anthropic.default_warning
    assert anthropic.default_model in anthropic.default_warning
    made = {provider.name: provider for provider in providers(context({"DEFAULT_ANTHROPIC_MODEL": "claude-haiku-4-5"}))}
    assert ("claude-haiku-4-5", "") == (made["anthropic"].default_model, made["anthropic"].default_warning)
