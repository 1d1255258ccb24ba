"""The last good configuration: what a gunicorn master has read and checked, and its workers inherit when they fork.

A worker that starts later, after a crash or a reload, takes it from here and never from the file, which somebody may be in
the middle of editing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wxsign.errors import ConfigError
from wxsign.settings.reading import load_settings

if TYPE_CHECKING:
    from wxsign.settings.values import Settings

logger = logging.getLogger("wxsign.config")


class Snapshot:
    """`settings` are the last that could be used, None before anything was read; `rejected` says that later ones could not."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.rejected = False

    def read(self) -> None:
        """Read the configuration of the first start. Raises `ConfigError`."""
        self.settings = load_settings()

    def read_again(self) -> None:
        """Read it anew; where it cannot be used, the last good one stays, and one line says every problem."""
        try:
            self.read()
        except ConfigError as error:
            self.rejected = True
            logger.error("wxsign.config_rejected", extra={"fields": {"problems": str(error)}})  # noqa: TRY400 - a sentence, no traceback
        else:
            self.rejected = False


SNAPSHOT = Snapshot()
"""This process's own, and by fork that of its workers."""
