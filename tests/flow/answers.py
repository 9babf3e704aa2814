"""What the providers answer: recorded bodies where there are any, else bodies written by hand after the wire reference.

``Said`` is what an answer says, free of any dialect. It is known for what is written in ``services``, and read out of a
recording by few plain lines there, which share nothing with the project's own decoders.
"""

from __future__ import annotations

import json
from typing import Final

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from tests.conformance import recordings
from tests.flow.said import Call, Provider, Said
from tests.flow.services.anthropic_messages import ANTHROPIC
from tests.flow.services.bedrock_converse import BEDROCK
from tests.flow.services.gemini import GOOGLE
from tests.flow.services.ollama import OLLAMA
from tests.flow.services.openai_chat import OPENAI
from tests.flow.services.openai_responses import RESPONSES

__all__ = ["PROVIDERS", "RECORDED", "Call", "Provider", "Said", "recorded"]

PROVIDERS: Final = {provider.name: provider for provider in (OPENAI, RESPONSES, ANTHROPIC, GOOGLE, BEDROCK, OLLAMA)}
"""The provider dialects, each by the name of a provider that speaks it."""

RECORDED: Final = {
    ("openai", "text"): "test_openai/test_valid_response#0",
    ("openai", "stream"): "test_openai/test_run_stream_sync_streams_real_model#1",
    ("openai", "tools"): "test_openai/test_openai_tool_output#0",
    ("openai", "tools_stream"): "test_openai/test_run_stream_sync_streams_real_model#0",
    ("openai", "image"): "test_openai/test_image_url_tool_response#1",
    ("openai", "schema"): "test_openai/test_openai_native_output#1",
    ("openai", "error"): "test_openai/test_openai_o1_mini_system_role[[]system[]]#0",
    ("anthropic", "text"): "test_anthropic/test_extra_headers#0",
    ("anthropic", "stream"): "test_anthropic/test_request_stream_fallback_for_high_max_tokens#0",
    ("anthropic", "tools"): "test_anthropic/test_anthropic_tool_output#0",
    ("anthropic", "parallel_tools"): "test_anthropic/test_multiple_parallel_tool_calls#0",
    ("anthropic", "parallel_results"): "test_anthropic/test_multiple_parallel_tool_calls#1",
    ("anthropic", "image"): "test_anthropic/test_image_url_input#0",
    ("anthropic", "schema"): "test_output/test_no_tools_native_output_strict_true#0",
    ("anthropic", "cached_usage"): "test_anthropic/test_anthropic_cache_real_api#1",
    ("anthropic", "error"): "test_anthropic/test_anthropic_explicit_effort_xhigh_unsupported_model_errors#0",
}
"""The recording that serves for a provider and a scene."""


def recorded(provider: Provider, scene: str) -> tuple[Scripted, Said]:
    """Return a recorded answer, and what it says; for an error, nothing. Skips the test where recordings are absent."""
    recordings.require()
    (found,) = recordings.exchanges(path=RECORDED[provider.name, scene])
    if found.is_stream:
        return sse_reply(found.body), provider.read_stream(found.body.decode())
    said = Said() if found.status >= 400 else provider.read(json.loads(found.body))
    return json_reply(found.body, found.status), said
