"""Two requests of Kafka's protocol that aiokafka does not bring: for `tests.kafka_operator`."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

__all__ = ["AlterScramRequest", "IncrementalAlterConfigsRequest"]

_SET = 0


class _AlterConfigsResponse(Response):
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String()),
                ("resource_type", Int8),
                ("resource_name", String()),
            ),
        ),
    )


class _AlterConfigsStruct(RequestStruct):
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String()),
                ("configs", Array(("name", String()), ("operation", Int8), ("value", String()))),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigsRequest(Request[_AlterConfigsStruct]):
    """Set some settings of a resource and leave the others; aiokafka's alter_configs resets those."""

    API_KEY = 44

    def __init__(self, resource_type: int, name: str, config: Mapping[str, str]) -> None:
        self._resource = (resource_type, name, [(key, _SET, value) for key, value in config.items()])

    def build(self, request_struct_class: type[_AlterConfigsStruct]) -> _AlterConfigsStruct:
        return request_struct_class([self._resource], False)


class _AlterScramResponse(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString()),
                ("error_code", Int16),
                ("error_message", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScramStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _AlterScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString()), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString()),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScramRequest(Request[_AlterScramStruct]):
    """Create, change and delete SCRAM credentials."""

    API_KEY = 51

    def __init__(self, *, upsertions: Sequence[Any] = (), deletions: Sequence[Any] = ()) -> None:
        self._changes = (deletions, upsertions)

    def build(self, request_struct_class: type[_AlterScramStruct]) -> _AlterScramStruct:
        return request_struct_class(*self._changes, {})
