"""The WSGI door of one machine of the fleet.

CHAOS_MACHINE names a folder that stands for the machine; its name is the machine's. Two files in it are read at every use:
`clock`, how many seconds the machine's wall clock is ahead, and `egress`, the address that its calls of WeChat leave from.
With an address that does not exist here the machine is cut off from WeChat.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from wxsign.broker import Surroundings
from wxsign.logs import configure
from wxsign.service import WxSign
from wxsign.settings import load_settings
from wxsign.stores import MachineStore, open_store
from wxsign.web import create_app
from wxsign.wechat import exchange

MACHINE = Path(os.environ["CHAOS_MACHINE"])


def wall_clock() -> float:
    """The machine's own clock, as far off as its file says."""
    return time.time() + float(_told("clock") or 0)


def _told(name: str) -> str:
    file = MACHINE / name
    return file.read_text() if file.exists() else ""


class _FromOwnAddress(exchange._Adapter):  # noqa: SLF001 - the one place where a call's socket is made
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        egress = _told("egress")
        if egress:
            kwargs["source_address"] = (egress, 0)
        super().init_poolmanager(*args, **kwargs)


configure()
setattr(exchange, "_Adapter", _FromOwnAddress)  # noqa: B010 - a machine's address is no setting of the client's
app = create_app(
    WxSign(
        load_settings(),
        # Redis goes by its own clock.
        open_store=lambda url: open_store(url, wall_clock if url.startswith("sqlite:") else None),
        surroundings=Surroundings(
            wall_clock=wall_clock,
            machine=MACHINE.name,
            machine_store=MachineStore(MACHINE.name, wall_clock, MACHINE / "store"),
        ),
    )
)
