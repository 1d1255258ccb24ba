"""Which hosts an account may sign for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wxsign.signing import DEFAULT_PORTS, MAX_PORT, parse_host

if TYPE_CHECKING:
    from wxsign.signing import PageUrl


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of `allowed_hosts`. Without a port it allows 80 for http and 443 for https, nothing else."""

    host: str  # as `PageUrl.host`; with `subdomains`, what has to follow the first labels
    port: int | None = None
    subdomains: bool = False

    @classmethod
    def parse(cls, entry: str) -> HostRule:
        """Read `m.example.com`, `m.example.com:8443`, `*.example.com` (one or more labels more), `192.0.2.1` or `[::1]`.

        Raises:
            ValueError: it is none of these; the text says why, in a few words and without the entry.
        """
        if "/" in entry or "@" in entry:
            raise ValueError("write the host alone, without scheme, path or user")
        name, port = _split_port(entry)
        bare = name.removeprefix("*.")
        subdomains = bare is not name
        host = parse_host(bare)
        if subdomains and ("." not in host or host[-1].isdigit()):
            raise ValueError("a wildcard needs a domain of two labels or more behind it")
        return cls(host, port, subdomains)

    def matches(self, page: PageUrl) -> bool:
        """Whether this entry allows the page's host and port."""
        if page.port != (DEFAULT_PORTS[page.scheme] if self.port is None else self.port):
            return False
        return page.host.endswith(f".{self.host}") if self.subdomains else page.host == self.host

    def __str__(self) -> str:
        return f"{'*.' if self.subdomains else ''}{self.host}{'' if self.port is None else f':{self.port}'}"


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if not colon or entry.endswith("]"):
        return entry, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT):
        raise ValueError("the port is not a number from 1 to 65535")
    return name, int(port)


class _Loopback(HostRule):
    """Matches this machine's own names on any port."""

    __slots__ = ()

    def matches(self, page: PageUrl) -> bool:
        return (
            page.host in {"localhost", "[::1]"}
            or page.host.endswith(".localhost")
            or _is_loopback_ip(page.host)
        )


def _is_loopback_ip(host: str) -> bool:
    # `127.example.com` is a name like any other; a host of the grammar whose last label is a number is an IPv4 address.
    return host.startswith("127.") and host.rpartition(".")[2].isdigit()


class AnyPort(HostRule):
    """Matches one host on any port. Only `wxsign dev` makes one: no entry of a configuration parses to it."""

    def matches(self, page: PageUrl) -> bool:
        """Whether it is this host."""
        return page.host == self.host


LOOPBACK: Final[HostRule] = _Loopback("localhost")
"""Allows loopback hosts on any port. Only `wxsign dev` uses it: no entry of a configuration parses to it."""
