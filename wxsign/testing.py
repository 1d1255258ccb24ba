"""A plugin of pytest for the tests of one's own pages: a service and a simulated WeChat on free ports, and their verdicts.

It is there where wxsign is installed; nothing runs before a test asks for `wxsign_dev`. The pages of loopback hosts are
signed; more hosts are what a fixture `wxsign_allowed_hosts` of one's own returns.
"""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import urlencode

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wxsign.commands.dev import DevServer

WAIT_SECONDS = 10.0
LOOK_SECONDS = 0.02
AGAIN_SECONDS = 2.0


class Verdict(NamedTuple):
    """What the simulated WeChat said to one `wx.config`; `cause` is `ok`, or one of the causes that it knows."""

    accepted: bool
    url: str
    cause: str
    en: str
    zh: str


class WxsignDev:
    """A running service with its sandbox, as one test has it."""

    def __init__(self, server: DevServer) -> None:
        self._server = server
        self._all: list[Verdict] = []
        self._counted_so_far = 0
        self.url = server.plan.origin
        """The service: `/jsconfig`, `/static/wxsign.js`."""
        self.sandbox_url = server.sandbox_origin
        """The simulated WeChat, its controls below `/sandbox/`."""
        self.stand_in = f"{self.sandbox_url}/sandbox/jweixin.js"
        """A script in the place of WeChat's, for tests without a network."""

    @property
    def verdicts(self) -> list[Verdict]:
        """Those on pages since the test began, oldest first."""
        self._all += [
            Verdict(
                bool(found["ok"]), found["url"], found["cause"], found["detail"]["en"], found["detail"]["zh"]
            )
            for found in reversed(self._server.sandbox.sandbox.take_verdicts())
        ]
        return list(self._all)

    def bridge_src(self, mode: str = "wechat", **more: str) -> str:
        """The script of the in-app browser, for a page that carries it before WeChat's own."""
        return f"{self._server.bridge_src}?{urlencode({'mode': mode} | more)}"

    def attach(self, page: Any, mode: str = "wechat", **more: str) -> None:  # noqa: ANN401 - of Playwright, which need not be there
        """Make a page or context of Playwright's sync API WeChat's browser, without a line in the page itself.

        It has the bridge, and the stand-in in the place of WeChat's script, so no network is needed.
        """
        # Nothing is routed: Playwright calls a handler only while a test is inside one of its own calls.
        for address in (self.bridge_src(mode, **more), self.stand_in):
            with urllib.request.urlopen(address, timeout=WAIT_SECONDS) as script:
                page.add_init_script(script.read().decode())

    def trigger(self, happening: str) -> None:
        """Let something happen to the account: `thief`, `hang` and others; it is over with the test. Raises LookupError."""
        from wxsign.sandbox.happenings import happening_named, play  # noqa: PLC0415 - not for every run of pytest

        play(self._server.sandbox.sandbox, happening_named(happening).steps)

    def expect_accepted(self, url: str | None = None, timeout_seconds: float = WAIT_SECONDS) -> Verdict:
        """Wait until a page, of this URL if one is given, was accepted; fail with the cause where it stays refused.

        Each verdict counts once: the next `expect_…` waits for another one.
        """
        __tracebackhide__ = True
        refused_until = 0.0
        for now, fresh in self._looks(url, timeout_seconds):
            accepted = next((found for found in fresh if found.accepted), None)
            if accepted:
                return self._counted(accepted)
            # wxsign.js signs again once: with the other URL, or with the ticket that took the place of the old one.
            refused_until = refused_until or now + AGAIN_SECONDS
            if now >= refused_until:
                found = self._counted(fresh[-1])
                pytest.fail(f"WeChat would refuse this signature of {found.url}: {found.en} {found.zh}")
        return self._silent(url, timeout_seconds)

    def expect_refused(self, cause: str | None = None, timeout_seconds: float = WAIT_SECONDS) -> Verdict:
        """Wait for the next verdict, and fail unless it is a refusal, of this cause if one is given."""
        __tracebackhide__ = True
        for _, fresh in self._looks(None, timeout_seconds):
            found = self._counted(fresh[0])
            if found.accepted:
                pytest.fail(f"WeChat would accept this signature of {found.url}.")
            if cause not in (None, found.cause):
                pytest.fail(f"refused, but as {found.cause}: {found.en} {found.zh}")
            return found
        return self._silent(None, timeout_seconds)

    def _looks(self, url: str | None, timeout_seconds: float) -> Iterator[tuple[float, list[Verdict]]]:
        """Look again and again, until time is over: the moment, and the verdicts not yet counted, where there are any."""
        wanted = None if url is None else url.partition("#")[0]
        ends_at = time.monotonic() + timeout_seconds
        while (now := time.monotonic()) < ends_at:
            fresh = self.verdicts[self._counted_so_far :]
            fresh = [each for each in fresh if wanted in (None, each.url.partition("#")[0])]
            if fresh:
                yield now, fresh
            time.sleep(LOOK_SECONDS)

    def _counted(self, verdict: Verdict) -> Verdict:
        self._counted_so_far = self._all.index(verdict, self._counted_so_far) + 1
        return verdict

    def _silent(self, url: str | None, timeout_seconds: float) -> NoReturn:
        __tracebackhide__ = True
        page = f" {url}" if url else ""
        others = ", ".join(sorted({each.url for each in self._all})) or "none"
        pytest.fail(
            f"no page{page} called wx.config within {timeout_seconds:g} s; those that did before: {others}. "
            "Is the bridge on the page (attach, bridge_src), before WeChat's script?"
        )


@pytest.fixture(scope="session")
def wxsign_allowed_hosts() -> Sequence[str]:
    """Hosts beside loopback whose pages are signed, as in `allowed_hosts`; for tests to override."""
    return ()


@pytest.fixture(scope="session")
def wxsign_server(wxsign_allowed_hosts: Sequence[str]) -> Iterator[DevServer]:
    """Service and sandbox on free ports, for the whole run."""
    from wxsign.accounts import HostRule  # noqa: PLC0415 - not for every run of pytest
    from wxsign.commands.dev import DevServer, Plan  # noqa: PLC0415 - the same

    hosts = tuple(HostRule.parse(host) for host in wxsign_allowed_hosts)
    with DevServer(Plan("127.0.0.1", 0, 0, allowed_hosts=hosts)) as server:
        yield server


@pytest.fixture
def wxsign_dev(wxsign_server: DevServer) -> Iterator[WxsignDev]:
    """Service and sandbox as a test may use them: no verdict is there yet, and what it triggers ends with it."""
    wxsign_server.sandbox.sandbox.take_verdicts()
    yield WxsignDev(wxsign_server)
    wxsign_server.sandbox.sandbox.calm()
