"""Tags of seals: what they hold, and how they are known."""

from __future__ import annotations

import base64

import msgspec
import pytest

from genai_spine.dialects.seals import EMPTY, Seal, holds_tags, is_tag, read_tag, tag_of

# Words whose base64 has both signs in which its alphabets differ.
SEAL = Seal("0123456789abcdef", "anthropic_messages", {"type": "thinking", "thinking": "ü?>~ÿ", "signature": "a+/="})


def test_a_tag_holds_its_seal() -> None:
    """What is put into a tag is read out of it."""
    assert SEAL == read_tag(tag_of(SEAL))


def test_a_tag_survives_another_alphabet() -> None:
    """A client that decodes base64 and writes it in the alphabet for addresses changes nothing of what is told."""
    tag = base64.urlsafe_b64encode(base64.b64decode(tag_of(SEAL), validate=True)).decode()
    assert tag != tag_of(SEAL)
    assert is_tag(tag)
    assert SEAL == read_tag(tag)


def test_a_tag_is_known_by_its_beginning() -> None:
    """A tag is told from a provider's own signature, and found in a body; amid words it is nothing."""
    assert is_tag(tag_of(SEAL))
    assert not is_tag("c2lnbmVk")
    assert not is_tag(None)
    assert holds_tags(msgspec.json.encode({"signature": tag_of(SEAL)}))
    assert holds_tags(msgspec.json.encode({"signature": EMPTY}))
    assert not holds_tags(msgspec.json.encode({"text": f"as in {tag_of(SEAL)}"}))


@pytest.mark.parametrize("damage", ["", "A", "e30=", "W10=", "????", "ä"])
def test_a_damaged_tag(damage: str) -> None:
    """What is no seal any more is none."""
    assert read_tag(EMPTY + damage) is None


def test_a_cut_tag() -> None:
    """A tag cut anywhere is no seal."""
    tag = tag_of(SEAL)
    assert [None] * (len(tag) - len(EMPTY)) == [read_tag(tag[:end]) for end in range(len(EMPTY), len(tag))]
