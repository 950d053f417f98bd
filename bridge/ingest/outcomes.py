"""What can become of a delivery: exactly one outcome each, and the one place that knows HTTP statuses.

The rule behind the numbers: a fault of ours or of the broker is 503 with Retry-After, so that the provider tries
again; 4xx is only for what a retry of the same request cannot heal.
"""

import msgspec

__all__ = ["ACCEPTED", "DEAD_LETTERED", "OUTCOMES", "Outcome"]

_SOON_S = 1
_LATER_S = 5


class Outcome(msgspec.Struct, frozen=True):
    """One way a delivery can end.

    Attributes:
        code: the `error` of the answer, the counter's label and the log line's `outcome`.
        status: the HTTP status; 0 where nobody is left to answer.
        meaning: for the README's table.
        retry_after_s: the Retry-After header, where trying again makes sense.
        close: whether the connection must end because the rest of the request was not read.
    """

    code: str
    status: int
    meaning: str
    retry_after_s: int | None = None
    close: bool = False


ACCEPTED = Outcome(
    "accepted",
    200,
    "every event of the delivery is durable on its topics, or dropped by a rule; the body lists the ids",
)

DEAD_LETTERED = Outcome(
    "dead_lettered",
    200,
    "what is no event yet, or is refused by the broker for good, is durable on `BRIDGE_DEAD_LETTER_TOPIC` as it came; "
    "the body lists the letter's id",
)

NOT_FOUND = Outcome("not_found", 404, "no such path, or no source of that name", close=True)
METHOD_NOT_ALLOWED = Outcome("method_not_allowed", 405, "only POST is taken; the answer says how", close=True)
HANDSHAKE = Outcome(
    "handshake", 200, "a provider's question, such as whether this is its webhook; answered, nothing is published"
)
UNAUTHORIZED = Outcome(
    "unauthorized", 401, "the proof of the sender is missing or wrong; the log says which", close=True
)
DEVICE_NOT_ALLOWED = Outcome("device_not_allowed", 403, "the device is not in `BRIDGE_SOURCE_<NAME>_DEVICES`")
BODY_TIMEOUT = Outcome("body_timeout", 408, "the body did not arrive within the deadline", close=True)
BODY_TOO_LARGE = Outcome("body_too_large", 413, "the body is over `BRIDGE_SOURCE_<NAME>_MAX_BODY_BYTES`", close=True)
RECORD_TOO_LARGE = Outcome(
    "record_too_large", 413, "event and raw body are over the broker's limit, which the detail names"
)
RECORD_REFUSED = Outcome(
    "record_refused",
    503,
    "the broker refuses this event as it is, and its dead letter, too; the log says why",
    _LATER_S,
)
UNSUPPORTED_ENCODING = Outcome("unsupported_encoding", 415, "a Content-Encoding was set; send it plain", close=True)
UNDECODABLE = Outcome(
    "undecodable", 400, "not the provider's format, and there are no dead letters; the detail names the place"
)
HEADER_TIMEOUT = Outcome("header_timeout", 408, "the headers did not arrive in time", close=True)
HEADERS_TOO_LARGE = Outcome("headers_too_large", 431, "the headers are over `BRIDGE_MAX_HEADER_BYTES`", close=True)
BAD_REQUEST = Outcome("bad_request", 400, "not HTTP", close=True)
DISCONNECTED = Outcome("disconnected", 0, "the client went away before its body was complete: nothing published")
BROKER_UNAVAILABLE = Outcome("broker_unavailable", 503, "the broker cannot take the event now", _LATER_S)
DEADLINE_EXCEEDED = Outcome(
    "deadline_exceeded",
    503,
    "no acknowledgement within the deadline; it may be stored, the retry is deduplicated",
    _SOON_S,
)
SPOOL_UNAVAILABLE = Outcome(
    "spool_unavailable", 503, "neither the broker nor the spool can take the event now; the detail says why", _LATER_S
)
OVERLOADED = Outcome(
    "overloaded",
    503,
    "`BRIDGE_MAX_IN_FLIGHT` deliveries are under way, or as many as this source may have of them",
    _SOON_S,
    close=True,
)
RATE_LIMITED = Outcome(
    "rate_limited",
    503,
    "more come than `BRIDGE_SOURCE_<NAME>_RATE_LIMIT` says; Retry-After is when the next one is let in",
    close=True,
)
INTERNAL_ERROR = Outcome("internal_error", 503, "a fault of the bridge; the log has it", _LATER_S)

OUTCOMES = (
    ACCEPTED,
    DEAD_LETTERED,
    HANDSHAKE,
    UNDECODABLE,
    BAD_REQUEST,
    UNAUTHORIZED,
    DEVICE_NOT_ALLOWED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    BODY_TIMEOUT,
    HEADER_TIMEOUT,
    BODY_TOO_LARGE,
    RECORD_TOO_LARGE,
    UNSUPPORTED_ENCODING,
    HEADERS_TOO_LARGE,
    BROKER_UNAVAILABLE,
    RECORD_REFUSED,
    DEADLINE_EXCEEDED,
    SPOOL_UNAVAILABLE,
    OVERLOADED,
    RATE_LIMITED,
    INTERNAL_ERROR,
    DISCONNECTED,
)
"""All of them, in the order of the README's table."""
