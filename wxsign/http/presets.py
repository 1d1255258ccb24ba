"""What the SDKs do with `expires_in`, one row each: they are told so much that their caches end when the value does.

Read in the sources of the versions named in docs/sdks.md. `/for/<name>/` before WeChat's paths chooses a row.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# For those that never ask again when WeChat refuses a token. Asking after this long makes us look whether it lives; so
# long again, and a dead one is given back: 300 s at the most.
NEVER_HEALS_SECONDS: Final = 150
# More often than the processes of one system do that start together, which look like a loop and are none.
ASKS_A_LOOP: Final = 10


class Preset(NamedTuple):
    """An SDK: the seconds that it takes off a token's and off a ticket's life, and whether a refusal makes it ask again.

    `asks_a_loop`: fewer for one that asks again without end while WeChat refuses a living token.
    """

    token_margin_seconds: int = 0
    ticket_margin_seconds: int = 0
    heals: bool = True
    stable_margin_seconds: int | None = None
    asks_a_loop: int = ASKS_A_LOOP

    def told(self, left_seconds: int, *, ticket: bool = False, stable: bool = False) -> int:
        """The `expires_in` to answer while so many seconds are left: the SDK's own cache then ends in time, and not before."""
        margin = self.ticket_margin_seconds if ticket else self.token_margin_seconds
        if stable and self.stable_margin_seconds is not None:
            margin = self.stable_margin_seconds
        return (left_seconds if self.heals else min(left_seconds, NEVER_HEALS_SECONDS)) + margin


PLAIN: Final = Preset()
PRESETS: Final = {
    "wechatpy": Preset(60, 60, asks_a_loop=6),
    "werobot": Preset(60, 60, heals=False),
    "co-wechat-api": Preset(10, 10),
    "wechat-api": Preset(10, 10, heals=False),
    "node-easywechat": Preset(0, 0, heals=False),
    "easywechat": Preset(0, 0, heals=False),
    "easywechat5": Preset(0, 500),
    "wxjava": Preset(200, 200),
    "silenceper": Preset(1500, 1500, heals=False, stable_margin_seconds=300),
    "powerwechat": Preset(0, 500),
    "senparc": Preset(0, 0),
}
