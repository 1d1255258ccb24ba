"""Access tokens and tickets as WeChat keeps them: pure state, moved only by calls that carry the time.

Rules: https://developers.weixin.qq.com/doc/oplatform/developers/dev/AccessToken.html (classic tokens),
https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken.html (stable tokens). That a ticket stays
the same inside its life while `expires_in` is always the full one is undocumented; users have reported it since 2016.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from wxsign.sandbox.settings import SandboxSettings

REMEMBERED = 64
SECONDS_OF_A_DAY = 86_400
CHINA_OFFSET_SECONDS = 8 * 3600
CLEARINGS_A_MONTH = 10

MakeValue = Callable[[], str]


def token_value() -> str:
    """A new access_token in the look of the real ones: a number, an underscore, 150 characters or so."""
    return f"{secrets.randbelow(90) + 10}_{secrets.token_urlsafe(115)}"


def ticket_value() -> str:
    """A new ticket, 86 characters like the official sample."""
    return secrets.token_urlsafe(64)


def china_day(now: float) -> int:
    """The number of the day in China, where quotas start anew at midnight."""
    return int((now + CHINA_OFFSET_SECONDS) // SECONDS_OF_A_DAY)


def china_month(now: float) -> tuple[int, int]:
    """Year and month in China."""
    moment = time.gmtime(now + CHINA_OFFSET_SECONDS)
    return moment.tm_year, moment.tm_mon


@dataclass(frozen=True)
class AccessToken:
    """`expires_at` was promised when it was issued; `dies_at` is sooner when it was superseded or killed."""

    value: str = field(repr=False)
    issued_at: float
    expires_at: float
    dies_at: float

    def alive(self, now: float) -> bool:
        return now < self.dies_at

    def expired(self, now: float) -> bool:
        """It is dead because its promised time is over."""
        return now >= self.expires_at


class TokenLine:
    """The access tokens of one account and one endpoint; at most the last two are alive."""

    def __init__(self, make_value: MakeValue = token_value) -> None:
        self._make_value = make_value
        self._tokens: deque[AccessToken] = deque(maxlen=REMEMBERED)

    @property
    def current(self) -> AccessToken | None:
        return self._tokens[-1] if self._tokens else None

    def find(self, value: str) -> AccessToken | None:
        return next((token for token in self._tokens if token.value == value), None)

    def issue(self, now: float, life_seconds: float, overlap_seconds: float) -> AccessToken:
        """A new token. The current one lives `overlap_seconds` more, but not beyond its own end; older ones die."""
        last = len(self._tokens) - 1
        for at, token in enumerate(self._tokens):
            end = now + overlap_seconds if at == last else now
            self._tokens[at] = replace(token, dies_at=min(token.dies_at, end))
        self._tokens.append(AccessToken(self._make_value(), now, now + life_seconds, now + life_seconds))
        return self._tokens[-1]

    def kill(self, now: float) -> None:
        """The current token dies at once."""
        if self._tokens:
            self._tokens[-1] = replace(self._tokens[-1], dies_at=min(self._tokens[-1].dies_at, now))


class StableTokens(TokenLine):
    """Tokens of /cgi-bin/stable_token: the same one until shortly before its end, unless forced."""

    def __init__(self, make_value: MakeValue = token_value) -> None:
        super().__init__(make_value)
        self._forced_at: float | None = None
        self._forced_day = 0
        self._forced_today = 0

    def grant(self, now: float, settings: SandboxSettings, *, force: bool) -> tuple[AccessToken, bool]:
        """The token to answer with, and whether it is a new one."""
        if force and self._may_force(now, settings):
            self._count_force(now)
            return self.issue(now, settings.token_life_seconds, overlap_seconds=0), True
        current = self.current
        # An answer of less than a second would be `expires_in: 0`.
        window = max(settings.rotate_window_seconds, 1)
        if current is None or not current.alive(now) or current.expires_at - now <= window:
            return self.issue(now, settings.token_life_seconds, settings.overlap_seconds), True
        return current, False

    def _may_force(self, now: float, settings: SandboxSettings) -> bool:
        if self._forced_at is not None and now - self._forced_at < settings.force_refresh_gap_seconds:
            return False
        used = self._forced_today if self._forced_day == china_day(now) else 0
        return used < settings.force_refresh_daily

    def _count_force(self, now: float) -> None:
        if self._forced_day != china_day(now):
            self._forced_day, self._forced_today = china_day(now), 0
        self._forced_today += 1
        self._forced_at = now


@dataclass(frozen=True)
class Ticket:
    """`ends_at` is its true end: the life it was issued with, or the moment another one took its place."""

    value: str = field(repr=False)
    issued_at: float
    life_seconds: float
    ends_at: float
    killed: bool = False

    def alive(self, now: float) -> bool:
        return now < self.ends_at


class TicketLine:
    """The tickets of one account and type."""

    def __init__(self, opened_at: float, make_value: MakeValue = ticket_value) -> None:
        self._make_value = make_value
        self._opened_at = opened_at
        self._tickets: deque[Ticket] = deque(maxlen=REMEMBERED)

    @property
    def current(self) -> Ticket | None:
        return self._tickets[-1] if self._tickets else None

    def newest_first(self) -> list[Ticket]:
        return list(reversed(self._tickets))

    def roll(self, now: float, settings: SandboxSettings) -> None:
        """With `on_expiry` each ticket is issued when the last one ends, asked for or not."""
        if settings.ticket_issue != "on_expiry":
            return
        current = self.current
        if current is not None and (current.killed or current.alive(now)):
            return
        since = self._opened_at if current is None else current.ends_at
        lives_over = max(0, (now - since) // settings.ticket_life_seconds)
        self._issue(since + lives_over * settings.ticket_life_seconds, settings)

    def fetch(self, now: float, settings: SandboxSettings) -> tuple[Ticket, bool]:
        """The ticket to answer with, and whether this call made it."""
        self.roll(now, settings)
        current = self.current
        if current is not None and current.alive(now):
            return current, False
        return self._issue(now, settings), True

    def rotate(self, now: float, settings: SandboxSettings) -> None:
        """A new ticket takes the place of the current one now."""
        self.roll(now, settings)
        self._issue(now, settings)

    def kill(self, now: float, settings: SandboxSettings) -> None:
        """The current ticket is refused from now on; the next call issues another."""
        self.roll(now, settings)
        if self._tickets:
            self._tickets[-1] = replace(self._end(now), killed=True)

    def _issue(self, at: float, settings: SandboxSettings) -> Ticket:
        if self._tickets:
            self._tickets[-1] = self._end(at)
        life = settings.ticket_life_seconds
        self._tickets.append(Ticket(self._make_value(), at, life, at + life))
        return self._tickets[-1]

    def _end(self, now: float) -> Ticket:
        return replace(self._tickets[-1], ends_at=min(self._tickets[-1].ends_at, now))


class Account:
    """One appid with everything that WeChat holds for it; or an app of WeCom, whose appid is `<corpid>/<agentid>`."""

    def __init__(self, appid: str, secret: str, opened_at: float) -> None:
        self.appid = appid
        self.secret = secret
        self.classic = TokenLine()
        self.stable = StableTokens()
        kinds = ("jsapi", "agent_config" if self.of_wecom else "wx_card")
        self.tickets = {kind: TicketLine(opened_at) for kind in kinds}
        self._used: dict[str, tuple[int, int]] = {}
        self._cleared: list[float] = []

    def __repr__(self) -> str:
        return f"Account({self.appid!r})"

    @property
    def of_wecom(self) -> bool:
        return "/" in self.appid

    @property
    def shown_appid(self) -> str:
        """What `wx.config` calls it: the corporation's id for an app of WeCom."""
        return self.appid.partition("/")[0]

    def find_token(self, value: str) -> tuple[str, AccessToken] | None:
        """The kind of a token ever issued (of those remembered) and the token."""
        for kind, line in (("classic", self.classic), ("stable", self.stable)):
            token = line.find(value)
            if token is not None:
                return kind, token
        return None

    def used(self, endpoint: str, now: float) -> int:
        """The calls of today."""
        day, used = self._used.get(endpoint, (0, 0))
        return used if day == china_day(now) else 0

    def clear(self, now: float) -> bool:
        """Counts begin anew; False when this has been done as often as a month allows."""
        self._cleared = [at for at in self._cleared if china_month(at) == china_month(now)]
        if len(self._cleared) >= CLEARINGS_A_MONTH:
            return False
        self._cleared.append(now)
        self._used.clear()
        return True

    def exhaust(self, limits: Mapping[str, int], now: float) -> None:
        """As if today's calls of each endpoint had reached its limit."""
        self._used |= {endpoint: (china_day(now), limit) for endpoint, limit in limits.items()}

    def restore(self) -> None:
        """Today's calls are forgotten, without one of the clearings of this month."""
        self._used.clear()

    def spend(self, endpoint: str, now: float, limit: int | None) -> bool:
        """Counts one call of today; False when the day's quota is used up."""
        used = self.used(endpoint, now)
        if limit is not None and used >= limit:
            return False
        self._used[endpoint] = (china_day(now), used + 1)
        return True
