import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.config import Config, Secret, SourceConfig, ensure_tokens, find_token
from bridge.errors import ConfigError

OWN = Secret("3f9c0d1be7a24685b0c4d2e8f6a1")


def config_in(folder: Path, *sources: SourceConfig) -> Config:
    return Config(data_dir=folder / "data", sources=sources or (SourceConfig(name="shop", provider="chatlevel"),))


def token_of(config: Config, source: str = "shop") -> str:
    (token,) = config.source(source).token
    return token.reveal()


def test_a_missing_token_is_made_once_and_kept_for_the_owner_alone(tmp_path: Path) -> None:
    config = config_in(tmp_path)

    first = token_of(ensure_tokens(config))

    file = tmp_path / "data" / "tokens" / "shop"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", first)
    assert token_of(ensure_tokens(config)) == first == file.read_text().strip()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in file.parent.iterdir()] == ["shop"]


def test_each_source_has_its_own(tmp_path: Path) -> None:
    config = ensure_tokens(
        config_in(tmp_path, SourceConfig(name="a", provider="chatlevel"), SourceConfig(name="b", provider="chatlevel"))
    )

    assert token_of(config, "a") != token_of(config, "b")


def test_nothing_is_made_where_nothing_is_missing(tmp_path: Path) -> None:
    config = config_in(
        tmp_path,
        SourceConfig(name="own", provider="chatlevel", token=(OWN,)),
        SourceConfig(name="open", provider="chatlevel", verify="none"),
    )

    assert ensure_tokens(config) == config
    assert not (tmp_path / "data").exists()
    assert find_token(config, "own") == OWN
    assert find_token(config, "open") is None


def test_send_finds_the_kept_token_and_makes_none(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    assert find_token(config, "shop") is None
    assert not (tmp_path / "data").exists()

    made = token_of(ensure_tokens(config))

    found = find_token(config, "shop")
    assert found is not None
    assert found.reveal() == made
    with pytest.raises(KeyError):
        find_token(config, "other")


def test_many_at_the_same_time_agree_on_one_token(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: token_of(ensure_tokens(config)), range(64)))

    assert len(tokens) == 1
    assert [path.name for path in (tmp_path / "data" / "tokens").iterdir()] == ["shop"]


def test_a_kept_token_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    first = token_of(ensure_tokens(config))
    file = tmp_path / "data" / "tokens" / "shop"
    file.chmod(0o644)

    assert token_of(ensure_tokens(config)) == first
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "short", "not a token of ours at all", "x" * 70_000])
def test_a_damaged_token_is_reported_and_never_replaced(tmp_path: Path, content: str) -> None:
    """A new one would silently break the URL the provider has."""
    file = tmp_path / "data" / "tokens" / "shop"
    file.parent.mkdir(parents=True)
    file.write_text(content)

    for use in (ensure_tokens, lambda config: find_token(config, "shop")):
        with pytest.raises(ConfigError) as raised:
            use(config_in(tmp_path))
        (problem,) = raised.value.problems
        assert problem.variable == "BRIDGE_SOURCE_SHOP_TOKEN"
        assert str(file) in problem.found
    assert file.read_text() == content


def test_a_directory_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the way")
    config = config_in(tmp_path, *(SourceConfig(name=name, provider="chatlevel") for name in ("a", "b")))

    with pytest.raises(ConfigError) as raised:
        ensure_tokens(config)

    assert [problem.variable for problem in raised.value.problems] == [
        "BRIDGE_SOURCE_A_TOKEN",
        "BRIDGE_SOURCE_B_TOKEN",
    ]
    assert "BRIDGE_DATA_DIR" in raised.value.problems[0].expected


def test_the_umask_cannot_open_it(tmp_path: Path) -> None:
    """In a process of its own: the umask belongs to all threads of ours."""
    code = (
        "import os, sys; os.umask(0); from pathlib import Path\n"
        "from bridge.config import Config, ensure_tokens\n"
        "ensure_tokens(Config(data_dir=Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=dict(os.environ), timeout=30)

    file = tmp_path / "tokens" / "chatlevel"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_directory_that_others_could_list_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "tokens"
    folder.mkdir(parents=True, mode=0o755)

    ensure_tokens(config_in(tmp_path))

    assert folder.stat().st_mode & 0o777 == 0o700
