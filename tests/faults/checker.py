"""The judge of a run: the history of the provider against what is on the topics, after all is healed and drained.

Pure. What it means by its words:

- *lost*: answered with success, and not on the topics. Never allowed, whatever happened.
- *given up*: never answered with success although the plan of retries is used up, and not on the topics.
- *strange*: on the topics, and never sent so: other content, or of nobody.
- *copies*: records beyond the first one of an event. Of an event by what can have made them, the first that applies:
  `cut`, an attempt ended without an answer (the bridge was killed: what it had in flight); `retried`, an attempt got
  an answer that was not success (the publish was unknown, and the retry was published); `alone`, one attempt with
  success, so the bridge itself published twice (sent again over a new link, or drained again after a restart).
- *order* is judged per key, and only where the provider can expect one: event B comes after event A of the same key
  if A's success was answered before B was first sent. Events that overlapped, retries among them, were never accepted
  in an order. It is broken for B's predecessor A where the first record of A comes after the first one of B.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

import msgspec

from tests.faults.history import CUT, Attempt, Delivery, Read

__all__ = ["Verdict", "check"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run; ids where something is wrong, numbers where it is counted.

    Attributes:
        sent: events.
        acknowledged: of them answered with success.
        lost: ids.
        given_up: ids.
        strange: records.
        copies: by cause.
        most_copies: of one event.
        disordered: ids that came too late on their topic.
        answers: attempts by status, or by the word of our error.
        slowest_s: the longest that an answer took.
        cut: attempts that ended without an answer.
    """

    sent: int
    acknowledged: int
    lost: tuple[str, ...]
    given_up: tuple[str, ...]
    strange: tuple[Read, ...]
    copies: dict[str, int]
    most_copies: int
    disordered: tuple[str, ...]
    answers: dict[str, int]
    slowest_s: float
    cut: int


def check(history: Sequence[Delivery], found: Sequence[Read]) -> Verdict:
    """Judge.

    Args:
        history: all that the provider sent.
        found: all records of the topics; those of one key in the order of their topic.
    """
    expected = {delivery.id: Read(delivery.id, delivery.key, delivery.counter) for delivery in history}
    stored = Counter(read.id for read in found)
    attempts = [attempt for delivery in history for attempt in delivery.attempts]
    acknowledged = [delivery for delivery in history if delivery.acknowledged_at is not None]
    return Verdict(
        sent=len(history),
        acknowledged=len(acknowledged),
        lost=tuple(delivery.id for delivery in acknowledged if delivery.id not in stored),
        given_up=tuple(delivery.id for delivery in history if delivery.given_up and delivery.id not in stored),
        strange=tuple(read for read in found if expected.get(read.id) != read),
        copies=_copies(history, stored),
        most_copies=max(stored.values(), default=1) - 1,
        disordered=tuple(_disordered({delivery.id: delivery for delivery in history}, found)),
        answers=dict(Counter(attempt.code or str(attempt.status) for attempt in attempts)),
        slowest_s=max((attempt.ended - attempt.sent for attempt in attempts if attempt.answered), default=0.0),
        cut=sum(attempt.status == CUT for attempt in attempts),
    )


def _copies(history: Iterable[Delivery], stored: Counter[str]) -> dict[str, int]:
    causes: Counter[str] = Counter()
    for delivery in history:
        if stored[delivery.id] > 1:
            causes[_cause(delivery.attempts)] += stored[delivery.id] - 1
    return dict(causes)


def _cause(attempts: Iterable[Attempt]) -> str:
    if any(attempt.status == CUT for attempt in attempts):
        return "cut"
    if any(attempt.answered and not attempt.succeeded for attempt in attempts):
        return "retried"
    return "alone"


def _disordered(history: dict[str, Delivery], found: Iterable[Read]) -> Iterable[str]:
    """Those whose success was answered before another was sent that is on the topic before them."""
    latest: dict[str, float] = {}  # by key: when the latest of those read so far was first sent
    seen: set[str] = set()
    for read in found:
        delivery = history.get(read.id)
        if delivery is None or read.id in seen:
            continue
        seen.add(read.id)
        acknowledged_at = delivery.acknowledged_at
        if acknowledged_at is not None and acknowledged_at < latest.get(delivery.key, -inf):
            yield read.id
        latest[delivery.key] = max(latest.get(delivery.key, -inf), delivery.attempts[0].sent)
