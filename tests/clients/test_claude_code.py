"""Claude Code, an agent that speaks Anthropic Messages, before services that do not."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.clients.conftest import Stage, Stages
from tests.clients.running import NODE_MODULES
from tests.flow.answers import Call, Said

# Its own launcher, for where no script of a package is run when it is installed.
CLAUDE: Final = ("node", NODE_MODULES / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs")
SECRET: Final = "marzipan"


def settings(stage: Stage) -> dict[str, str]:
    """The environment in which it talks to the gateway and to nobody else."""
    return {
        "ANTHROPIC_BASE_URL": stage.gateway.url,
        "ANTHROPIC_AUTH_TOKEN": stage.gateway.key,
        "ANTHROPIC_MODEL": stage.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    }


@pytest.mark.parametrize("service", ["openai", "google"])
async def test_a_session(stages: Stages, service: str) -> None:
    """The agent reads a file, finds a tool, writes a file and tells of it; no request of its session is refused."""
    stage = await stages.set(
        service,
        Said(
            text="Let me look.",
            calls=(Call("call_1", "Read", {"file_path": f"{stages.work}/note.txt"}),),
            finish="tool_calls",
        ),
        Said(calls=(Call("call_2", "ToolSearch", {"query": "select:WebFetch"}),), finish="tool_calls"),
        Said(
            calls=(
                Call("call_3", "Write", {"file_path": f"{stages.work}/answer.txt", "content": f"It is {SECRET}."}),
                Call("call_4", "Read", {"file_path": f"{stages.work}/absent.txt"}),
            ),
            finish="tool_calls",
        ),
        Said(text="It is written."),
    )
    (stages.work / "note.txt").write_text(f"The word is {SECRET}.\n")
    finished = await stage.run(
        *CLAUDE,
        "--print",
        "Which word stands in note.txt? Write it into answer.txt.",
        "--output-format=json",
        "--allowedTools=Read,Write",
        **settings(stage),
    )
    assert 0 == finished.status, finished.out + finished.err
    told = json.loads(finished.out)
    assert ("success", "It is written.") == (told["subtype"], told["result"])
    assert f"It is {SECRET}." == (stages.work / "answer.txt").read_text()
    results = [result.text for turn in stage.played.seen[-1].turns for result in turn.results]
    looked, found, written, absent = results
    assert SECRET in looked
    assert "WebFetch" in found
    assert "answer.txt" in written
    assert "not exist" in absent
    assert "WebFetch" in {tool.name for tool in stage.played.seen[-1].tools}
    assert {"success"} == {record.outcome for record in stage.gateway.recorder.records}


async def test_counting(stages: Stages) -> None:
    """It shows what fills its context, for which it asks the gateway to count; nothing is asked of a model."""
    stage = await stages.set("openai")
    finished = await stage.run(*CLAUDE, "--print", "/context", "--output-format=json", **settings(stage))
    assert 0 == finished.status, finished.out + finished.err
    told = json.loads(finished.out)
    assert "success" == told["subtype"]
    assert stage.model in told["result"]
    assert "tokens" in told["result"].lower()
    assert [] == stage.played.seen
