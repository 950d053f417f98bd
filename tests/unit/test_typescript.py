"""The renderer of schemas/events.d.ts leaves nothing out silently; that its types are true a compiler says."""

from typing import Any, Literal

import msgspec
import pytest

from bridge.events import messaging
from bridge.events.model import EventType
from tests.generated_typescript import typescript


def rendered(*types: EventType) -> str:
    return typescript(types).decode()


def test_what_is_required_and_what_may_be_null_is_said() -> None:
    class Data(msgspec.Struct):
        """Some data. */ even this."""

        id: str
        tags: list[str | None]
        whatever: Any
        count: int | None = None

    text = rendered(EventType("shop", "order.paid", Data, version="2.1"))
    assert "/** Some data. * / even this. */\nexport interface ShopOrderPaidV2 {" in text
    for line in ("id: string;", "tags: (string | null)[];", "whatever: unknown;", "count?: number | null;"):
        assert f"  {line}\n" in text
    assert '  | CloudEvent<"shop.order.paid.v2", ShopOrderPaidV2>;' in text
    assert "export type BridgeEvent =\n  | ShopEvent;" in text


def test_types_that_payloads_name_are_told_by_their_domain() -> None:
    class Payload(msgspec.Struct):
        """As it came."""

    text = rendered(
        EventType("hub", "ping", Payload, schema="event"), EventType("hub", "unknown", Payload, schema="event")
    )
    assert text.count("CloudEvent<`hub.${string}.v1`, HubPayload>") == 1
    assert "export type HubPayload = { [name: string]: unknown };" in text


def test_a_word_of_json_schema_that_has_no_rendering_is_an_error() -> None:
    class Data(msgspec.Struct):
        """Choices."""

        kind: Literal["a", "b"]

    with pytest.raises(ValueError, match="enum"):
        rendered(EventType("shop", "order", Data))


def test_two_definitions_of_one_name_are_an_error() -> None:
    class Contact(msgspec.Struct):
        """Another."""

        nick: str

    class Data(msgspec.Struct):
        """With it."""

        contact: Contact

    with pytest.raises(ValueError, match="two definitions of Contact"):
        rendered(messaging.CALL, EventType("shop", "order", Data))
