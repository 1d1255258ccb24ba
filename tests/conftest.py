"""What every test shares: a clean environment, and programs that a test may need."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Modules of assertions that several test files share.
pytest.register_assert_rewrite("store_conformance", "broker_desk")

_PROXY_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


def pytest_configure() -> None:
    """Forget the settings and proxies of the shell: a developer's own account must never be spoken for by a test."""
    for name in list(os.environ):
        if name.startswith("WXSIGN_") or name.upper() in _PROXY_VARIABLES:
            del os.environ[name]
    # Other work on the same machine must not fail a property by its slowness.
    settings.register_profile("wxsign", deadline=None)
    settings.load_profile("wxsign")


GRANIAN = pytest.mark.skipif(
    find_spec("granian") is None, reason="Granian is not installed: the extra `granian`"
)


@pytest.fixture(params=["gunicorn", pytest.param("granian", marks=GRANIAN)])
def server(request: pytest.FixtureRequest) -> str:
    """Each server that `wxsign serve` knows."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command under test configures the logging of its process, which is ours: put it back."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True)
def _metrics_folder_as_it_was() -> Iterator[None]:
    """A hook of gunicorn's master under test names a folder of its own, which no process of another test may look for."""
    before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    yield
    if before is None:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    else:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = before


@pytest.fixture(autouse=True, scope="module")
def _no_watcher_outlives_its_module() -> Iterator[None]:
    """A service that a test started and left would go on asking and logging through all that follow."""
    yield
    watchers = [thread for thread in threading.enumerate() if thread.name == "wxsign-watcher"]
    for thread in watchers:
        thread.join(5)
    assert not any(thread.is_alive() for thread in watchers), "stop the service"


def find_program(name: str) -> str:
    """Return the path of a program, or skip the test where it is missing; with CI=true that is a failure."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian: apt install {name})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Ask for a real server by name: `nginx = require_program("nginx")`."""
    return find_program
