"""Write the prices that ship with the package, from the data of the installed genai-prices library.

Usage: ``python tools/compile_prices.py [directory]``. It writes a file per provider, an index, and the library's
licence; what they hold depends on the installed version of the library alone.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

from genai_prices.data import providers

from genai_spine.catalog.book import SHIPPED
from genai_spine.catalog.compiling import compile_prices

__all__ = ["shipped_files"]


def shipped_files() -> dict[str, str]:
    """The text of every file, by its name."""
    source = distribution("genai-prices")
    files = compile_prices(providers, f"genai-prices {source.version}")
    licence = source.read_text("licenses/LICENSE")
    if licence is None:
        message = "The installed genai-prices has no licence file; install it from its wheel."
        raise FileNotFoundError(message)
    return {**files, "LICENSE.genai-prices": licence}


def main(arguments: list[str]) -> None:
    """Write the files, and remove what an earlier run left that is no longer made."""
    target = Path(arguments[0]) if arguments else SHIPPED
    target.mkdir(parents=True, exist_ok=True)
    files = shipped_files()
    for stale in target.glob("*.json"):
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
