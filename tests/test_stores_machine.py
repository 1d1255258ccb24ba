"""What the processes of a machine share while the store of the fleet is away."""

import os

import pytest
from store_conformance import START

from wxsign.errors import StoreUnavailable
from wxsign.stores import MachineStore

LIFE = 5.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "wxsign"


def store(folder, machine="m1", now=START):
    return MachineStore(machine, lambda: now, folder)


def test_one_process_of_a_machine_has_the_lease_until_it_gives_it_back(folder):
    first, second = store(folder), store(folder)
    lease = first.acquire("token", "m1:1", LIFE, 0)
    assert second.acquire("token", "m1:2", LIFE, 0) is None
    assert second.acquire("ticket", "m1:2", LIFE, 0) is not None
    first.release(lease)
    assert second.acquire("token", "m1:2", LIFE, 0).number > lease.number


def test_the_lease_of_a_process_that_was_killed_lapses(folder):
    assert store(folder).acquire("token", "m1:1", LIFE, 0)
    assert store(folder, now=START + 4.9).acquire("token", "m1:2", LIFE, 0) is None
    assert store(folder, now=START + LIFE).acquire("token", "m1:2", LIFE, 0).follows_lapse


def test_what_one_process_notes_the_others_read(folder):
    store(folder).note("door", "closed", 60)
    assert store(folder).view((), ["door"]).notes == {"door": "closed"}


def test_the_number_is_above_what_the_asker_knows(folder):
    assert store(folder).acquire("token", "m1:1", LIFE, 10**15).number == 10**15 + 1


def test_machines_that_share_a_folder_have_files_of_their_own(folder):
    assert store(folder).acquire("token", "m1:1", LIFE, 0)
    assert store(folder, "m2/../..").acquire("token", "m2:1", LIFE, 0)


def test_the_folder_and_its_files_are_this_users_alone(folder):
    store(folder).acquire("token", "m1:1", LIFE, 0)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: folder.write_text("a file"),
        lambda folder: folder.symlink_to(folder.parent),
        lambda folder: (folder.mkdir(), folder.chmod(0o777)),
        pytest.param(
            lambda folder: (folder.mkdir(mode=0o700), os.chown(folder, 1, 1)),
            marks=pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away"),
        ),
        lambda folder: folder.parent.rmdir(),
    ],
    ids=["a file", "a link", "open to all", "somebody else's", "nowhere"],
)
def test_a_folder_that_others_may_have_prepared_is_not_used(tmp_path, prepare):
    folder = tmp_path / "above" / "wxsign"
    folder.parent.mkdir()
    prepare(folder)
    with pytest.raises(StoreUnavailable):
        store(folder).acquire("token", "m1:1", LIFE, 0)


def test_a_folder_that_was_cleaned_away_is_made_again(folder):
    here = store(folder)
    lease = here.acquire("token", "m1:1", LIFE, 0)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    here.release(lease)
    assert here.acquire("token", "m1:1", LIFE, 0)
