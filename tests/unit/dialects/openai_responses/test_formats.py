"""The form of an answer that another dialect asked for."""

from __future__ import annotations

import json

from genai_spine.dialects.base import Target
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.types.completion import CompletionRequest, OutputSchema
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text


def test_a_schema_brings_nothing_of_its_dialect() -> None:
    """What only the caller's dialect says of a schema is not said here; what this one says of it goes on."""
    schema: JsonObject = {"type": "object", "properties": {}}
    wanted = OutputSchema(schema=schema, name="city", extras={"responseSchema": {"type": "OBJECT"}})
    hello = (Message(role="user", parts=(Text(text="Hi"),)),)
    form: JsonObject = {"type": "json_schema", "name": "city", "schema": schema}
    for dialect, more in (("gemini", {}), ("openai_responses", wanted.extras)):
        request = CompletionRequest(messages=hello, output_schema=wanted, dialect=dialect)
        told = json.loads(OpenAIResponses().encode_request(request, Target(model="m")).body)
        assert {"format": form | more} == told["text"]
