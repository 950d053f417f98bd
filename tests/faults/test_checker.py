"""The judge finds each kind of fault in histories that were forged to have it, and none in one that has none."""

import pytest

from tests.faults.checker import Verdict, check
from tests.faults.history import CUT, REFUSED, Attempt, Delivery, Read

KEY = "480001"


def sent(id_: str, *attempts: tuple[float, float, int], key: str = KEY, given_up: bool = False) -> Delivery:
    return Delivery(id_, key, int(id_[1:]), [Attempt(*attempt) for attempt in attempts], given_up)


def read(id_: str, key: str = KEY) -> Read:
    return Read(id_, key, int(id_[1:]))


def clean() -> list[Delivery]:
    return [sent("a0", (0, 1, 200)), sent("a1", (2, 3, 200)), sent("a2", (4, 4.5, 503), (5, 5.5, 200))]


def judged(found: list[Read], history: list[Delivery] | None = None) -> Verdict:
    return check(clean() if history is None else history, found)


def test_a_run_without_faults_has_none() -> None:
    verdict = judged([read("a0"), read("a1"), read("a2")])
    assert (verdict.sent, verdict.acknowledged) == (3, 3)
    assert not any((verdict.lost, verdict.given_up, verdict.strange, verdict.copies, verdict.disordered, verdict.cut))
    assert verdict.answers == {"200": 3, "503": 1}
    assert verdict.slowest_s == 1


def test_what_was_answered_with_success_and_is_not_there_is_lost() -> None:
    assert judged([read("a0"), read("a2")]).lost == ("a1",)


def test_what_was_never_answered_with_success_is_given_up_and_not_lost() -> None:
    tried = [sent("a0", (0, 1, 503), (2, 3, 503), given_up=True), sent("a1", (0, 1, 503), given_up=True)]
    verdict = judged([read("a1")], tried)  # a1 was stored although nobody could know
    assert (verdict.lost, verdict.given_up) == ((), ("a0",))


@pytest.mark.parametrize(
    "strange",
    [read("a9"), Read("a1", KEY, 7), Read("a1", "480002", 1)],
    ids=["of nobody", "another counter", "another key"],
)
def test_what_was_not_sent_so_is_strange(strange: Read) -> None:
    assert judged([read("a0"), read("a1"), read("a2"), strange]).strange == (strange,)


@pytest.mark.parametrize(
    ("attempts", "cause"),
    [
        ([(0, 1, 200)], "alone"),
        ([(0, 0, REFUSED), (1, 2, 200)], "alone"),
        ([(0, 1, 503), (2, 3, 200)], "retried"),
        ([(0, 1, CUT), (2, 3, 200)], "cut"),
        ([(0, 1, 503), (2, 3, CUT), (4, 5, 200)], "cut"),
    ],
)
def test_copies_are_told_by_their_cause(attempts: list[tuple[float, float, int]], cause: str) -> None:
    verdict = judged([read("a0")] * 3, [sent("a0", *attempts)])
    assert (verdict.copies, verdict.most_copies) == ({cause: 2}, 2)
    assert not verdict.disordered


def test_attempts_without_an_answer_are_counted_and_are_not_slow() -> None:
    verdict = judged([read("a0")], [sent("a0", (0, 15, CUT), (16, 16.5, 200))])
    assert (verdict.cut, verdict.slowest_s) == (1, 0.5)


def test_what_was_sent_after_the_success_of_another_may_not_overtake_it() -> None:
    assert judged([read("a1"), read("a0"), read("a2")]).disordered == ("a0",)
    assert judged([read("a2"), read("a1"), read("a0")]).disordered == ("a1", "a0")


def test_what_overlapped_was_accepted_in_no_order() -> None:
    overlapping = [sent("a0", (0, 1, 200)), sent("a1", (0.5, 0.8, 200)), sent("a2", (0.9, 2, 200))]
    assert judged([read("a2"), read("a1"), read("a0")], overlapping).disordered == ("a1",)  # a1 was done before a2


def test_a_retry_has_no_place_before_what_was_sent_before_it_succeeded() -> None:
    retried = [sent("a0", (0, 1, 503), (5, 6, 200)), sent("a1", (2, 3, 200)), sent("a2", (7, 8, 200))]
    assert not judged([read("a1"), read("a0"), read("a2")], retried).disordered
    assert not judged([read("a0"), read("a1"), read("a2")], retried).disordered
    assert judged([read("a1"), read("a2"), read("a0")], retried).disordered == ("a0",)


def test_the_first_copy_has_the_place_and_other_keys_have_their_own_order() -> None:
    other = sent("b0", (10, 11, 200), key="480002")
    found = [read("b0", "480002"), read("a0"), read("a1"), read("a0"), read("a2")]
    assert not judged(found, [*clean(), other]).disordered
