"""What our user may publish to, as far as the server tells: for `check`, before the first record is refused.

Nothing is published to find out: whoever subscribes to the topics would get it. The server answers
`$SYS.REQ.USER.INFO` to every user that may publish to it; to others the question stays open. Not part of the
regular look at the broker, for each refused question is a line in the server's log.
"""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from bridge.publishers.nats.faults import Denied, NoResponders
from bridge.publishers.nats.stream import Ask, covers

__all__ = ["Permissions", "examine", "judge"]

_SUBJECT = "$SYS.REQ.USER.INFO"
_TIMEOUT_S = 1.0
_NOT_SEEN = (
    "whether our user may publish to the topics cannot be seen from here: the first record will tell, or allow it to "
    f"publish to {_SUBJECT}"
)


class _Rule(msgspec.Struct, frozen=True):
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class _Rules(msgspec.Struct, frozen=True):
    publish: _Rule = _Rule()


class _Data(msgspec.Struct, frozen=True):
    permissions: _Rules = _Rules()


class _Info(msgspec.Struct, frozen=True):
    data: _Data


class Permissions(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        reasons: why records will be refused, with remedies.
        doubts: what may be refused, or could not be seen.
    """

    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


async def examine(ask: Ask, subjects: Sequence[str]) -> Permissions:
    """Ask the server what our user may publish to.

    Args:
        ask: one request on the link.
        subjects: what the bridge publishes to, wildcards allowed.

    Raises:
        LinkLost: the link ended meanwhile.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answer = await ask(_SUBJECT, b"")
        rule = msgspec.json.decode(answer, type=_Info).data.permissions.publish
    except (Denied, NoResponders, TimeoutError, msgspec.DecodeError, UnicodeDecodeError):
        return Permissions(doubts=(_NOT_SEEN,))
    return judge(subjects, allow=rule.allow, deny=rule.deny)


def judge(subjects: Iterable[str], *, allow: Sequence[str], deny: Sequence[str]) -> Permissions:
    """Which of the subjects a user with these rules cannot publish to, wholly or in part.

    Args:
        subjects: wildcards allowed.
        allow: patterns; none allows everything.
        deny: patterns; they win.
    """
    reasons, doubts = [], []
    for subject in subjects:
        allowed = not allow or any(covers(pattern, subject) for pattern in allow)
        if any(covers(pattern, subject) for pattern in deny) or not (
            allowed or any(_overlap(pattern, subject) for pattern in allow)
        ):
            reasons.append(f"our user may not publish to {subject}: allow it")
        elif not allowed or any(_overlap(pattern, subject) for pattern in deny):
            doubts.append(f"our user may publish to a part of {subject} only: allow it all, or check that it is enough")
    return Permissions(reasons=tuple(reasons), doubts=tuple(doubts))


def _overlap(one: str, other: str) -> bool:
    """Whether a literal subject can match both patterns."""
    ours, theirs = one.split("."), other.split(".")
    for our, their in zip(ours, theirs, strict=False):
        if ">" in (our, their):
            return True
        if "*" not in (our, their) and our != their:
            return False
    return len(ours) == len(theirs)
