"""One thread per process that looks at the store once a second, and survives anything."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("wxsign.broker")

WATCH_SECONDS = 1.0
SILENT_SECONDS = 30.0


class Watcher:
    """Calls `watch` every second, at once when woken, and tells those who wait for a fresh look.

    Nothing runs before `ensure_running`, which also replaces a thread that died or has been silent for 30 s.
    """

    def __init__(self, watch: Callable[[], None], boot_clock: Callable[[], float]) -> None:
        self._watch = watch
        self._boot = boot_clock
        self._turn = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._woken = False
        self._asked = 0
        self._done = 0
        self.beat = 0.0
        self.failing = False

    @property
    def alive(self) -> bool:
        """Whether the thread runs and has shown itself lately."""
        thread = self._thread
        return thread is not None and thread.is_alive() and self._boot() - self.beat < SILENT_SECONDS

    def ensure_running(self) -> None:
        """Start the thread, or a new one in place of a dead or silent one."""
        with self._turn:
            if self._stopped or self.alive:
                return
            self.beat = self._boot()
            self._thread = threading.Thread(target=self._run, name="wxsign-watcher", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # No thread to be had: whoever asked is served from what is held, and a later request tries again.
                logger.exception("wxsign.no_thread")

    def wake(self) -> None:
        """Have the next look made now."""
        with self._turn:
            self._woken = True
            self._turn.notify_all()

    def sync(self, timeout_seconds: float) -> bool:
        """Wait for a look that starts after this call, at most `timeout_seconds`; say whether there was one."""
        self.ensure_running()
        with self._turn:
            if self._stopped:
                return False
            self._asked += 1
            mine = self._asked
            self._turn.notify_all()
            return self._turn.wait_for(lambda: self._done >= mine, timeout_seconds)

    def stop(self) -> None:
        """End the thread after the look it is at."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _mine(self) -> bool:
        return self._thread is threading.current_thread() and not self._stopped

    def _run(self) -> None:
        while self._mine():
            self.beat = self._boot()
            with self._turn:
                self._woken = False
                asked = self._asked
            try:
                self._watch()
                self.failing = False
            except Exception:
                # Told once, not every second.
                if not self.failing:
                    logger.exception("wxsign.watch_failed")
                self.failing = True
            self._rest(asked)

    def _rest(self, asked: int) -> None:
        with self._turn:
            self._done = max(self._done, asked)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._woken or self._asked > asked or self._stopped, WATCH_SECONDS)
