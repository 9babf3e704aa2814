"""The servers that are compared: for each, how it is installed, started and asked."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from bench.processes import complete, environment
from bench.workloads import DOWN, MODEL, WELL

__all__ = [
    "CONTESTANTS",
    "KEY",
    "UPSTREAM_KEY",
    "Contestant",
    "Launch",
    "LiteLlm",
    "Naive",
    "Nginx",
    "Spine",
    "caller_headers",
]

KEY = "bench-key"
UPSTREAM_KEY = "sk-bench"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "genai-spine-bench"
_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the packaged price table: a start and an import need no network
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
}
_PRINT_VERSIONS = "import sys, importlib.metadata as m; print(' '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One command line and its whole environment."""

    argv: list[str]
    env: dict[str, str]


class Contestant(Protocol):
    """A server between the callers and the scripted upstream."""

    @property
    def name(self) -> str:
        """Its name on the command line and in the results."""

    @property
    def pace(self) -> int:
        """Chat requests that it answers in about two seconds from 16 callers; sets how many a turn sends."""

    @property
    def health(self) -> str:
        """The path that answers 200 once it serves."""

    @property
    def specials(self) -> bool:
        """Whether it is asked too what only it is set up for: the Anthropic door, and providers that are down."""

    def prepare(self) -> str:
        """Installs what is missing and returns the versions; may take minutes the first time.

        Raises:
            LookupError: it cannot be installed from here; the message says how to.
            subprocess.CalledProcessError: its installation failed.
        """

    def launch(self, port: int, upstream: int, folder: Path) -> Launch:
        """How to serve on ``port`` with the scripted upstream at port ``upstream``; files go to ``folder``."""

    def imports(self) -> list[Launch]:
        """Python commands that import its library, if it is one, the one that leaves it ready for use last."""


class Spine:
    """GenAI Spine as installed beside this Python."""

    name = "spine"
    pace = 10_000
    health = "/health"
    specials = True

    def __init__(self, workers: int = 1) -> None:
        """``workers`` above one is handed to ``spine serve --workers``."""
        self._command = Path(sys.executable).parent / "spine"
        self._workers = workers

    def prepare(self) -> str:
        """Only looks: the project's environment is made by ``make``."""
        if not self._command.exists():
            message = f"{self._command} is missing: install the project into this environment (pip install -e .)"
            raise LookupError(message)
        return _versions(sys.executable, "genai-spine")

    def launch(self, port: int, upstream: int, folder: Path) -> Launch:
        """``spine serve`` with one gateway key, one provider, and two more that the aliases of workloads name."""
        data = folder / f"spine-{port}"
        data.mkdir()
        config = data / "spine.toml"
        config.write_text(self._config(upstream))
        argv = [str(self._command), "serve", "--host", "127.0.0.1", "--port", str(port), "--config", str(config)]
        if self._workers > 1:
            argv += ["--workers", str(self._workers)]
        extra = {
            "OPENAI_API_KEY": UPSTREAM_KEY,
            "OPENAI_API_URL": f"http://127.0.0.1:{upstream}/v1",
            "GENAI_API_KEYS": KEY,
            "GENAI_DATA_DIR": str(data),
        }
        return Launch(argv=argv, env=environment(extra))

    def imports(self) -> list[Launch]:
        """The bare import, which loads little until a name is used, and one that uses the main name."""
        statements = ("import genai_spine", "from genai_spine import Spine")
        return [Launch(argv=[sys.executable, "-c", statement], env=environment()) for statement in statements]

    @staticmethod
    def _config(upstream: int) -> str:
        return f"""\
[aliases]
{WELL.model} = ["{MODEL}", "spare/gpt-4o-mini"]
{DOWN.model} = ["gone/gpt-4o-mini", "{MODEL}"]

[providers.spare]
dialect = "openai_chat"
url = "http://127.0.0.1:{upstream}/v1"
auth = "none"

[providers.gone]
dialect = "openai_chat"
url = "http://127.0.0.1:9/v1"  # nobody's port
auth = "none"
"""


class Nginx:
    """nginx as a reverse proxy: the floor, since it looks at nothing and checks no key."""

    name = "nginx"
    pace = 20_000
    health = "/health"
    specials = False

    def __init__(self) -> None:
        """Looks for nginx where Debian keeps it too, which is not on every user's path."""
        self._command = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def prepare(self) -> str:
        """Only looks: nginx comes from the system's packages."""
        if self._command is None:
            message = "nginx is missing: apt-get install nginx-light (the system service need not run)"
            raise LookupError(message)
        return complete(self._command, "-v").rpartition(": ")[2]

    def launch(self, port: int, upstream: int, folder: Path) -> Launch:
        """A private prefix and configuration; the system's own are not read."""
        prefix = folder / f"nginx-{port}"
        prefix.mkdir()
        config = prefix / "nginx.conf"
        config.write_text(self._config(port, upstream))
        argv = [str(self._command), "-p", str(prefix), "-c", str(config), "-e", str(prefix / "error.log")]
        return Launch(argv=argv, env=environment())

    def imports(self) -> list[Launch]:
        """None: it is not Python."""
        return []

    @staticmethod
    def _config(port: int, upstream: int) -> str:
        user = "user root;" if os.geteuid() == 0 else ""  # as nobody it could not enter the private folder
        return f"""\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 100000000;
  upstream scripted {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /health {{ return 200 "ok"; }}
    location / {{
      proxy_pass http://scripted;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer {UPSTREAM_KEY}";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


class Naive:
    """``bench/naive.py`` under uvicorn, in this environment if it has httpx, else in one of its own."""

    name = "naive"
    pace = 2_000
    health = "/health"
    specials = False

    def __init__(self) -> None:
        """The environment is only made when it is prepared."""
        here = importlib.util.find_spec("httpx") is not None
        self._python = sys.executable if here else str(_CACHE / "naive" / "bin" / "python")

    def prepare(self) -> str:
        """Makes its environment if there is need of one."""
        if not Path(self._python).exists():
            _make_environment(_CACHE / "naive", ["fastapi", "uvicorn[standard]", "httpx"])
        return _versions(self._python, "fastapi", "httpx", "uvicorn")

    def launch(self, port: int, upstream: int, folder: Path) -> Launch:
        """One uvicorn worker without an access log."""
        del folder
        argv = [self._python, "-m", "uvicorn", "bench.naive:app", "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--no-access-log", "--log-level", "warning"]
        extra = {
            "NAIVE_UPSTREAM": f"http://127.0.0.1:{upstream}/v1",
            "NAIVE_UPSTREAM_KEY": UPSTREAM_KEY,
            "NAIVE_KEY": KEY,
        }
        return Launch(argv=argv, env=environment(extra))

    def imports(self) -> list[Launch]:
        """None: it is a program of one page, not a library."""
        return []


class LiteLlm:
    """LiteLLM's proxy with one worker, no database and its defaults, from an environment of its own."""

    name = "litellm"
    pace = 600
    health = "/health/liveliness"
    specials = False

    def __init__(self) -> None:
        """The environment is only made when it is prepared."""
        self._home = _CACHE / "litellm"

    def prepare(self) -> str:
        """Installs ``litellm[proxy]`` from PyPI if its environment is not there; delete the folder to renew it."""
        if not (self._home / "bin" / "litellm").exists():
            _make_environment(self._home, ["litellm[proxy]"])
        return _versions(str(self._home / "bin" / "python"), "litellm")

    def launch(self, port: int, upstream: int, folder: Path) -> Launch:
        """One model, one key."""
        config = folder / f"litellm-{port}.json"  # JSON is YAML
        model = {
            "model": "openai/gpt-4o-mini",
            "api_base": f"http://127.0.0.1:{upstream}/v1",
            "api_key": UPSTREAM_KEY,
        }
        fields = {
            "model_list": [{"model_name": "openai/gpt-4o-mini", "litellm_params": model}],
            "general_settings": {"master_key": KEY},
        }
        config.write_bytes(msgspec.json.encode(fields))
        argv = [str(self._home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        argv += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        return Launch(argv=argv, env=environment(_LITELLM))

    def imports(self) -> list[Launch]:
        """The library's own import."""
        return [Launch(argv=[str(self._home / "bin" / "python"), "-c", "import litellm"], env=environment(_LITELLM))]


CONTESTANTS = ("spine", "nginx", "naive", "litellm")
"""All names, in the order in which a round asks them."""


def caller_headers() -> dict[str, str]:
    """What every caller sends to every contestant."""
    return {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "anthropic-version": "2023-06-01",
    }


def _versions(python: str, *packages: str) -> str:
    return complete(python, "-c", _PRINT_VERSIONS, *packages)


def _make_environment(home: Path, packages: list[str]) -> None:
    """A virtual environment with these packages; one that could not be completed is removed."""
    print(f"installing {' '.join(packages)} into {home}, once", file=sys.stderr)
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        complete(sys.executable, "-m", "venv", "--clear", str(home))
        complete(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages)
    except BaseException:  # a half-made environment would be taken for a whole one the next time
        shutil.rmtree(home, ignore_errors=True)
        raise
