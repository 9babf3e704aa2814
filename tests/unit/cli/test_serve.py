"""``spine serve``, as a process of its own: what it prints works, its key stays, and it ends when it is told to."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.processes import WAIT, Running, environ_for, refused, serving


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a data folder of its own, whose name needs quotes in a shell."""
    return environ_for(tmp_path / "a folder's data")


def answered(running: Running, environ: Mapping[str, str]) -> str:
    """The answer to the command that was shown, run by a shell as it stands."""
    done = subprocess.run(  # noqa: S602  # what an operator pastes goes through a shell
        running.command, shell=True, env=environ, capture_output=True, text=True, timeout=WAIT, check=True
    )
    content: str = json.loads(done.stdout)["choices"][0]["message"]["content"]
    return content


def test_the_first_start_and_the_second(environ: dict[str, str], tmp_path: Path) -> None:
    """The first shows a new key once, and its curl line works; the second keeps the key unshown; both end well."""
    with serving(environ, tmp_path) as running:
        assert re.search(r"GenAI Spine \S+ at http://127\.0\.0\.1:\d+ \(all routes: .*/docs\)", running.summary)
        assert "No provider is configured, so `simulator` answers" in running.summary
        shown = re.search(r"shown this once .*\n  (spine-\S+)", running.summary)
        assert shown is not None
        assert answered(running, environ) == "Hello!"
        status, told = running.stop()
    assert status == 0
    assert "Traceback" not in told
    assert shown[1] not in told
    requests = [line for line in map(json.loads, told.splitlines()) if line["event"] == "request"]
    assert [("simulator", "success", 200)] == [(r["provider"], r["outcome"], r["status"]) for r in requests]
    with serving(environ, tmp_path) as running:
        assert shown[1] not in running.summary
        assert "The gateway key is in" in running.summary
        assert answered(running, environ) == "Hello!"
        status, _ = running.stop()
    assert status == 0


def test_keys_of_the_operators_own(environ: dict[str, str], tmp_path: Path) -> None:
    """With GENAI_API_KEYS set no key is made or shown, and the curl line takes it from the variable."""
    environ["GENAI_API_KEYS"] = "canary-key-1,canary-key-2"
    environ["GROQ_API_KEY"] = "gsk_canary"
    with serving(environ, tmp_path) as running:
        assert "canary" not in running.summary
        assert "found by GROQ_API_KEY; default model llama-3.1-8b-instant" in running.summary
        command = running.command.replace('"auto"', '"simulator/echo"')
        running.lines = command.splitlines()
        assert answered(running, environ) == "Hello!"
        assert running.stop()[0] == 0
    assert not Path(environ["GENAI_DATA_DIR"], "gateway.key").exists()


def test_without_keys_on_loopback(environ: dict[str, str], tmp_path: Path) -> None:
    """Asked for by name, nobody needs a key; misspelt variables are told in the log."""
    environ["GENAI_API_PROT"] = "1"
    with serving(environ, tmp_path, "--no-auth", "--host", "localhost") as running:
        assert "No key is asked for (--no-auth)." in running.summary
        assert "Authorization" not in running.command
        assert answered(running, environ) == "Hello!"
        status, told = running.stop(signal.SIGINT)
    assert status == 0
    assert "did you mean GENAI_API_PORT?" in told
    requests = [line for line in map(json.loads, told.splitlines()) if line["event"] == "request"]
    assert len(requests) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])  # noqa: S104  # it must be refused
def test_without_keys_elsewhere(environ: dict[str, str], tmp_path: Path, host: str) -> None:
    """Where others can reach it, it does not start without keys."""
    assert "--no-auth is only for loopback addresses" in refused(environ, tmp_path, "--no-auth", "--host", host)


def test_a_port_that_is_taken(environ: dict[str, str], tmp_path: Path) -> None:
    """It is told with what to choose."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refused(environ, tmp_path, "--port", str(taken.getsockname()[1]))
    assert "Address already in use; choose another with --host and --port" in told


def test_a_wrong_setting(environ: dict[str, str], tmp_path: Path) -> None:
    """It is told in plain words."""
    environ["GENAI_API_PORT"] = "canary"
    told = refused(environ, tmp_path)
    assert "GENAI_API_PORT" in told
    assert "canary" not in told
