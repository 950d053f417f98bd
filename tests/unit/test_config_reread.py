from pathlib import Path

import pytest

from bridge.config import Secret, SourceConfig, reread_tokens
from bridge.errors import ConfigError

GOOD = "k7Jq2mX9vB4tR8wZ1nLc"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "cannot be read: No such file"),
        ("", "is empty"),
        (" , \n", "has separators and nothing between them"),
        ("sh0rt", "the token has 5 characters"),
        (f"{GOOD}\nchangeme-changeme-changeme", "token 2 of 2 looks like a placeholder"),
        (b"\xff" * 20, "is not UTF-8 text"),
    ],
)
def test_what_the_start_would_refuse_is_refused_later_too(
    content: str | bytes | None, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = SourceConfig(name="shop", provider="chatlevel", token=(Secret(GOOD, path),))
    with pytest.raises(ConfigError) as raised:
        reread_tokens(source, path)
    (problem,) = raised.value.problems
    assert problem.variable == "BRIDGE_SOURCE_SHOP_TOKEN_FILE"
    assert found in problem.found
    assert "sh0rt" not in str(problem)


def test_several_tokens_are_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{GOOD}\n{GOOD}2, {GOOD}3\n")
    source = SourceConfig(name="shop", provider="chatlevel", token=(Secret(GOOD, path),))
    assert [token.reveal() for token in reread_tokens(source, path)] == [GOOD, f"{GOOD}2", f"{GOOD}3"]
