"""N9: what may be a subject and a header. The library lets wildcards, NUL and non-ASCII subjects through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import RecordRefused
from bridge.publishers.base import Record
from bridge.publishers.nats.records import encode_head, is_literal_subject
from bridge.publishers.nats.stream import covers

tricky = st.text(alphabet=st.sampled_from(list("ab.*> \t\r\n\0\x7f\u00fc\u2028-_$/")), max_size=12) | st.text()


def head(topic: str = "test.a", headers: dict[str, str] | None = None, dedup_id: str = "1") -> bytes:
    return encode_head(Record(topic, "k", b"", headers or {}, dedup_id), with_ttl=True)


@given(tricky)
def test_n9_a_subject_is_literal_printable_ascii_in_tokens_or_refused(topic: str) -> None:
    wanted = bool(topic) and all(
        token and all("!" <= letter <= "~" and letter not in "*>" for letter in token) for token in topic.split(".")
    )
    if wanted:
        head(topic)
    else:
        with pytest.raises(RecordRefused):
            head(topic)


@pytest.mark.parametrize("topic", ["events.chatlevel.message.received", "a", "$JS-like", "A_b-9.c/d:e"])
def test_n9_usual_subjects_are_taken(topic: str) -> None:
    assert is_literal_subject(topic)


def test_n9_a_subject_that_would_break_the_control_line_is_refused() -> None:
    head("x" * 1024)
    with pytest.raises(RecordRefused):
        head("x" * 1025)


@given(st.dictionaries(tricky, tricky, max_size=4), tricky)
def test_n9_no_header_can_add_a_line_or_end_the_block(headers: dict[str, str], dedup_id: str) -> None:
    try:
        block = head(headers=headers, dedup_id=dedup_id)
    except RecordRefused:
        return
    first, *lines, empty, end = block.decode().split("\r\n")
    assert (first, empty, end) == ("NATS/1.0", "", "")
    assert lines == [f"{name}: {value}" for name, value in [*headers.items(), ("Nats-Msg-Id", dedup_id)]]
    assert b"\0" not in block


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "a\r\nb", "gr\u00fc\u00dfe", "Nats-Rollup", "nats-msg-id", "Nats-TTL"]
)
def test_n9_a_header_that_steers_the_server_or_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(RecordRefused):
        head(headers={name: "all"})


def test_the_time_to_live_is_a_header_in_seconds_where_the_stream_takes_it() -> None:
    item = Record("test.a", "k", b"", {}, "1", ttl_s=60)
    assert b"\r\nNats-TTL: 60s\r\n" in encode_head(item, with_ttl=True)
    assert b"TTL" not in encode_head(item, with_ttl=False)


def test_the_records_own_headers_are_left_alone() -> None:
    headers = {"ce-id": "1"}
    head(headers=headers)
    assert headers == {"ce-id": "1"}


@pytest.mark.parametrize(
    ("pattern", "subject", "covered"),
    [
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a.>", True),
        ("a.>", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.*", True),
        ("a.*", "a.>", False),
        ("a.b", "a.*", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        (">", "a.>", True),
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
    ],
)
def test_which_subjects_a_pattern_covers(pattern: str, subject: str, covered: bool) -> None:
    assert covers(pattern, subject) is covered
