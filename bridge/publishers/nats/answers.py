"""What JetStream answers to a publish, and what follows from it. Pure."""

import enum

import msgspec

__all__ = ["ApiError", "PubAck", "Verdict", "decode_ack", "judge"]


class ApiError(msgspec.Struct, frozen=True):
    """An error of the JetStream API; `err_code` is what tells them apart (the server's errors.json)."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct, frozen=True, gc=False):
    """The answer to a publish. `duplicate` does not matter: the record is there, under the first one's `seq`."""

    stream: str = ""
    seq: int = 0
    error: ApiError | None = None

    @property
    def stored(self) -> bool:
        """Whether the record is in the stream.

        Only with stream and sequence: a server once called a retry a duplicate of a record that it had not stored
        (nats-server #6415).
        """
        return self.seq > 0 and self.error is None and self.stream != ""


decode_ack = msgspec.json.Decoder(PubAck).decode


class Verdict(enum.Enum):
    """What to do with a record that was not stored."""

    AGAIN = "again"  # the same record, on the same link, in a moment
    WITHOUT_TTL = "without ttl"
    UNAVAILABLE = "unavailable"
    TOO_LARGE = "too large"
    REFUSED = "refused"


def judge(error: ApiError) -> Verdict:
    """Whether the same record may be taken later: the one place that says so."""
    return _VERDICTS.get(error.err_code, Verdict.UNAVAILABLE)


# By error code (the server's errors.json). What is not here may heal: full (10077, 10047, 10028, 10023, 10002), sealed
# (10109), offline (10118) and whatever is new. To call a record hopeless that is not would lose it.
_VERDICTS = {
    10158: Verdict.AGAIN,  # duplicate message id is in process: the cluster has our first attempt, not yet its outcome
    10008: Verdict.AGAIN,  # JetStream temporarily unavailable: an election is under way
    10009: Verdict.AGAIN,  # not the leader: likewise
    10167: Verdict.AGAIN,  # too many requests: the stream's queue is full, pace is what it asks for
    10166: Verdict.WITHOUT_TTL,  # per-message TTL is disabled: an expiring record that stays longer is better than none
    10054: Verdict.TOO_LARGE,  # over the stream's max_msg_size, and stays so
    10097: Verdict.TOO_LARGE,  # headers over 64 KiB, and stay so
    10165: Verdict.REFUSED,  # invalid TTL: ours is wrong, and stays so
}
