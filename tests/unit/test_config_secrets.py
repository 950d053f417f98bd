import copy
import json
import pickle
from pathlib import Path

import msgspec
import pytest

from bridge.config import Config, Secret, SourceConfig, read_secret_file

VALUE = "3f9c0d1be7a24685b0c4d2e8f6a1"


class Plain(msgspec.Struct):
    secret: Secret


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{:>60}".format, "{!r}".format, "{!a}".format, "%s".__mod__, "%-60r".__mod__]
)
def test_no_way_of_formatting_shows_the_value(show: object) -> None:
    assert callable(show)
    secret = Secret(VALUE, Path("/run/secrets/token"))
    config = Config(sources=(SourceConfig(name="a", provider="chatlevel", token=(secret,)),))

    for shown in (show(secret), show(f"{[secret]}"), show(str(Plain(secret))), show(f"{config}")):
        assert VALUE not in shown
        assert "Secret(***)" in shown
    assert secret.reveal() == VALUE


def test_it_is_not_encodable_and_not_picklable() -> None:
    secret = Secret(VALUE)

    for encode in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, json.dumps, pickle.dumps):
        with pytest.raises(TypeError) as raised:
            encode(Plain(secret) if encode is not json.dumps else [secret])
        assert VALUE not in str(raised.value)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(secret)


def test_equal_by_value_and_never_a_dict_key() -> None:
    assert Secret(VALUE) == Secret(VALUE, Path("elsewhere"))
    assert Secret(VALUE) != Secret(VALUE[:-1])
    assert Secret("ä\udcff") == Secret("ä\udcff")
    assert Secret(VALUE) != VALUE
    with pytest.raises(TypeError):
        hash(Secret(VALUE))


def test_reading_the_file_again_gives_the_value_of_today(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{VALUE}\r\n")
    secret = Secret(read_secret_file(path), path)
    path.write_text(" other \n\n")

    assert secret.path is not None
    assert (secret.reveal(), read_secret_file(secret.path)) == (VALUE, " other ")


@pytest.mark.parametrize(
    ("content", "found"),
    [(b" \t\n", "is empty"), (b"x" * 65_536, None), (b"x" * 65_537, "is larger than 65536 bytes")],
)
def test_a_file_of_nothing_or_without_an_end_is_no_secret(content: bytes, found: str | None, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    if found is None:
        assert read_secret_file(path) == content.decode()
    else:
        with pytest.raises(ValueError, match=f"^{found}$"):
            read_secret_file(path)
