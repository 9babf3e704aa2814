"""Bedrock: how it is found, what it is asked with, and that its requests are signed as AWS's own client signs them."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # it has no types
from typing_extensions import override

from genai_spine import errors
from genai_spine.assembly import Spine
from genai_spine.dialects.eventstream import encode_message
from genai_spine.providers.bedrock import BedrockProvider, Signer, providers
from genai_spine.providers.plugins import load_providers
from genai_spine.settings import AwsSettings, Settings
from genai_spine.testing.providers import check_closing, check_provider
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.transport.base import Outgoing, Timeouts
from genai_spine.transport.http import HttpTransport
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Message, Text
from genai_spine.types.usage import Usage
from tests.context import context

MODEL: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HI: Final = CompletionRequest(messages=(Message(role="user", parts=(Text(text="Hi"),)),), model=MODEL)
ACCESS: Final = "AKIDEXAMPLE00000"
SECRET: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNS: Final = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
USAGE: Final = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


def bedrock(environ: Mapping[str, str], transport: HttpTransport | None = None) -> BedrockProvider:
    """The provider that an environment makes."""
    return next(iter(providers(context(environ, transport=transport))))


def _event(kind: str, **body: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, json.dumps(body).encode())


def service(received: Received) -> Scripted:
    """A scripted runtime: it refuses who asks nothing, and says hello to everybody else."""
    if not received.json()["messages"]:
        return json_reply({"message": "bad"}, status=400, headers={"x-amzn-errortype": "ValidationException"})
    if received.path.endswith("/converse"):
        message = {"role": "assistant", "content": [{"text": "Hello there."}]}
        return json_reply(
            json.dumps({"output": {"message": message}, "stopReason": "end_turn", "usage": USAGE}).encode()
        )
    chunks = (
        _event("messageStart", role="assistant"),
        _event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hello "}),
        _event("contentBlockDelta", contentBlockIndex=0, delta={"text": "there."}),
        _event("contentBlockStop", contentBlockIndex=0),
        _event("messageStop", stopReason="end_turn"),
        _event("metadata", usage=USAGE, metrics={"latencyMs": 1}),
    )
    return Scripted(headers={"content-type": "application/vnd.amazon.eventstream"}, chunks=chunks, streamed=True)


# How it is found.


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"AWS_BEARER_TOKEN_BEDROCK": "k"}, "found by AWS_BEARER_TOKEN_BEDROCK"),
        ({"BEDROCK_API_KEY": "k", **SIGNS}, "found by BEDROCK_API_KEY"),
        (SIGNS, "found by AWS_ACCESS_KEY_ID"),
        ({"AWS_PROFILE": "work"}, "found by AWS_PROFILE"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, "found by AWS_WEB_IDENTITY_TOKEN_FILE"),
    ],
)
def test_what_configures_it(environ: dict[str, str], hint: str) -> None:
    """A Bedrock key comes first; else credentials of any kind, of which the environment tells."""
    provider = bedrock(environ)
    assert ("ready", hint) == (provider.status, provider.hint)
    assert (provider.signer is None) == bool(provider.keys)


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": ACCESS}, {"AWS_REGION": "eu-west-1"}])
async def test_without_credentials(environ: dict[str, str]) -> None:
    """It is listed, says what to set, and refuses to be asked. Nothing is asked of AWS to find that out."""
    provider = bedrock(environ)
    assert "not_configured" == provider.status
    assert "AWS_BEARER_TOKEN_BEDROCK" in provider.hint
    with pytest.raises(errors.ProviderNotConfiguredError, match="AWS_PROFILE"):
        await provider.complete(HI)
    health = await provider.health()
    assert not health.healthy
    assert isinstance(health.error, errors.ProviderNotConfiguredError)


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "x"}, "https://bedrock-runtime.eu-west-2.amazonaws.com"),
        (
            {"GENAI_BEDROCK_REGION": "us-gov-west-1", "AWS_REGION": "x"},
            "https://bedrock-runtime.us-gov-west-1.amazonaws.com",
        ),
        ({"BEDROCK_API_URL": "https://proxy.example/bedrock/"}, "https://proxy.example/bedrock"),
    ],
)
def test_where_it_is(environ: dict[str, str], address: str) -> None:
    """The region makes the address, unless one is set."""
    assert address == bedrock(environ).address


@pytest.mark.parametrize("region", ["us-east-1.evil.example/", "Frankfurt"])
def test_a_region_that_is_none(region: str) -> None:
    """It would become part of an address; the message names the variable."""
    with pytest.raises(errors.ConfigurationError, match="GENAI_BEDROCK_REGION"):
        bedrock({"GENAI_BEDROCK_REGION": region})


def test_the_region_is_a_known_variable() -> None:
    """Nobody is warned of it."""
    assert () == Settings({"GENAI_BEDROCK_REGION": "eu-west-1"}).check_names(["bedrock"])


def test_without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """With credentials that need signing, and nothing to sign with, the operator learns what to install."""
    monkeypatch.setitem(sys.modules, "botocore", None)
    provider = bedrock(SIGNS)
    assert "not_configured" == provider.status
    assert "genai-spine[bedrock]" in provider.hint
    assert "ready" == bedrock({"BEDROCK_API_KEY": "k"}).status
    outgoing = Outgoing(method="POST", url="https://x/", headers={"Content-Type": "application/json"})
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(errors.ProviderNotConfiguredError, match=r"genai-spine\[bedrock\]"):
        Signer(AwsSettings(), "us-east-1").sign(outgoing)


def test_it_comes_by_its_own_door(tmp_path: Path) -> None:
    """The entry point brings it, and a table of the file is its own."""
    path = tmp_path / "spine.toml"
    path.write_text('[providers.bedrock]\ndefault_model = "amazon.nova-lite-v1:0"\napi_key = "k"\n')
    found = {provider.name: provider for provider in load_providers(context({}, path))}
    assert isinstance(found["bedrock"], BedrockProvider)
    assert ("amazon.nova-lite-v1:0", "ready") == (found["bedrock"].default_model, found["bedrock"].status)
    spine = Spine(Settings(SIGNS))
    assert "bedrock" == spine.place(MODEL).provider


# What it is asked with.


@pytest.mark.parametrize("environ", [{"BEDROCK_API_KEY": "k"}, SIGNS])
async def test_it_keeps_the_contract(transport: HttpTransport, environ: dict[str, str]) -> None:
    """The whole suite of providers passes, whichever way it is authorised; who leaves a stream ends it."""
    async with ScriptedUpstream(service) as runtime:
        provider = bedrock({**environ, "BEDROCK_API_URL": runtime.url}, transport)
        await check_provider(provider)
        stream = service(runtime.received[-1])
        runtime.enqueue(Scripted(headers=stream.headers, chunks=stream.chunks[:2], streamed=True, silent_after=True))
        await check_closing(provider, lambda: runtime.until(lambda: runtime.hung_up == 1))


async def test_a_bedrock_key(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It goes as a bearer; nothing is signed, and a stream asks for events in AWS's framing."""
    provider = bedrock({"AWS_BEARER_TOKEN_BEDROCK": "token", **SIGNS, "BEDROCK_API_URL": upstream.url}, transport)
    upstream.enqueue(Scripted(chunks=(_event("messageStart"),), streamed=True))
    events = [event async for event in provider.stream_complete(HI)]
    assert 2 == len(events)
    sent = upstream.received[0]
    assert "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream" == sent.path
    assert ("Bearer token", "application/vnd.amazon.eventstream") == (
        sent.headers["authorization"],
        sent.headers["accept"],
    )
    assert "x-amz-date" not in sent.headers


def again(sent: Received, url: str, region: str, token: str | None = None) -> str:
    """The signature that botocore makes of what was sent, at the time at which it was signed."""
    headers = {"Content-Type": sent.headers["content-type"], "X-Amz-Date": sent.headers["x-amz-date"]}
    if token is not None:
        headers["X-Amz-Security-Token"] = sent.headers["x-amz-security-token"]
    request = AWSRequest(method=sent.method, url=url + sent.path, headers=headers, data=sent.body)
    request.context["timestamp"] = sent.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS, SECRET, token), "bedrock", region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    signature: str = auth.signature(text, request)
    return signature


@pytest.mark.parametrize("token", [None, "session-token"])
async def test_pitfall_36_a_signature_is_botocores_own(
    upstream: ScriptedUpstream, transport: HttpTransport, token: str | None
) -> None:
    """The request that arrives carries the signature that botocore makes of the same request at the same time."""
    environ = {**SIGNS, "BEDROCK_API_URL": upstream.url, "AWS_REGION": "eu-west-1"}
    if token is not None:
        environ["AWS_SESSION_TOKEN"] = token
    upstream.enqueue(service(Received(method="POST", path="/converse", headers={}, body=b'{"messages":[1]}')))
    answer = await bedrock(environ, transport).complete(HI)
    assert "Hello there." == answer.content
    sent = upstream.received[0]
    authorization = sent.headers["authorization"]
    day = sent.headers["x-amz-date"][:8]
    assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS}/{day}/eu-west-1/bedrock/aws4_request, ")
    assert authorization.endswith(f"Signature={again(sent, upstream.url, 'eu-west-1', token)}")
    assert token == sent.headers.get("x-amz-security-token")


async def test_pitfall_36_the_path_is_encoded_twice_for_the_signature(
    upstream: ScriptedUpstream, transport: HttpTransport
) -> None:
    """By AWS's own account of the algorithm, written out here: ``%3A`` in the path is ``%253A`` in what is signed."""
    upstream.enqueue(json_reply({"message": "no"}, status=403))
    with pytest.raises(errors.ProviderPermissionError):
        await bedrock({**SIGNS, "BEDROCK_API_URL": upstream.url}, transport).complete(HI)
    sent = upstream.received[0]
    moment = sent.headers["x-amz-date"]
    canonical = "\n".join(
        [
            "POST",
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%253A0/converse",
            "",
            "content-type:application/json",
            f"host:{sent.headers['host']}",
            f"x-amz-date:{moment}",
            "",
            "content-type;host;x-amz-date",
            hashlib.sha256(sent.body).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/us-east-1/bedrock/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + SECRET.encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    expected = hmac.digest(key, text.encode(), "sha256").hex()
    assert sent.headers["authorization"].endswith(f"SignedHeaders=content-type;host;x-amz-date, Signature={expected}")


async def test_a_profile(
    upstream: ScriptedUpstream, transport: HttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials of a profile are found by botocore, which looks at the machine's own environment, and kept."""
    place = tmp_path / "credentials"
    place.write_text(f"[work]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(place))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    provider = bedrock({"AWS_PROFILE": "work", "BEDROCK_API_URL": upstream.url}, transport)
    for _ in range(2):
        upstream.enqueue(json_reply({"message": "no"}, status=503))
        with pytest.raises(errors.OverloadedError):
            await provider.complete(HI)
        place.unlink(missing_ok=True)
    for sent in upstream.received:
        assert sent.headers["authorization"].endswith(f"Signature={again(sent, upstream.url, 'us-east-1')}")


async def test_credentials_that_are_not_there(
    transport: HttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that nobody has is told as such: another provider may serve, and the error names this one."""
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    with pytest.raises(errors.ProviderAuthenticationError, match="nobody") as caught:
        await bedrock({"AWS_PROFILE": "nobody"}, transport).complete(HI)
    assert "bedrock" == caught.value.provider
    assert caught.value.retry.other_provider


def test_a_chain_that_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the chain ends without credentials, the variable that pointed to it is named."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for variable in (*SIGNS, "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(variable, raising=False)
    signer = Signer(AwsSettings(credentials_from="AWS_CONTAINER_CREDENTIALS_FULL_URI"), "us-east-1")
    outgoing = Outgoing(method="POST", url="https://x/", headers={"Content-Type": "application/json"})
    with pytest.raises(errors.ProviderAuthenticationError, match="AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        signer.sign(outgoing)


class Stuck(Signer):
    """Waits for credentials that do not come."""

    def __init__(self) -> None:
        super().__init__(AwsSettings(), "us-east-1")
        self.released = threading.Event()

    @override
    def sign(self, outgoing: Outgoing) -> Outgoing:
        self.released.wait()
        return outgoing


async def test_a_search_that_does_not_end(transport: HttpTransport) -> None:
    """It counts against the time for an answer, and holds up nobody else."""
    provider = bedrock(SIGNS, transport)
    provider.signer = stuck = Stuck()
    provider.timeouts = Timeouts(first_byte=0.001)
    try:
        with pytest.raises(errors.ProviderTimeoutError, match="credentials"):
            await provider.complete(HI)
    finally:
        stuck.released.set()


# What it offers.


@pytest.mark.parametrize(
    ("region", "place"), [("us-east-1", "us."), ("eu-west-3", "eu."), ("ap-northeast-1", "jp."), ("me-south-1", "")]
)
async def test_models(region: str, place: str) -> None:
    """The ids of the price list, with the name of the place that the region is in; the default is always among them."""
    provider = bedrock({"BEDROCK_API_KEY": "k", "AWS_REGION": region})
    ids = [model.id for model in await provider.list_models()]
    assert provider.default_model == ids[0]
    assert f"{place}anthropic.claude-sonnet-4-5-20250929-v1:0" in ids
    assert "amazon.nova-lite-v1:0" in ids
    assert "global.anthropic.claude-sonnet-4-6-v1:0" in ids
    assert "amazon.titan-embed-text-v2:0" in ids
    assert not [model for model in ids if "regional" in model or "sonic" in model]
    assert all(map(provider.knows, ids))


async def test_models_that_the_user_named() -> None:
    """They are all there is."""
    provider = bedrock({"BEDROCK_API_KEY": "k", "BEDROCK_MODELS": "a.b, c.d"})
    assert ["a.b", "c.d"] == [model.id for model in await provider.list_models()]


def test_costs() -> None:
    """Tokens from the cache cost what the price list says, counted once (pitfall 19)."""
    provider = bedrock({"BEDROCK_API_KEY": "k"})
    plain = provider.cost_of(MODEL, Usage(input_tokens=1000, output_tokens=0))
    cached = provider.cost_of(MODEL, Usage(input_tokens=1000, output_tokens=0, cache_read_tokens=1000))
    assert plain.known
    assert plain.picodollars == cached.picodollars * 10


@pytest.mark.parametrize(
    ("status", "name", "healthy"),
    [
        (400, "ValidationException", True),
        (404, "ResourceNotFoundException", True),
        (403, "UnrecognizedClientException", False),
        (503, "ServiceUnavailableException", False),
    ],
)
async def test_health(
    upstream: ScriptedUpstream, transport: HttpTransport, status: int, name: str, *, healthy: bool
) -> None:
    """A refusal of an empty request shows that the service answers and the key is good; no token is spent."""
    upstream.enqueue(json_reply({"message": "m"}, status=status, headers={"x-amzn-errortype": name}))
    health = await bedrock({"BEDROCK_API_KEY": "k", "BEDROCK_API_URL": upstream.url}, transport).health()
    assert healthy == health.healthy
    assert healthy == (health.error is None)
    assert b'{"messages":[]}' == upstream.received[0].body


def test_nothing_shows_a_secret() -> None:
    """T8: neither settings nor the provider print what signs."""
    aws = Settings({**SIGNS, "AWS_SESSION_TOKEN": "session-token"}).aws()
    shown = f"{aws!r} {Signer(aws, 'us-east-1').__dict__!r}"
    assert SECRET not in shown
    assert "session-token" not in shown
