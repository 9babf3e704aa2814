"""Settings: where each is looked up, in which order, and how a wrong one is told."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from genai_spine.errors import ConfigurationError
from genai_spine.redact import Secret
from genai_spine.settings import FileSettings, ProviderFile, Settings, TimeoutSettings


@pytest.fixture(autouse=True)
def _folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working folder holds no spine.toml but a test's own."""
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "spine.toml") -> Path:
    """Write a file into the working folder."""
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def revealed(keys: tuple[Secret, ...]) -> list[str]:
    """The texts of keys."""
    return [key.reveal() for key in keys]


# The gateway's own settings.


def test_without_anything_all_is_built_in() -> None:
    """An empty environment and no file give the documented defaults, and no file is named."""
    settings = Settings({})
    values = settings.values
    assert settings.path is None
    assert ("ollama", "anthropic") == (values.default_provider, values.generate_default_provider)
    assert ("127.0.0.1", 8100, "info") == (values.host, values.port, values.log_level)
    assert () == settings.keys


@pytest.mark.parametrize(
    ("variable", "older", "field", "texts", "expected"),
    [
        ("GENAI_DEFAULT_PROVIDER", "DEFAULT_PROVIDER", "default_provider", ("groq", "xai", "openai"), "groq"),
        (
            "GENAI_GENERATE_DEFAULT_PROVIDER",
            "GENERATE_DEFAULT_PROVIDER",
            "generate_default_provider",
            ("groq", "xai", "openai"),
            "groq",
        ),
        (
            "GENAI_ROUTING_STRATEGY",
            "ROUTING_STRATEGY",
            "routing_strategy",
            ("quality", "speed", "weighted"),
            "quality",
        ),
        ("GENAI_API_HOST", "API_HOST", "host", ("::1", "0.0.0.0", "10.0.0.1"), "::1"),  # noqa: S104  # nothing listens
        ("GENAI_API_PORT", "API_PORT", "port", ("1", "2", "3"), 1),
        ("GENAI_LOG_LEVEL", "LOG_LEVEL", "log_level", ("debug", "warning", "error"), "debug"),
    ],
)
def test_environment_over_older_name_over_file_over_built_in(
    variable: str, older: str, field: str, texts: tuple[str, str, str], expected: object
) -> None:
    """Each place that says something is overruled by the ones before it, and counts once they are silent."""
    built_in = getattr(Settings({}).values, field)
    typed = {text: int(text) if field == "port" else text for text in texts}
    value = typed[texts[2]]
    path = written(f"{field} = {value}" if field == "port" else f'{field} = "{value}"')
    environ = {variable: texts[0], older: texts[1]}
    assert expected == getattr(Settings(environ, path).values, field)
    del environ[variable]
    assert typed[texts[1]] == getattr(Settings(environ, path).values, field)
    assert typed[texts[2]] == getattr(Settings({}, path).values, field)
    path.write_text("")
    assert built_in == getattr(Settings({}, path).values, field)


def test_a_blank_variable_says_nothing() -> None:
    """A variable set to nothing, as a compose file leaves it, hides neither the older name nor the file."""
    path = written("port = 7")
    assert Settings({"GENAI_API_PORT": " ", "API_PORT": ""}, path).values.port == 7


def test_lists_and_tables_of_the_environment() -> None:
    """Lists are cut at commas, tables at commas and equals signs; blanks around and between are dropped."""
    values = Settings(
        {
            "GENAI_CORS_ORIGINS": " https://a.example ,, https://b.example,",
            "GENAI_SIMULATOR_FAILURES": "500 = 0.1, cut=0.05",
        }
    ).values
    assert values.cors_origins == ("https://a.example", "https://b.example")
    assert values.simulator_failures == {"500": 0.1, "cut": 0.05}


def test_patterns_of_the_environment() -> None:
    """They are one a line, for a regular expression may hold a comma."""
    values = Settings({"GENAI_PERMANENT_ERROR_PATTERNS": "no longer .{0,9} customer\n\n  key is void\n"}).values
    assert values.permanent_error_patterns == ("no longer .{0,9} customer", "key is void")


def test_the_gateways_keys() -> None:
    """GENAI_API_KEYS is a list; each key of it is a secret."""
    assert ["one", "two"] == revealed(Settings({"GENAI_API_KEYS": " one , ,two,"}).keys)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GENAI_DATA_DIR": "/srv/spine", "XDG_DATA_HOME": "/x"}, Path("/srv/spine")),
        ({"XDG_DATA_HOME": "/x"}, Path("/x/genai-spine")),
        ({}, Path("~/.local/share/genai-spine")),
        ({"GENAI_DATA_DIR": "~/spine"}, Path("~/spine")),
    ],
)
def test_the_data_folder(environ: Mapping[str, str], expected: Path) -> None:
    """It is the one that is set, else the user's own by the XDG rules."""
    assert expected.expanduser() == Settings(environ).data_dir


# The file.


def test_the_file_is_the_one_named_else_the_one_in_the_folder() -> None:
    """An explicit path wins over GENAI_CONFIG, which wins over spine.toml in the working folder."""
    written("port = 1")
    named, given = written("port = 2", "named.toml"), written("port = 3", "given.toml")
    assert Settings({}).values.port == 1
    environ = {"GENAI_CONFIG": str(named)}
    assert Settings(environ).values.port == 2
    assert given == Settings(environ, given).path
    assert Settings(environ, given).values.port == 3


@pytest.mark.parametrize("environ", [{"GENAI_CONFIG": "missing.toml"}, {}])
def test_a_named_file_must_exist(environ: Mapping[str, str]) -> None:
    """A file that is named and not there is an error that names it."""
    path = None if environ else Path("missing.toml")
    with pytest.raises(ConfigurationError, match=r"missing\.toml does not exist"):
        Settings(environ, path)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml(content: bytes) -> None:
    """A file that cannot be read is told by its name."""
    Path("spine.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"spine\.toml cannot be read"):
        Settings({})


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    """What cannot be opened is told by its name too."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings({}, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot = 1", "did you mean port?"),
        ('[providers.openai]\napi_kye = "x"', "did you mean api_key?"),
        ("[providers.openai.timeouts]\nconect = 1", "did you mean connect?"),
        ("zzzzzzzz = 1", "known here: "),
    ],
)
def test_an_unknown_name_in_the_file(text: str, expected: str) -> None:
    """It is refused, with the name that was likely meant, or all that are known at that place."""
    path = written(text)
    with pytest.raises(ConfigurationError) as caught:
        Settings({}, path)
    assert "no such setting" in caught.value.message
    assert expected in caught.value.message


@pytest.mark.parametrize(
    ("environ", "text", "named"),
    [
        ({"GENAI_API_PORT": "canary-value"}, "", "GENAI_API_PORT (or port in spine.toml)"),
        ({"GENAI_API_PORT": "65536"}, "", "GENAI_API_PORT"),
        ({"GENAI_LOG_LEVEL": "canary-value"}, "", "GENAI_LOG_LEVEL"),
        ({"GENAI_SIMULATOR_FAILURES": "500=canary-value"}, "", "simulator_failures.500"),
        ({"GENAI_DEFAULT_COOLDOWN": "0"}, "", "GENAI_DEFAULT_COOLDOWN (or default_cooldown in spine.toml)"),
        ({"GENAI_MAX_COOLDOWN_SECONDS": "nan"}, "", "GENAI_MAX_COOLDOWN_SECONDS"),
        ({"MAX_KEY_ATTEMPTS": "canary-value"}, "", "GENAI_MAX_KEY_ATTEMPTS"),
        ({"GENAI_CIRCUIT_FAILURES": "0"}, "", "GENAI_CIRCUIT_FAILURES"),
        ({"GENAI_RETRY_SHARE": "1.1"}, "", "GENAI_RETRY_SHARE"),
        ({}, "retry_attempts = 0", "GENAI_RETRY_ATTEMPTS"),
        ({"GENAI_PERMANENT_ERROR_PATTERNS": "good\ncanary-value("}, "", "GENAI_PERMANENT_ERROR_PATTERNS"),
        ({}, 'max_body_bytes = "canary-value"', "GENAI_MAX_BODY_BYTES"),
        ({"GENAI_WORKERS": "0"}, "", "GENAI_WORKERS"),
        ({"GENAI_STOP_SECONDS": "-1"}, "", "GENAI_STOP_SECONDS (or stop_seconds in spine.toml)"),
        ({"GENAI_DATABASE_URL": "mysql://u:canary-value@host/db"}, "", "postgresql://"),
        ({"GENAI_REDIS_URL": "canary-value@host:6379"}, "", "GENAI_REDIS_URL (or redis_url in spine.toml)"),
        ({}, 'redis_url = ["canary-value"]', "GENAI_REDIS_URL"),
        ({}, '[providers.x]\nauth = "canary-value"', "providers.x.auth in spine.toml"),
        ({}, '[providers.x]\napi_key = ["canary-value"]', "providers.x.api_key in spine.toml"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(environ: Mapping[str, str], text: str, named: str) -> None:
    """The message names variable or place; the value, which may be a secret in the wrong line, is not in it."""
    path = written(text)
    with pytest.raises(ConfigurationError) as caught:
        Settings(environ, path)
    assert named in caught.value.message
    assert "canary-value" not in caught.value.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Two mistakes give two lines."""
    with pytest.raises(ConfigurationError) as caught:
        Settings({"GENAI_API_PORT": "x", "GENAI_LOG_LEVEL": "y"})
    assert len(caught.value.message.splitlines()) == 2


def test_where_state_is_kept() -> None:
    """Unset, records are kept in a SQLite file of the data folder, wherever a process works, and the rest in memory."""
    settings = Settings({"GENAI_DATA_DIR": "data"})
    assert f"sqlite:///{Path.cwd()}/data/spine.db" == settings.database_url.reveal()
    assert settings.values.redis_url is None


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
def test_addresses_with_passwords_are_secrets(name: str) -> None:
    """From the environment or the file, an address is kept whole and shown nowhere."""
    url = {"database_url": "postgresql+asyncpg://u:canary@host/db", "redis_url": "rediss://:canary@host:6379/0"}[name]
    for settings in (
        Settings({f"GENAI_{name.upper()}": f" {url} "}),
        Settings({}, written(f'{name} = "{url}"')),
    ):
        kept = getattr(settings.values, name)
        assert url == kept.reveal()
        assert "canary" not in f"{settings.values!r} {settings.values} {settings.values.model_dump()} {kept}"


@pytest.mark.parametrize("model", [FileSettings, ProviderFile, TimeoutSettings])
def test_every_setting_is_described(model: type[FileSettings | ProviderFile | TimeoutSettings]) -> None:
    """No field goes without a word on what it is for."""
    silent = [name for name, field in model.model_fields.items() if not field.description and name != "timeouts"]
    assert [] == silent


# Providers.

KEY_VARIABLES = ("GENAI_GROQ_API_KEYS", "GENAI_GROQ_API_KEY", "GROQ_API_KEYS", "GROQ_API_KEY", "FURTHER_KEY")


@pytest.mark.parametrize("first", range(len(KEY_VARIABLES)))
def test_the_first_variable_that_holds_a_key_wins(first: int) -> None:
    """The canonical list, the canonical key, the bare list, the bare key, the provider's further ones, the file."""
    path = written('[providers.groq]\napi_key = "from the file"')
    environ = {name: f"key of {name}" for name in KEY_VARIABLES[first:]}
    found = Settings(environ, path).provider("groq", key_variables=("FURTHER_KEY",))
    assert [f"key of {KEY_VARIABLES[first]}"] == revealed(found.keys)
    assert KEY_VARIABLES[first] == found.keys_from


def test_blank_key_variables_are_passed_over() -> None:
    """Variables that hold only blanks and commas are as if they were not set."""
    environ = {"GENAI_GROQ_API_KEYS": " , ,", "GROQ_API_KEYS": " one ,, two ,"}
    found = Settings(environ).provider("groq")
    assert (["one", "two"], "GROQ_API_KEYS") == (revealed(found.keys), found.keys_from)
    nothing = Settings({"GROQ_API_KEY": "  "}).provider("groq")
    assert ((), None) == (nothing.keys, nothing.keys_from)


def test_keys_of_the_file() -> None:
    """A list in the file goes before the single key, and the file is told as their source."""
    path = written('[providers.a]\napi_keys = ["one", "", "two"]\napi_key = "three"\n[providers.b]\napi_key = "four"')
    settings = Settings({}, path)
    assert ["one", "two"] == revealed(settings.provider("a").keys)
    assert str(path) == settings.provider("a").keys_from
    assert ["four"] == revealed(settings.provider("b").keys)


def test_the_variables_of_a_providers_address() -> None:
    """GENAI_{P}_URL, {P}_API_URL, {P}_BASE_URL, the further ones, then the file."""
    variables = ("GENAI_GROQ_URL", "GROQ_API_URL", "GROQ_BASE_URL", "FURTHER_URL")
    path = written('[providers.groq]\nurl = "http://file"')
    for first in range(len(variables)):
        environ = {name: f"http://{name}" for name in variables[first:]}
        found = Settings(environ, path).provider("groq", url_variables=("FURTHER_URL",))
        assert (f"http://{variables[first]}", variables[first]) == (found.url, found.url_from)
    found = Settings({}, path).provider("groq")
    assert ("http://file", "spine.toml") == (found.url, found.url_from)
    assert Settings({}).provider("xai").url is None


def test_model_and_models_of_a_provider() -> None:
    """The canonical name wins over the older one, that over the file; the list is trimmed."""
    path = written('[providers.groq]\ndefault_model = "f"\nmodels = ["f", "g"]')
    environ = {
        "GENAI_GROQ_DEFAULT_MODEL": "a",
        "DEFAULT_GROQ_MODEL": "b",
        "GENAI_GROQ_MODELS": "c, d,",
        "GROQ_MODELS": "e",
    }
    found = Settings(environ, path).provider("groq")
    assert ("a", ("c", "d")) == (found.default_model, found.models)
    older = {name: environ[name] for name in ("DEFAULT_GROQ_MODEL", "GROQ_MODELS")}
    found = Settings(older, path).provider("groq")
    assert ("b", ("e",)) == (found.default_model, found.models)
    found = Settings({}, path).provider("groq")
    assert ("f", ("f", "g")) == (found.default_model, found.models)


def test_timeouts_of_a_provider() -> None:
    """The environment sets each alone; the others stay as the file, or the built-in, has them."""
    path = written("[providers.groq.timeouts]\nconnect = 1\ntotal = 20", "named.toml")
    environ = {"GENAI_GROQ_TIMEOUT": "9.5", "GENAI_GROQ_TIMEOUT_FIRST_BYTE": "3"}
    found = Settings(environ, path).provider("groq").timeouts
    assert (1, 3, 60, 9.5) == (found.connect, found.first_byte, found.between_chunks, found.total)
    environ = {"GENAI_GROQ_TIMEOUT_CONNECT": "2", "GENAI_GROQ_TIMEOUT_BETWEEN_CHUNKS": "4"}
    found = Settings(environ).provider("groq").timeouts
    assert (2, None, 4, 600) == (found.connect, found.first_byte, found.between_chunks, found.total)


@pytest.mark.parametrize("text", ["canary", "0", "-1"])
def test_a_timeout_that_is_none(text: str) -> None:
    """A timeout is a number above 0; the variable is named."""
    settings = Settings({"GENAI_GROQ_TIMEOUT": text})
    with pytest.raises(ConfigurationError, match="GENAI_GROQ_TIMEOUT: total") as caught:
        settings.provider("groq")
    assert "canary" not in caught.value.message


def test_a_provider_of_the_users_own() -> None:
    """All that a row needs can stand in the file; signs that no variable may have are underscores in its variables."""
    path = written(
        """
        [providers."my-lab.x"]
        dialect = "openai_chat"
        url = "https://llm.lab.example/v1"
        auth = "api-key"
        local = true
        models = ["m"]
        headers = { "X-Team" = "blue" }
        quirks = { stream_usage = false }
        """
    )
    found = Settings({"MY_LAB_X_API_KEY": "k"}, path).provider("my-lab.x")
    assert ["k"] == revealed(found.keys)
    file = found.file
    assert ("openai_chat", "api-key", True) == (file.dialect, file.auth, file.local)
    assert ({"X-Team": "blue"}, {"stream_usage": False}) == (file.headers, file.quirks)


def test_tables_of_models() -> None:
    """Prices are read to the last digit, and other numbers with a point stay what they were."""
    path = written(
        """
        simulator_chunk_seconds = 0.25
        unknown_price_input = 0.123456789012345678901
        [providers.openai.timeouts]
        first_byte = 1.5
        [models."mine/m"]
        input = 0.1
        output = 3
        abilities = ["tools", "vision"]
        """
    )
    values = Settings({"GENAI_UNKNOWN_PRICE_OUTPUT": "0.3"}, path).values
    assert Decimal("0.123456789012345678901") == values.unknown_price_input
    assert Decimal("0.3") == values.unknown_price_output
    assert (0.25, float) == (values.simulator_chunk_seconds, type(values.simulator_chunk_seconds))
    assert 1.5 == values.providers["openai"].timeouts.first_byte
    model = values.models["mine/m"]
    assert (Decimal("0.1"), Decimal(3)) == (model.input, model.output)
    assert frozenset({"tools", "vision"}) == model.abilities


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("input = 1", "a price needs both input and output"),
        ("cache_read = 1", "a price needs both input and output"),
        ("input = -1\noutput = 1", "greater than or equal to 0"),
        ('abilities = ["flying"]', "models.m.abilities"),
        ("inptu = 1", "did you mean input?"),
        ("quality_rank = 0", "greater than 0"),
    ],
)
def test_a_wrong_table_of_a_model(table: str, told: str) -> None:
    """What is wrong with it is said with its place; half a price is none."""
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Settings({}, written(f"[models.m]\n{table}\n"))


def test_no_repr_shows_a_key() -> None:
    """Printed whole, a provider's settings show fingerprints."""
    found = Settings({"GROQ_API_KEY": "gsk_canary_0123456789"}).provider("groq")
    assert "canary" not in repr(found)
    assert "canary" not in str(found.model_dump())


# Names that mean nothing.


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("GENAI_API_PROT", "GENAI_API_PORT"),
        ("GENAI_OPENAI_APIKEY", "GENAI_OPENAI_API_KEY"),
        ("GENAI_OPENIA_API_KEY", "GENAI_OPENAI_API_KEY"),
        ("GENAI_DEFAULT_PROVIDERS", "GENAI_DEFAULT_PROVIDER"),
    ],
)
def test_a_misspelt_variable_is_told(variable: str, near: str) -> None:
    """A line names the variable and the one that was likely meant."""
    assert (f"{variable} is not a setting; did you mean {near}?",) == Settings({variable: "x"}).check_names(["openai"])


def test_an_unknown_variable_without_a_neighbour() -> None:
    """One that resembles none is told all the same, and its value never."""
    lines = Settings({"GENAI_XQZ": "canary"}).check_names([])
    assert lines == ("GENAI_XQZ is not a setting",)


def test_known_variables_are_not_told() -> None:
    """Canonical names, a provider's own, further ones and the test suite's mean something; others are not ours."""
    names = itertools.chain(
        ("GENAI_API_PORT", "GENAI_API_KEYS", "GENAI_CONFIG", "GENAI_DATA_DIR", "GENAI_TEST_X", "GENAI_REQUIRE_X"),
        (f"GENAI_MY_LAB_{rest}" for rest in ("API_KEY", "API_KEYS", "URL", "DEFAULT_MODEL", "MODELS", "TIMEOUT")),
        ("GENAI_MINE", "PATH", "OTHER_GENAI_API_PROT"),
    )
    environ = dict.fromkeys(names, "")
    assert Settings(environ).check_names(["my-lab"], ["GENAI_MINE"]) == ()


def test_the_fallback_chain() -> None:
    """Names in order, with commas between them in a variable."""
    assert ("groq", "openai") == Settings({"GENAI_FALLBACK_CHAIN": " groq, ,openai"}).values.fallback_chain
    assert ("xai",) == Settings({"FALLBACK_CHAIN": "xai"}).values.fallback_chain
    assert ("groq", "openai") == Settings({}, written('fallback_chain = ["groq", "openai"]')).values.fallback_chain


def test_aliases() -> None:
    """One model, several in order, or a table of them with their weights."""
    text = """
    [aliases]
    one = "openai/gpt-4o"
    several = ["a", "b"]
    shared = { a = 3, "b/c" = 0.5 }
    """
    found = Settings({}, written(text)).values.aliases
    told = {name: [(target.model, target.weight) for target in targets] for name, targets in found.items()}
    assert {
        "one": [("openai/gpt-4o", None)],
        "several": [("a", None), ("b", None)],
        "shared": [("a", 3.0), ("b/c", 0.5)],
    } == told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aliases.x = []", r"aliases\.x in .*at least 1 item"),
        ("aliases.x = 3", r"aliases\.x in .*valid tuple"),
        ("aliases.x = { a = -1 }", r"aliases\.x\.0\.weight in .*greater than or equal to 0"),
        ('aliases.x = ""', r"aliases\.x\.0\.model in .*at least 1 character"),
        ("providers.openai.weight = -1", r"providers\.openai\.weight in .*greater than or equal to 0"),
    ],
)
def test_wrong_aliases_and_weights(text: str, message: str) -> None:
    """They are found at start, with their place in the file."""
    with pytest.raises(ConfigurationError, match=message):
        Settings({}, written(text))
