"""The store in the memory of one process, and the URLs that name stores."""

import pytest
from store_conformance import NAME, START, ForeignConformance, RecordConformance, Rig, StoreConformance

from wxsign.stores import MemoryStore, SqliteStore, open_store


class MemoryRig(Rig):
    def __init__(self):
        self.time = START
        self.store = MemoryStore(lambda: self.time)

    def open(self):
        return self.store

    def advance(self, seconds):
        self.time += seconds

    def empty(self):
        self.store.__init__(lambda: self.time)

    def plant(self, name, text, version, schema):
        del version, schema  # they stand in the text
        self.store._records[name] = text

    def spoil(self, foreign):
        self.store._records[NAME] = foreign
        self.store._leases[NAME] = (foreign, foreign, foreign)
        self.store._notes[NAME] = (foreign, foreign)
        self.store._counters[NAME] = (foreign, foreign)


class TestMemoryStore(StoreConformance, ForeignConformance):
    @pytest.fixture
    def rig(self):
        return MemoryRig()


class TestRecords(RecordConformance):
    pass


def test_a_url_names_a_store_and_nothing_is_opened(tmp_path):
    assert isinstance(open_store("memory:"), MemoryStore)
    store = open_store(f"sqlite:///{tmp_path}/sub/wxsign.db")
    assert isinstance(store, SqliteStore)
    assert str(tmp_path) in repr(store)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "memory", "postgres://u:top-secret@h/d", "/var/wxsign.db"]
)
def test_a_url_that_names_no_store_is_refused_without_repeating_its_password(url):
    with pytest.raises(ValueError, match="memory: or sqlite:///path") as refused:
        open_store(url)
    assert "top-secret" not in str(refused.value)


def test_the_clock_of_a_store_is_the_one_handed_in(tmp_path):
    for url in ("memory:", f"sqlite:///{tmp_path}/wxsign.db"):
        assert open_store(url, clock=lambda: 42.0).now() == 42.0
