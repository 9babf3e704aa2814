"""Amazon Bedrock: Converse over HTTP, with a Bedrock API key, or signed with AWS credentials.

Credentials and signatures (Signature Version 4) are botocore's affair, an optional extra; no client of AWS stands
between the gateway and the service.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/getting-started-api.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import Final, Protocol
from urllib.parse import urlsplit

from msgspec import structs
from typing_extensions import override

from genai_spine.dialects.bedrock_converse.request import path_of
from genai_spine.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAuthenticationError,
    ProviderNotConfiguredError,
    ProviderTimeoutError,
    SpineError,
)
from genai_spine.providers.base import Health, Wire
from genai_spine.providers.builtin import provider_of
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.plugins import Context
from genai_spine.providers.rows import Row
from genai_spine.redact import scrub
from genai_spine.settings import AwsSettings
from genai_spine.transport.base import Incoming, Outgoing, Timeouts
from genai_spine.types.models import Model

__all__ = ["NAME", "ROW", "BedrockProvider", "Signer", "providers"]

NAME: Final = "bedrock"
DEFAULT_REGION: Final = "us-east-1"
SERVICE: Final = "bedrock"
"""The name that signatures are made for; that of the address is another."""

ROW: Final = Row(
    dialect="bedrock_converse",
    key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    default_model="anthropic.claude-3-sonnet-20240229-v1:0",
    embedding_model="amazon.titan-embed-text-v2:0",
    open_models=True,
)

_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z0-9]+)+")
_EXTRA: Final = "install genai-spine[bedrock]"
_PROBE: Final = Timeouts(connect=1.0, first_byte=5.0, between_chunks=5.0, total=8.0)
_NO_MESSAGES: Final = b'{"messages":[]}'

# The price list has one entry for all places where a model costs the same; the service wants the place named.
_ANYWHERE: Final = "regional."
_PLACES: Final = {
    "us-gov-": "us-gov.",
    "us-": "us.",
    "ca-": "us.",
    "eu-": "eu.",
    "ap-northeast-1": "jp.",
    "ap-southeast-2": "au.",
    "ap-south-1": "in.",
    "ap-": "apac.",
}
# Models that take no words.
_NOT_READING: Final = ("sonic",)


def providers(context: Context) -> Iterator[BedrockProvider]:
    """Yield the provider.

    Raises:
        ConfigurationError: A setting of it is wrong.
    """
    aws = context.settings.aws()
    region = aws.region or DEFAULT_REGION
    if not _REGION.fullmatch(region):
        message = f"{region!r} is not a region of AWS; set GENAI_BEDROCK_REGION to one such as {DEFAULT_REGION}"
        raise ConfigurationError(message)
    row = structs.replace(ROW, url=f"https://bedrock-runtime.{region}.amazonaws.com")
    provider = provider_of(BedrockProvider, NAME, row, context)
    provider.region = region
    if not provider.keys:
        _judge(provider, aws)
    yield provider


def _judge(provider: BedrockProvider, aws: AwsSettings) -> None:
    """Decide whether a provider without a Bedrock key can be used."""
    if aws.credentials_from is None:
        ways = f"{ROW.key_variables[0]}, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        provider.hint = f"set {ways}; to use the latter, {_EXTRA}"
    elif find_spec("botocore") is None:
        provider.hint = f"{_EXTRA}, which signs requests with the credentials of {aws.credentials_from}"
    else:
        provider.status, provider.hint = "ready", f"found by {aws.credentials_from}"
        provider.signer = Signer(aws, provider.region)


class BedrockProvider(HttpProvider):
    """Bedrock's runtime.

    Attributes:
        region: Where it is asked.
        signer: Signs requests that carry no Bedrock key; None where there are no credentials.
    """

    region: str = DEFAULT_REGION
    signer: Signer | None = None

    @override
    async def _send(self, outgoing: Outgoing, timeouts: Timeouts, wire: Wire | None = None) -> Incoming:
        if self.signer is not None and "Authorization" not in outgoing.headers:
            began = self._clock.monotonic()
            try:
                outgoing = await _signed(self.signer, outgoing, timeouts)
            except SpineError as error:
                self.own(error)
                raise
            # What the search took is no longer there for the answer.
            timeouts = timeouts.within(max(0.001, timeouts.total - (self._clock.monotonic() - began)))
        return await super()._send(outgoing, timeouts, wire)

    @override
    async def list_models(self) -> Sequence[Model]:
        """Return the models that the user named, else those whose prices are known: the service's runtime has no list.

        Where a model is served under a name for each part of the world, it is told with that of the region.
        """
        if self.models:
            return await super().list_models()
        listed = filter(None, map(self._callable, self._prices.models(self.name)))
        spoken = (model for model in listed if not any(word in model for word in _NOT_READING))
        names = dict.fromkeys((self.default_model, *spoken))
        return [Model(id=name, provider=self.name, owned_by=name.partition(".")[0]) for name in names]

    def _callable(self, model: str) -> str | None:
        """Return an id of the price list as the service takes it; None for a model that the region has not."""
        if not model.startswith(_ANYWHERE):
            return model
        bare = model.removeprefix(_ANYWHERE)
        place = next((place for start, place in _PLACES.items() if self.region.startswith(start)), "")
        return next((name for name in (place + bare, bare) if self._prices.rate(self.name, name) is not None), None)

    @override
    async def health(self) -> Health:
        """Ask for an answer to nothing, which the service refuses once it has found the key to be good."""
        began = self._clock.monotonic()
        error: SpineError | None = None
        try:
            self._require_configured()
            headers = self._headers_for(self.keys[0] if self.keys else None)
            url = self.address + path_of(self.default_model, stream=False)
            asked = Outgoing(method="POST", url=url, headers=headers, body=_NO_MESSAGES)
            (await self._send(asked, _PROBE)).close()
        except (InvalidRequestError, ModelNotFoundError):
            pass
        except SpineError as failure:
            error = failure
        return Health(healthy=error is None, seconds=self._clock.monotonic() - began, error=error)


async def _signed(signer: Signer, outgoing: Outgoing, timeouts: Timeouts) -> Outgoing:
    """Return a signed request. A search for credentials may read files, start programs and ask other services."""
    try:
        async with asyncio.timeout(timeouts.first_byte):
            return await asyncio.to_thread(signer.sign, outgoing)
    except TimeoutError as error:
        message = "the search for AWS credentials took too long; look at AWS_PROFILE and what it refers to"
        raise ProviderTimeoutError(message) from error


class _Frozen(Protocol):
    """Credentials as they are at one moment."""

    access_key: str
    secret_key: str
    token: str | None


class _Credentials(Protocol):
    """What botocore keeps credentials in; those that expire it renews by itself."""

    def get_frozen_credentials(self) -> _Frozen: ...


@dataclass(repr=False)
class _Given:
    """Credentials that the environment holds itself."""

    access_key: str
    secret_key: str
    token: str | None

    def get_frozen_credentials(self) -> _Frozen:
        return self


class Signer:
    """Signs requests for one region. All its methods may block."""

    def __init__(self, aws: AwsSettings, region: str) -> None:
        self._aws = aws
        self._region = region
        self._credentials: _Credentials | None = None
        self._lock = Lock()

    def sign(self, outgoing: Outgoing) -> Outgoing:
        """Return the request with its signature, over the content type, the host, the date and the body.

        Raises:
            ProviderAuthenticationError: There are no credentials, or they could not be renewed.
            ProviderNotConfiguredError: botocore is not installed.
        """
        try:
            # An optional extra, and slow to import: only who signs needs it.
            from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types
            from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # noqa: PLC0415  # as above
        except ImportError as error:
            message = f"requests to AWS are signed by botocore, which is missing; {_EXTRA}, or set a Bedrock key"
            raise ProviderNotConfiguredError(message) from error
        headers = {"Content-Type": outgoing.headers["Content-Type"], "Host": urlsplit(outgoing.url).netloc}
        request = AWSRequest(method=outgoing.method, url=outgoing.url, headers=headers, data=outgoing.body)
        # Its canonical form of the path encodes what the path has encoded already, as the service demands.
        SigV4Auth(self._frozen(), SERVICE, self._region).add_auth(request)
        made = {name: value for name, value in request.headers.items() if name not in headers}
        return structs.replace(outgoing, headers={**outgoing.headers, **made})

    def _frozen(self) -> _Frozen:
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = self._find()
                found = self._credentials
            return found.get_frozen_credentials()
        except SpineError:
            raise
        except Exception as error:  # files, programs and services of AWS are behind this; all they raise means the same
            message = f"no AWS credentials: {type(error).__name__}: {scrub(str(error))}"
            raise ProviderAuthenticationError(message) from error

    def _find(self) -> _Credentials:
        aws = self._aws
        if aws.access_key is not None and aws.secret_key is not None:
            token = None if aws.session_token is None else aws.session_token.reveal()
            return _Given(aws.access_key.reveal(), aws.secret_key.reveal(), token)
        # As in `sign`.
        from botocore.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types

        found: _Credentials | None = Session(profile=aws.profile).get_credentials()
        if found is None:
            message = f"no AWS credentials are to be had where {aws.credentials_from} points; look at what it refers to"
            raise ProviderAuthenticationError(message)
        return found
