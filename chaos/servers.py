"""A relay that makes a server slow, and a disk that is soon full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Relay:
    """Passes bytes on to a port, each answer `delay_seconds` late."""

    def __init__(self, target: int) -> None:
        self.delay_seconds = 0.0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop passing on."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pass(reader, back, late=False), self._pass(there, writer, late=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if late:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of half a megabyte on `folder`; raises OSError where that is not allowed."""
    _system("mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", str(folder))
    try:
        yield
    finally:
        _system("umount", "-l", str(folder))


def remount(folder: Path, how: str) -> None:
    """Make a mounted file system read-only (`ro`) or writable (`rw`); raises OSError."""
    _system("mount", "-o", f"remount,{how}", str(folder))


def _system(*command: str) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(command[0])
    status = os.spawnv(os.P_WAIT, program, command)  # noqa: S606 - no shell is wanted
    if status:
        raise PermissionError(f"{command[0]} is not allowed here")
