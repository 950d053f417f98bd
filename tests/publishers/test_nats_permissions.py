"""What a user's rules mean for the topics."""

import pytest

from bridge.publishers.nats.permissions import judge

TOPICS = ("events.shop.>",)


@pytest.mark.parametrize(
    ("allow", "deny"),
    [([], []), ([">"], []), (["events.>"], []), (["events.shop.>"], ["events.other.>"]), (["events.*.>"], [])],
)
def test_all_of_a_topic_may_be_published(allow: list[str], deny: list[str]) -> None:
    found = judge(TOPICS, allow=allow, deny=deny)
    assert not found.reasons
    assert not found.doubts


@pytest.mark.parametrize(
    ("allow", "deny"),
    [(["other.>"], []), ([], ["events.>"]), (["events.>"], ["events.shop.>"]), (["events.shop"], [])],
)
def test_nothing_of_a_topic_may_be_published(allow: list[str], deny: list[str]) -> None:
    found = judge(TOPICS, allow=allow, deny=deny)
    assert found.reasons == ("our user may not publish to events.shop.>: allow it",)
    assert not found.doubts


@pytest.mark.parametrize(
    ("allow", "deny"),
    [(["events.shop.call"], []), ([], ["events.shop.connection.auth"]), (["events.>"], ["*.shop.call"])],
)
def test_a_part_of_a_topic_may_be_published(allow: list[str], deny: list[str]) -> None:
    found = judge(TOPICS, allow=allow, deny=deny)
    assert not found.reasons
    assert "a part of events.shop.>" in found.doubts[0]
