"""What WeChat holds for one account: it tells true life from believed life, and fails on demand."""

from dataclasses import dataclass, field

from broker_desk import START, refused

from wxsign.broker.reports import FORCE_GAP_SECONDS
from wxsign.errors import WeChatBadAnswer, WeChatUnreachable
from wxsign.wechat import Granted

OVERLAP_SECONDS = 300
MARK = "value-that-nobody-may-see"

FAULTS = {
    "busy": lambda path: refused(-1, path),
    "no connection": lambda path: WeChatUnreachable("connect", path),
    "not heard": lambda path: WeChatUnreachable("timeout", path),
    "answer lost": lambda path: WeChatUnreachable("timeout", path),
    "truncated": lambda path: WeChatBadAnswer("truncated", path),
    "stale": lambda path: refused(40001, path),
}
# WeChat did what it was asked to, only nobody heard of it.
ACTED_ON = {"answer lost", "truncated"}


@dataclass
class Call:
    """One call of WeChat, from the moment it is sent; `used` is the token that it shows."""

    key: object
    what: str
    worker: object
    sent_at: float
    lease: object = None
    outcome: str = "in flight"
    used: str = field(default="", repr=False)
    ended_at: float = 0.0

    def __str__(self):
        lease = self.lease and f"lease at {self.lease.granted_at - START:.3f}"
        return f"{self.worker}'s {self.what} call at {self.sent_at - START:.3f} ({lease}): {self.outcome}"


@dataclass
class LeaseSeen:
    """A lease that the shared store granted; `granted_at` is by the store's clock."""

    name: str
    number: int
    granted_at: float
    epoch: int


class WeChat:
    """What WeChat holds for the account, which tells true life from believed life."""

    def __init__(self, world, life_seconds):
        self.world, self.life = world, life_seconds
        self.overlap = min(OVERLAP_SECONDS, life_seconds / 24)
        self.dies_at, self.stable, self.classic, self.ticket = {}, None, None, None
        self.stable_ends = self.ticket_ends = 0.0
        self.forced_at = -1e9
        self.faults = []
        self.calls, self.in_flight = [], []
        self.refused = set()
        # The latest moment until which anybody may believe that a value lives.
        self.believed_until = {}
        self._made = 0

    def alive(self, token):
        return self.world.true < self.dies_at.get(token, 0.0)

    def believed(self, granted, now):
        """Somebody has heard that this value lives."""
        until = self.believed_until.get(granted.value, 0.0)
        self.believed_until[granted.value] = max(until, now + granted.expires_in_seconds)

    def take_stable(self, *, force=False):
        now = self.world.true
        forced = force and now - self.forced_at >= FORCE_GAP_SECONDS
        if forced or not self.alive(self.stable) or self.stable_ends - now <= max(1, self.overlap):
            self._supersede(self.stable, 0 if forced else self.overlap)
            self.stable, self.stable_ends = self._new("stable"), now + self.life
            self.dies_at[self.stable] = self.stable_ends
            self.forced_at = now if forced else self.forced_at
        return Granted(self.stable, int(self.stable_ends - now))

    def take_classic(self):
        self._supersede(self.classic, self.overlap)
        self.classic = self._new("classic")
        self.dies_at[self.classic] = self.world.true + self.life
        return Granted(self.classic, self.life)

    def take_ticket(self):
        if self.world.true >= self.ticket_ends:
            self.rotate_ticket()
        return Granted(self.ticket, self.life)

    def rotate_ticket(self):
        self.ticket, self.ticket_ends = self._new("ticket"), self.world.true + self.life

    def _new(self, kind):
        self._made += 1
        return f"{MARK}-{kind}-{self._made}"

    def _supersede(self, token, overlap):
        if token is not None:
            self.dies_at[token] = min(self.dies_at[token], self.world.true + overlap)
