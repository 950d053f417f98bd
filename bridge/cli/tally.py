"""What became of the requests that `send` made."""

import asyncio
from array import array
from collections import Counter
from typing import Any, NamedTuple

import httpx
import msgspec

__all__ = ["Answer", "Tally", "answer_of", "no_answer"]


class Answer(NamedTuple):
    """How one request ended.

    Attributes:
        status: of HTTP; None: there was no answer.
        error: the answer's code, empty on success.
        detail: in words.
        text: the answer's body.
        ids: of the events, on success.
        retry_after: as the answer said.
    """

    status: int | None
    error: str = ""
    detail: str = ""
    text: str = ""
    ids: tuple[str, ...] = ()
    retry_after: str | None = None


class _Said(msgspec.Struct, frozen=True):
    ids: tuple[str, ...] = ()
    error: str = ""
    detail: str = ""


def answer_of(response: httpx.Response) -> Answer:
    """The answer of the bridge, or of whatever stands before it."""
    try:
        said = msgspec.json.decode(response.content, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Said()
    retry_after = response.headers.get("retry-after")
    return Answer(response.status_code, said.error, said.detail, response.text, said.ids, retry_after)


def no_answer(error: Exception) -> Answer:
    """There was none."""
    return Answer(None, "no_answer", str(error) or type(error).__name__)


class Tally:
    """Counts. Latencies are kept one by one, eight bytes each: exact percentiles of a million requests in 8 MB.

    Attributes:
        sent: bodies posted for the first time.
        accepted: of them, answered with success in the end.
        failed: of them, given up.
        retries: posts after the first one.
        sending_s: from the first post to the last body's first answer.
        ids: of accepted events, where they are wanted.
    """

    def __init__(self, success_status: int, *, keep_ids: bool = False) -> None:
        self._success_status = success_status
        self._keep_ids = keep_ids
        self._latencies_ms = array("d")
        self._answers: Counter[tuple[int | None, str]] = Counter()
        self._details: dict[tuple[int | None, str], str] = {}
        self._began = 0.0
        self.sent = self.accepted = self.failed = self.retries = 0
        self.sending_s = 0.0
        self.ids: list[str] = []

    def begin(self) -> None:
        """The first one is about to be sent."""
        self._began = asyncio.get_running_loop().time()

    @property
    def answered(self) -> int:
        """Requests that got any answer at all."""
        return sum(count for (status, _), count in self._answers.items() if status is not None)

    @property
    def silence(self) -> str:
        """Why others got none; empty if all did."""
        return next((detail for (status, _), detail in self._details.items() if status is None), "")

    def succeeded(self, answer: Answer) -> bool:
        """Whether the provider would count it as success."""
        return answer.status == self._success_status

    def note(self, answer: Answer, *, latency_s: float, first: bool) -> None:
        """A request ended."""
        self._latencies_ms.append(latency_s * 1000)
        kind = (answer.status, answer.error)
        self._answers[kind] += 1
        self._details.setdefault(kind, answer.detail)
        if first:
            self.sent += 1
            self.sending_s = asyncio.get_running_loop().time() - self._began
        else:
            self.retries += 1
        if self.succeeded(answer):
            self.accepted += 1
            if self._keep_ids:
                self.ids += answer.ids

    def report(self, asked_rate: float | None = None) -> dict[str, Any]:
        """As `--json` prints it.

        Args:
            asked_rate: how many a second were to be sent; the first one is sent at once, so that the rate of few would
                seem higher than that.
        """
        seconds = max(self.sending_s, self.sent / asked_rate if asked_rate else 0.0)
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "failed": self.failed,
            "retries": self.retries,
            "answers": [
                {
                    "status": status,
                    "error": error or None,
                    "count": count,
                    "detail": self._details[status, error] or None,
                }
                for (status, error), count in self._answers.most_common()
            ],
            "latency_ms": self._percentiles(),
            "seconds": round(seconds, 3),
            "rate": round(self.sent / seconds, 1) if seconds else 0.0,
        } | ({"ids": self.ids} if self._keep_ids else {})

    def _percentiles(self) -> dict[str, float]:
        ordered = sorted(self._latencies_ms)
        if not ordered:
            return {}
        ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        # the smallest latency that at least so many of all requests do not exceed
        return {name: round(ordered[max(0, _ceil(rank * len(ordered)) - 1)], 3) for name, rank in ranks.items()}


def _ceil(number: float) -> int:
    return -int(-number // 1)
