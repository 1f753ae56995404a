"""Looking up a host once, and which of its addresses may be connected to.

Whoever connects must use the address that was checked here and not look the name up again: the second answer of a
hostile name server may be another one.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

Lookup = Callable[[str, int], Awaitable[list[str]]]  # (host, port) -> numeric addresses; raises OSError

_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))  # IPv4 behind NAT64
_COMPATIBLE = ipaddress.ip_network("::/96")  # IPv4 inside IPv6 as of old


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver; raise OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to the public internet, also the IPv4 address that an IPv6 one carries."""
    try:
        return _is_public(ipaddress.ip_address(address))
    except ValueError:  # no number
        return False


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None or address in _COMPATIBLE:
            return False  # tunnels, whose other end is anywhere
        if any(address in network for network in _TRANSLATED):
            return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not (special or address.is_link_local or address.is_private)
