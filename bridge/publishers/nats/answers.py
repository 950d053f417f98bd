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
    match error.err_code:
        case 10158:  # duplicate message id is in process: the cluster has our first attempt but not yet its outcome
            return Verdict.AGAIN
        case 10008 | 10009:  # JetStream temporarily unavailable, not the leader: an election is under way
            return Verdict.AGAIN
        case 10167:  # too many requests: the stream's queue is full, pace is what it asks for
            return Verdict.AGAIN
        case 10166:  # per-message TTL is disabled: an expiring record that stays longer is better than none
            return Verdict.WITHOUT_TTL
        case 10054 | 10097:  # message over max_msg_size, headers over 64 KiB: stays so
            return Verdict.TOO_LARGE
        case 10165:  # invalid per-message TTL: ours is wrong, and stays so
            return Verdict.REFUSED
        case _:
            # Full (10077, 10047, 10028, 10023, 10002), sealed (10109), offline (10118) and whatever is new: an
            # operator can heal all of them, and to call a record hopeless that is not would lose it.
            return Verdict.UNAVAILABLE
