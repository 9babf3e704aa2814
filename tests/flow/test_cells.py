"""That no cell of client by provider by feature is missing, and none is both tested and written off."""

from __future__ import annotations

import re
from pathlib import Path

from tests.flow.answers import PROVIDERS
from tests.flow.cells import FEATURES, NOT_POSSIBLE
from tests.flow.clients import CLIENTS


def test_every_feature_has_a_test() -> None:
    """Each feature stands over a test, but for one that is possible nowhere; and no test is of an unknown one."""
    folder = Path(__file__).parent
    text = "".join((folder / f"test_sdk_{name}.py").read_text() for name in ("matrix", "answers", "errors"))
    assert set(FEATURES) == set(re.findall(r'^@cells\("(\w+)"\)$', text, re.MULTILINE))


def test_each_empty_cell_is_one() -> None:
    """What is written off is a cell that there is, says why, and names a field where the caller is to be told one."""
    for (client, provider, feature), cell in NOT_POSSIBLE.items():
        assert client in CLIENTS
        assert provider in PROVIDERS
        assert feature in FEATURES
        assert cell.why
        assert bool(cell.field) == (cell.end in {"refused", "warned"})


def test_no_feature_is_written_off_whole() -> None:
    """Each feature is possible between one client and one provider at least, else it is none."""
    everywhere = {(client, provider) for client in CLIENTS for provider in PROVIDERS}
    for feature in FEATURES:
        gone = {(client, provider) for client, provider, found in NOT_POSSIBLE if found == feature}
        assert everywhere - gone, feature
