"""Which Host headers may use the controls: a web page must not reach them through a name of its own."""

import ipaddress
import re
from collections.abc import Collection

HOST_HEADER = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?", re.ASCII)


def control_host_allowed(header: str, also: Collection[str]) -> bool:
    """Loopback names and addresses on any port, and the hosts in `also`."""
    match = HOST_HEADER.fullmatch(header.lower())
    if match is None:
        return False
    host = match[1] or match[2]
    return host in also or host == "localhost" or host.endswith(".localhost") or _loopback(host)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
