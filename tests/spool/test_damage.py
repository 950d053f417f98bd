"""A damaged spool opens all the same: what is good of it is taken over, what is gone is counted, nothing is deleted."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigError, SpoolFailed
from bridge.spool.model import Opened, Row, lane_of
from bridge.spool.sql import VERSION, encode, totals_crc
from bridge.spool.store import Store
from tests.spool.entries import entry, quick_folder, store_in

# Small ones, of which a page holds many, and such as fill several pages.
ENTRIES = [entry(number, key=f"k{number % 3}", size=(90, 400, 3000, 9000)[number % 4]) for number in range(48)]
DELETED, MERGED = range(10), 24  # of the entries: those deleted meanwhile, and how many are not only in the log
LIVE = {item.record.dedup_id for item in ENTRIES[len(DELETED) :]}
BY_ID = {item.record.dedup_id: item for item in ENTRIES}
DB, LOG, TOTALS = "spool.db", "spool.db-wal", "totals.json"


class Files(dict[str, bytes]):
    """By name."""

    def __repr__(self) -> str:
        return "<files>"  # hypothesis shows what a failing test was given


@pytest.fixture(scope="module")
def killed() -> Iterator[dict[str, bytes]]:
    """The files of a spool whose process was killed: half of its rows are in the log alone."""
    with quick_folder() as folder:
        store = store_in(folder)
        store.open(lambda *_row: None)
        first = store.write([encode(item) for item in ENTRIES[:MERGED]])
        store.write((), first.seqs[:5])
        store.checkpoint()
        store.write([encode(item) for item in ENTRIES[MERGED : MERGED + 12]], first.seqs[5:10])
        store.write([encode(item) for item in ENTRIES[MERGED + 12 :]])
        store.save_totals()
        files = Files((name, (folder / "spool" / name).read_bytes()) for name in (DB, LOG, TOTALS))
        store.close()
    assert all(files.values())
    yield files


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    (folder / "spool").mkdir()
    for name, content in files.items():
        (folder / "spool" / name).write_bytes(content)
    return folder


def opened(folder: Path) -> tuple[Opened, list[Row], Store]:
    """Open it, read all lanes, write, close."""
    store = store_in(folder)
    lanes: dict[tuple[str, str], None] = {}
    found = store.open(lambda lane, _source, _dedup_id: lanes.setdefault(lane))
    rows = [row for lane in lanes for row in store.read(lane, 1000)]
    assert len(rows) == found.rows == store.totals.rows
    for row in rows:
        assert row.entry == BY_ID[row.entry.record.dedup_id]
        assert lane_of(row.entry) in lanes
    (seq,) = store.write([encode(entry(1000))]).seqs  # it takes more
    assert seq > max((row.seq for row in rows), default=0)
    store.write((), [seq])
    store.close()
    return found, rows, store


def flipped(content: bytes, offset: int, mask: int) -> bytes:
    damaged = bytearray(content)
    damaged[offset % len(content)] ^= mask
    return bytes(damaged)


def test_a_killed_spool_is_taken_as_it_is(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        found, rows, _store = opened(laid(folder, killed))
        assert (found.quarantined, found.lost) == (None, 0)
        assert {row.entry.record.dedup_id for row in rows} == LIVE


def aside(folder: Path) -> set[str]:
    return {path.name for path in (folder / "spool").iterdir() if "damaged" in path.name}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([DB, LOG]), st.integers(0, 1 << 20), st.integers(1, 255))
@example(DB, 0, 1)  # no SQLite file any more
@example(DB, 18, 3)  # of another journal mode
@example(DB, 28, 255)  # of another size
@example(DB, 100, 8)  # the root of the schema
@example(DB, 4096, 8)  # the root of the rows
@example(LOG, 0, 1)
@example(LOG, 16, 1)  # the salts, which tell old frames from new ones
@example(LOG, 40, 1)
@example(LOG, 2 * 4120 + 32 + 500, 1)  # where SQLite's log ends without a word
def test_a_flipped_byte_costs_one_row_at_most(killed: dict[str, bytes], name: str, offset: int, mask: int) -> None:
    with quick_folder() as folder:
        laid(folder, killed | {name: flipped(killed[name], offset, mask)})
        found, rows, store = opened(folder)
        missing = LIVE - {row.entry.record.dedup_id for row in rows}
        assert len(missing) <= 1
        assert len(missing) <= found.lost + (len(rows) - len(LIVE & {row.entry.record.dedup_id for row in rows}))
        if found.quarantined is not None:
            assert found.quarantined.name in aside(folder)
            assert found.reason
            assert store.totals.quarantined == 1
        again, rows_again, _store = opened(folder)
        assert again.quarantined is None
        assert len(rows_again) == len(rows)


def _damage(name: str) -> st.SearchStrategy[tuple[str, str, int, int]]:
    kinds = st.sampled_from(["flip", "zero", "cut", "noise", "double"])
    return st.tuples(st.just(name), kinds, st.integers(0, 1 << 18), st.integers(1, 1 << 14))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(_damage(DB), _damage(LOG), _damage(TOTALS)), min_size=1, max_size=4), st.booleans())
@example([(DB, "cut", 0, 1)], True)
@example([(DB, "cut", 0, 1), (LOG, "cut", 0, 1)], True)
@example([(LOG, "cut", 0, 1)], True)
@example([(LOG, "cut", 9000, 1)], True)
@example([(TOTALS, "cut", 0, 1)], False)
@example([(DB, "noise", 4059, 2), (LOG, "flip", 0, 1)], False)  # SQLite's message quotes what is no text
def test_whatever_the_files_hold_it_opens_and_no_loss_is_silent(
    killed: dict[str, bytes], damages: list[tuple[str, str, int, int]], totals_are_good: bool
) -> None:
    files = dict(killed)
    for name, kind, offset, length in damages:
        if name == TOTALS and totals_are_good:
            continue
        at = offset % (len(files[name]) or 1)
        before, hit, after = files[name][:at], files[name][at : at + length], files[name][at + length :]
        changed = {
            "flip": bytes(byte ^ 0x55 for byte in hit),
            "zero": bytes(len(hit)),
            "noise": bytes((index * 167 + length) % 256 for index in range(len(hit))),
            "double": hit + hit,
        }
        files[name] = before if kind == "cut" else before + changed[kind] + after
    with quick_folder() as folder:
        found, rows, store = opened(laid(folder, files))
        live = LIVE & {row.entry.record.dedup_id for row in rows}
        reappeared = len(rows) - len(live)
        if totals_are_good:
            assert len(live) + found.lost + reappeared >= len(LIVE)
            assert store.totals.accepted - store.totals.deleted - store.totals.lost == len(rows)
        assert opened(folder)[0].quarantined is None


@pytest.mark.parametrize("empty", [False, True])
def test_without_the_file_the_rows_of_its_log_are_taken_over(killed: dict[str, bytes], empty: bool) -> None:
    """SQLite would delete the log."""
    with quick_folder() as folder:
        files = killed | {DB: b""} if empty else {name: killed[name] for name in (LOG, TOTALS)}
        found, rows, _store = opened(laid(folder, files))
        assert {item.record.dedup_id for item in ENTRIES[MERGED:]} <= {row.entry.record.dedup_id for row in rows}
        assert found.lost == len(LIVE) - len(rows)


def test_a_row_that_is_gone_without_having_been_taken_out_is_lost(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        laid(folder, killed)
        db = sqlite3.connect(folder / "spool" / DB)
        db.execute("DELETE FROM rows WHERE dedup_id = 'e20@t.a'")
        db.commit()
        db.close()
        found, rows, _store = opened(folder)
        assert (found.lost, len(rows)) == (1, len(LIVE) - 1)
        assert found.reason == f"it has {len(LIVE) - 1} rows where there must be {len(LIVE)}"


@pytest.mark.parametrize("gone", [[DB], [DB, LOG], [LOG]])
def test_missing_files_are_counted_as_lost_rows(killed: dict[str, bytes], gone: list[str]) -> None:
    with quick_folder() as folder:
        found, rows, store = opened(laid(folder, {name: c for name, c in killed.items() if name not in gone}))
        live = LIVE & {row.entry.record.dedup_id for row in rows}
        assert found.lost == store.totals.lost >= len(LIVE) - len(rows) > 0
        assert len(live) < len(LIVE)


def test_without_totals_a_good_file_is_good(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        found, rows, _store = opened(laid(folder, {name: killed[name] for name in (DB, LOG)}))
        assert (found.quarantined, found.lost, len(rows)) == (None, 0, len(LIVE))


@pytest.mark.parametrize("version", [0, 1, 77])
def test_a_file_of_another_version_is_set_aside_and_its_good_rows_are_taken_over(
    killed: dict[str, bytes], version: int
) -> None:
    with quick_folder() as folder:
        laid(folder, killed)
        db = sqlite3.connect(folder / "spool" / DB)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        found, rows, _store = opened(folder)
        assert found.reason == f"it is of version {version}; this is {VERSION}"
        assert found.lost == 0
        assert {row.entry.record.dedup_id for row in rows} == LIVE


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_events_in_the_layout_of_another_version_are_left_to_it_and_an_empty_file_is_set_aside(
    killed: dict[str, bytes], version: int
) -> None:
    """A version that was rolled back, or out, must not take for damage what the other one answered with success."""
    with quick_folder() as folder:
        laid(folder, killed)
        path = folder / "spool" / DB
        db = sqlite3.connect(path)
        db.execute("ALTER TABLE rows ADD COLUMN another INTEGER")
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=f"events of another version of the bridge .its layout is {version},"):
            opened(folder)
        assert path.read_bytes() == before
        db = sqlite3.connect(path)
        assert db.execute("SELECT count(*) FROM rows").fetchone() == (len(LIVE),)
        totals = (len(BY_ID), len(BY_ID), 0, 0, len(BY_ID))
        db.execute("DELETE FROM rows")  # as that one's drain does
        db.execute("UPDATE totals SET deleted = accepted, crc = ?", (totals_crc(totals),))
        db.commit()
        db.close()
        found, rows, _store = opened(folder)
        assert (rows, found.lost, found.quarantined is None) == ([], 0, False)


def test_a_file_of_something_else_is_set_aside_whole(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        (folder / "spool").mkdir()
        db = sqlite3.connect(folder / "spool" / DB)
        db.execute("CREATE TABLE precious (thing TEXT)")
        db.execute("INSERT INTO precious VALUES ('x')")
        db.commit()
        db.close()
        found, rows, _store = opened(folder)
        assert rows == []
        assert found.quarantined is not None
        db = sqlite3.connect(found.quarantined)
        assert db.execute("SELECT thing FROM precious").fetchall() == [("x",)]
        db.close()


def test_each_damaged_file_keeps_a_name_of_its_own(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        opened(laid(folder, killed))
        for number in (1, 2, 3):
            path = folder / "spool" / DB
            path.write_bytes(flipped(path.read_bytes(), 0, 1))
            found, rows, store = opened(folder)
            assert found.quarantined == path.with_name(f"spool.db.damaged-{number}")
            assert store.totals.quarantined == number
            assert {row.entry.record.dedup_id for row in rows} == LIVE
        assert aside(folder) == {"spool.db.damaged-1", "spool.db.damaged-2", "spool.db.damaged-3"}


def test_a_repair_that_was_cut_off_is_finished_at_the_next_start(
    killed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each rename and each removal of it; what is on the disk at that moment is what the next start finds."""
    damaged = killed | {LOG: flipped(killed[LOG], 2 * 4120 + 32 + 500, 1)}
    with quick_folder() as folder, quick_folder() as copies, monkeypatch.context() as patched:
        moments = 0

        def keeping(original: Callable[..., object]) -> Callable[..., object]:
            def call(self: Path, *arguments: object, **settings: object) -> object:
                nonlocal moments
                shutil.copytree(folder / "spool", copies / str(moments) / "spool")
                moments += 1
                return original(self, *arguments, **settings)

            return call

        for name in ("rename", "replace", "unlink"):
            patched.setattr(Path, name, keeping(getattr(Path, name)))
        store = store_in(laid(folder, damaged))
        store.open(lambda *_row: None)
        patched.undo()
        store.close()
        assert moments > 6
        for moment in range(moments):
            _found, rows, _store = opened(copies / str(moment))
            assert {row.entry.record.dedup_id for row in rows} == LIVE, moment
            contents = {path.name: path.read_bytes() for path in (copies / str(moment) / "spool").iterdir()}
            assert {contents.pop(name) for name in aside(copies / str(moment))} == {damaged[DB], damaged[LOG]}
            assert contents.keys() == {"lock", DB, TOTALS}


def test_a_row_damaged_meanwhile_is_never_given_out(killed: dict[str, bytes]) -> None:
    with quick_folder() as folder:
        store = store_in(laid(folder, killed))
        store.open(lambda *_row: None)
        store._db.execute("UPDATE rows SET value = value || 'x' WHERE dedup_id = 'e20@t.a'")  # type: ignore[union-attr]
        with pytest.raises(SpoolFailed, match="damaged"):
            store.read(("t.a", "k2"), 100)
        store.close()
        assert opened(folder)[0].lost == 1


def test_a_directory_that_cannot_be_written_is_the_operators_matter(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigError, match="BRIDGE_DATA_DIR"):
        store_in(tmp_path).open(lambda *_row: None)
    shutil.rmtree(tmp_path, ignore_errors=True)
