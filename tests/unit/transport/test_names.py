"""Names and addresses: what is public, what is private, what is nobody's, and how the operating system is asked."""

from __future__ import annotations

import pytest

from genai_spine.transport.names import Standing, SystemResolver, standing


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", "public"),
        ("8.8.8.8", "public"),
        ("2606:4700:4700::1111", "public"),
        ("::ffff:8.8.8.8", "public"),
        ("64:ff9b::808:808", "public"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("127.0.0.1", "private"),
        ("127.255.255.254", "private"),
        ("::1", "private"),
        ("fd12:3456::1", "private"),
        ("::ffff:127.0.0.1", "private"),
        ("::ffff:7f00:1", "private"),
        ("64:ff9b::a00:1", "private"),
        ("0.0.0.0", "forbidden"),  # noqa: S104  # nothing listens there
        ("0.1.2.3", "forbidden"),
        ("169.254.169.254", "forbidden"),
        ("169.254.1.1", "forbidden"),
        ("::ffff:169.254.169.254", "forbidden"),
        ("64:ff9b::a9fe:a9fe", "forbidden"),
        ("fd00:ec2::254", "forbidden"),
        ("100.100.100.200", "forbidden"),
        ("168.63.129.16", "forbidden"),
        ("192.0.0.192", "forbidden"),
        ("192.0.2.1", "forbidden"),
        ("192.88.99.1", "forbidden"),
        ("198.18.0.1", "forbidden"),
        ("224.0.0.1", "forbidden"),
        ("239.255.255.250", "forbidden"),
        ("240.0.0.1", "forbidden"),
        ("255.255.255.255", "forbidden"),
        ("::", "forbidden"),
        ("::7f00:1", "forbidden"),
        ("fe80::1", "forbidden"),
        ("fe80::1%eth0", "forbidden"),
        ("fec0::1", "forbidden"),
        ("ff02::1", "forbidden"),
        ("2001:db8::1", "forbidden"),
        ("2001:0:4136:e378::1", "forbidden"),
        ("2002:7f00:1::", "forbidden"),
        ("3fff::1", "forbidden"),
        ("5f00::1", "forbidden"),
        ("64:ff9b:1::1", "forbidden"),
        ("example.com", "forbidden"),
        ("", "forbidden"),
    ],
)
def test_where_an_address_leads(address: str, expected: Standing) -> None:
    """Into the internet, into a network of one's own, or to where nobody is sent; one inside another counts."""
    assert expected == standing(address)


async def test_the_operating_system_is_asked() -> None:
    """A literal is its own address, in whichever form it is written; a closed resolver may be used again."""
    resolver = SystemResolver()
    assert ["127.0.0.1"] == await resolver.addresses("127.0.0.1", 80)
    assert ["127.0.0.1"] == await resolver.addresses("2130706433", 80)
    await resolver.close()
    assert ["::1"] == await resolver.addresses("::1", 443)
    await resolver.close()
    await resolver.close()


async def test_a_name_that_is_none() -> None:
    """It has no address."""
    resolver = SystemResolver()
    with pytest.raises(OSError, match=r".+"):
        await resolver.addresses("256.256.256.256.256", 80)
    await resolver.close()
