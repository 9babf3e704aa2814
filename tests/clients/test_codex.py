"""Codex, an agent that speaks OpenAI Responses, before services that do not."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.clients.conftest import Stages
from tests.clients.running import NODE_MODULES
from tests.flow.answers import Call, Said

CODEX: Final = ("node", NODE_MODULES / "@openai" / "codex" / "bin" / "codex.js")
SECRET: Final = "marzipan"


@pytest.mark.parametrize("service", ["anthropic", "google", "groq"])
async def test_a_session(stages: Stages, service: str) -> None:
    """The agent runs commands and a tool out of a namespace, and tells of it; no request of its session is refused."""
    stage = await stages.set(
        service,
        Said(
            text="Let me look.", calls=(Call("call_1", "exec_command", {"cmd": "cat note.txt"}),), finish="tool_calls"
        ),
        Said(
            calls=(
                Call("call_2", "exec_command", {"cmd": f"echo -n 'It is {SECRET}.' > answer.txt"}),
                Call("call_3", "multi_agent_v1__close_agent", {"target": "nobody"}),
            ),
            finish="tool_calls",
        ),
        Said(text="It is written."),
    )
    (stages.work / "note.txt").write_text(f"The word is {SECRET}.\n")
    (stages.home / "config.toml").write_text(
        f"""
        model = "{stage.model}"
        model_provider = "spine"

        [model_providers.spine]
        name = "GenAI Spine"
        base_url = "{stage.gateway.url}/v1"
        env_key = "SPINE_KEY"
        wire_api = "responses"
        """
    )
    finished = await stage.run(
        *CODEX,
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "Which word stands in note.txt? Write it into answer.txt.",
        CODEX_HOME=str(stages.home),
        SPINE_KEY=stage.gateway.key,
    )
    assert 0 == finished.status, finished.out + finished.err
    events = [json.loads(line) for line in finished.out.splitlines()]
    words = [event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"]
    assert ["Let me look.", "It is written."] == words
    assert "turn.completed" == events[-1]["type"]
    assert f"It is {SECRET}." == (stages.work / "answer.txt").read_text()
    looked, _, closed = (result.text for turn in stage.played.seen[-1].turns for result in turn.results)
    assert SECRET in looked
    assert "nobody" in closed
    assert {"success"} == {record.outcome for record in stage.gateway.recorder.records}
