"""The wheel and the source distribution: complete, and usable without a checkout."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def run(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; its stdout, or a failure that shows its stderr."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(kind: str, source: Path, target: Path) -> Path:
    """Build a distribution, offline, and return its file."""
    run(sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", target, cwd=source)
    return next(target.iterdir())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel, built from the source distribution: whatever that lacks is missing here."""
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    return built("wheel", next(source.iterdir()), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the wheel alone, as an installation does."""
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def tracked(folder: str) -> set[str]:
    """Return the files of a folder, without what an interpreter leaves behind."""
    files = (
        path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_wheel_carries_every_module_and_every_page_inside_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert tracked("wxsign") <= names
    assert {f"wxsign/{name}" for name in tracked("static") | tracked("templates") | tracked("docs")} <= names
    assert "wxsign/py.typed" in names


def test_the_wheel_puts_nothing_beside_the_package(wheel):
    """A global module `app`, or `static`, would meet those of the application that installs us."""
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"wxsign"}


def test_the_source_distribution_is_what_a_packager_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "Makefile",
        "app.py",
        "deploy/nginx.conf",
        "tests/test_packaging.py",
    } <= names
    assert not {name for name in names if name.startswith((".venv", "node_modules", "var", ".git/", "dist"))}


def in_wheel(installed: Path, cwd: Path, code: str) -> str:
    """Run code that finds `wxsign` in the installed wheel and nowhere else."""
    prelude = f"import sys; sys.path.insert(0, {str(installed)!r});"
    return run(sys.executable, "-c", prelude + code, cwd=cwd)


def test_the_installed_wheel_finds_its_pages_and_its_script_without_a_checkout(installed, tmp_path):
    code = """
import os
os.environ.update(
    WXSIGN_APPID='wx0123456789abcdef', WXSIGN_SECRET='0' * 32, WXSIGN_ALLOWED_HOSTS='m.example.com', WXSIGN_STORE='memory:'
)
import wxsign.wsgi
client = wxsign.wsgi.app.test_client()
print(wxsign.wsgi.__file__)
for path in ('/', '/demo', '/docs/', '/static/wxsign.js', '/healthz'):
    print(path, client.get(path).status_code)
"""
    where, *answers = in_wheel(installed, tmp_path, code).splitlines()
    assert where.startswith(str(installed))
    assert answers == ["/ 200", "/demo 200", "/docs/ 200", "/static/wxsign.js 200", "/healthz 200"]


def test_the_command_is_installed_and_names_its_version(installed, tmp_path):
    script = "from wxsign.cli import main; sys.argv = ['wxsign', '--version']; main()"
    version = re.search(r'__version__ = "(.+)"', (ROOT / "wxsign/__init__.py").read_text())
    assert version is not None
    assert version[1] in in_wheel(installed, tmp_path, script)
    entry_points = next(installed.glob("wxsign-*.dist-info")) / "entry_points.txt"
    assert "wxsign = wxsign.cli:main" in entry_points.read_text()
    assert "[pytest11]\nwxsign.testing = wxsign.testing" in entry_points.read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locked_requirements_name_versions_and_hashes_and_no_address(lock):
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(
        r"^(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)", text, re.MULTILINE
    )
    pins = re.findall(r"^([a-z0-9-]+)==\S+(.*(?:\n    --hash.*)*)", text, re.MULTILINE)
    assert pins
    assert [name for name, hashes in pins if "--hash=sha256:" not in hashes] == []


def test_every_lock_holds_the_same_version_of_a_package():
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_every_declared_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def missing(requirements: list[str], lock: str) -> set[str]:
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))
        declared = {re.match(r"[A-Za-z0-9-_]+", line)[0].lower().replace("_", "-") for line in requirements}
        return declared - locked - {project["name"]}

    extras = project["optional-dependencies"]
    assert missing(project["dependencies"] + extras["redis"], "runtime.txt") == set()
    assert missing(project["dependencies"] + extras["dev"], "dev.txt") == set()
    built_with = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert missing(built_with, "build.txt") == set()
