"""Every exception of our own, in one tree, below everything else so that nobody needs to import sideways.

```
BridgeError
├── ConfigError              settings are wrong; carries all problems at once
├── VerificationFailed       the sender did not prove who it is
├── DeviceNotAllowed         proven, but the device is not on the source's list
├── UndecodableBody          proven, but not what the provider's format says
├── RegistrationFailed       the webhook could not be set at the provider
├── SpoolError               the spool did not take it: not open, or closed
│   ├── SpoolFull            no room now; takes again when there is
│   └── SpoolFailed          the disk can no longer be believed: nothing is taken until the next start
└── PublishError             the broker does not (yet) have the record
    ├── BrokerUnavailable    try again later: down, full, no leader, no stream
    └── RecordRefused        never will be taken as it is
        └── RecordTooLarge
```
"""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

__all__ = [
    "BridgeError",
    "BrokerUnavailable",
    "ConfigError",
    "DeviceNotAllowed",
    "Problem",
    "PublishError",
    "RecordRefused",
    "RecordTooLarge",
    "RegistrationFailed",
    "SpoolError",
    "SpoolFailed",
    "SpoolFull",
    "UndecodableBody",
    "VerificationFailed",
]


class BridgeError(Exception):
    """Root of all errors the bridge raises on purpose."""


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with the configuration.

    Attributes:
        variable: the environment variable's full name.
        found: what it holds, in words; never a secret's value.
        expected: what would be right.
    """

    variable: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.found}; expected {self.expected}"


class ConfigError(BridgeError):
    """The environment does not describe a bridge. `problems` has every fault, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class VerificationFailed(BridgeError):
    """No valid proof of the sender came with the request.

    The message says which part was wrong, and never what it held: it is for the operator's log. The sender is not
    told, for that would help a forger more than anybody.

    Attributes:
        near: the headers are as they should be, and what they hold is wrong.
    """

    def __init__(self, reason: str, *, near: bool = False) -> None:
        super().__init__(reason)
        self.near = near


class DeviceNotAllowed(BridgeError):
    """The event is of a device that the source's allow list does not have."""


class UndecodableBody(BridgeError):
    """The body is not what the provider's format says.

    The message names the place and the expectation (`$.data.id: expected str, got int`), never the content.
    """


class RegistrationFailed(BridgeError):
    """The provider's API did not do, or did not answer, what was asked of it. The message shows no secret."""


class SpoolError(BridgeError):
    """The spool did not take an event, or could not give one."""


class SpoolFull(SpoolError):
    """There is no room: its bound is reached, or the disk is full. It takes events again when there is room."""


class SpoolFailed(SpoolError):
    """A write, an fsync or a read of the disk failed.

    What the system holds in memory may be other than what is on the disk, and a second fsync would call it good. So
    nothing is taken any more until the next start has looked at what is there.
    """


class PublishError(BridgeError):
    """The broker did not confirm the record.

    Attributes:
        retriable: whether the same record may be taken later.
        maybe_stored: whether the broker may have it all the same: it was sent, and what became of it is unknown.
    """

    retriable: ClassVar[bool]
    maybe_stored: bool = False


class BrokerUnavailable(PublishError):
    """The broker cannot take records now."""

    retriable = True

    def __init__(self, reason: str, *, maybe_stored: bool = False) -> None:
        super().__init__(reason)
        self.maybe_stored = maybe_stored


class RecordRefused(PublishError):
    """The broker will never take this record as it is.

    Attributes:
        topic: where it was to go, as far as known.
        dedup_id: the record's.
    """

    retriable = False
    topic: str = ""
    dedup_id: str = ""


class RecordTooLarge(RecordRefused):
    """Value and headers are over the broker's limit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"the record has {size_bytes} bytes with its headers, the broker takes {limit_bytes}")
