"""The spool's directory: durable names, an owner of one, and file systems that keep no promise."""

import os
import stat
from pathlib import Path

import pytest

from bridge.config import load
from bridge.errors import ConfigError
from bridge.spool import files
from bridge.spool.files import file_system, make_directory, refuse_unfit
from tests.spool.entries import ids_of, store_in

LINE = "{id} 1 0:{id} / {point} rw,relatime shared:1 - {kind} source rw\n"


def mounts(tmp_path: Path, **points: str) -> Path:
    table = tmp_path / "mountinfo"
    lines = [
        LINE.format(id=number, point=point, kind=kind) for number, (kind, point) in enumerate(points.items(), start=20)
    ]
    table.write_text("".join(lines))
    return table


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    table = mounts(tmp_path, ext4="/", nfs4="/srv", tmpfs="/srv/with\\040blank", xfs="/srv/data")
    assert file_system(Path("/home/x"), table) == "ext4"
    assert file_system(Path("/srv/x/y"), table) == "nfs4"
    assert file_system(Path("/srv/data"), table) == "xfs"
    assert file_system(Path("/srv/database"), table) == "nfs4"  # a name that only begins alike
    assert file_system(Path("/srv/with blank/x"), table) == "tmpfs"
    assert file_system(Path("/x"), tmp_path / "none") is None


def test_of_two_mounts_on_one_point_the_later_counts(tmp_path: Path) -> None:
    table = mounts(tmp_path, ext4="/data", nfs="/data")
    assert file_system(Path("/data/x"), table) == "nfs"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "tmpfs", "ramfs", "fuse.sshfs"])
def test_a_file_system_that_forgets_or_is_far_is_refused_by_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MOUNTS", mounts(tmp_path, **{kind: "/"}))
    with pytest.raises(ConfigError, match=rf"BRIDGE_DATA_DIR: .* is on {kind}, where"):
        refuse_unfit(tmp_path)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "ceph", "fuseblk"])
def test_what_may_be_durable_is_the_operators_word(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOUNTS", mounts(tmp_path, **{kind: "/"}))
    refuse_unfit(tmp_path)


def test_the_settings_refuse_it_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOUNTS", mounts(tmp_path, tmpfs="/"))
    env = {"BRIDGE_SPOOL": "on", "BRIDGE_DATA_DIR": str(tmp_path / "data")}
    with pytest.raises(ConfigError, match=r"BRIDGE_DATA_DIR: .* is on tmpfs"):
        load(env)
    load(env | {"BRIDGE_SPOOL": "off"})


def test_each_name_that_was_made_is_synced_in_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", fsync)
    make_directory(tmp_path / "a" / "b")
    assert set(synced) == {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")}


def test_the_files_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = store_in(tmp_path)
        ids_of(store)
        store.write(())
        store.save_totals()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()}
        assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["lock", "spool.db", "spool.db-wal", "totals.json"], 0o600)
