"""WhatsApp Cloud beyond what every provider must do: batches, identity, the subscription's handshake."""

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import load
from bridge.errors import ConfigError
from bridge.events import messaging
from bridge.events.model import Event
from bridge.providers import PROVIDERS
from bridge.providers.base import Delivery
from bridge.providers.request import Reply, Request
from tests.contracts.provider_contract import ProviderContract, json_values, validate
from tests.providers.goldens import FOLDER, RECEIVED_AT, decode

KINDS = ("messages", "message_echoes", "statuses", "calls")
DECODE = PROVIDERS["whatsapp-cloud"].decoder()
VARIABLES = {"BRIDGE_SOURCES": "wa=whatsapp-cloud", "BRIDGE_SOURCE_WA_SECRET": "app-secret-7f3a9c51"}


def golden(name: str) -> Any:
    return json.loads((FOLDER / "whatsapp-cloud" / f"{name}.in.json").read_bytes())


def events(content: Any, *, later_s: float = 0) -> tuple[Event, ...]:
    return DECODE(Delivery(json.dumps(content).encode(), {}, RECEIVED_AT + timedelta(seconds=later_s)))


def items(content: Any) -> list[Any]:
    """The array of the first change."""
    (found,) = (content["entry"][0]["changes"][0]["value"][kind] for kind in KINDS if kind in str(content))
    return list(found)


class TestContract(ProviderContract):
    name = "whatsapp-cloud"
    essential = frozenset()
    resolution_s = 1.01

    def payloads(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        for name, path in self.inputs().items():
            content = json.loads(path.read_bytes())
            for item in self.places(content):
                yield name, content, item

    def places(self, content: Any) -> Iterator[dict[str, Any]]:
        """The first item of each request that has one."""
        for entry in content["entry"][:1]:
            value = entry["changes"][0]["value"]
            yield from (value[kind][0] for kind in KINDS if kind in value)

    def with_payload(self, content: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
        made = copy.deepcopy(content)
        (item,) = self.places(made)
        item.clear()
        item.update(changed)
        return made

    @given(st.data())
    def test_any_value_anywhere_is_events_or_undecodable(self, data: st.DataObject) -> None:
        path: Path = data.draw(st.sampled_from(list(self.inputs().values())))
        content = place = json.loads(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 9))):
            inside = [
                value
                for value in (place.values() if isinstance(place, dict) else place)
                if value and not is_plain(value)
            ]
            if not inside:
                break
            place = data.draw(st.sampled_from(inside))
        where = list(place) if isinstance(place, dict) else list(range(len(place)))
        if where:
            place[data.draw(st.sampled_from(where))] = data.draw(json_values)
        self.check_harmless(json.dumps(content).encode(errors="surrogatepass"))


def is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def test_its_types_are_those_of_the_messaging_vocabulary() -> None:
    assert set(PROVIDERS["whatsapp-cloud"].event_types) <= set(messaging.TYPES)


def test_each_item_of_a_batch_is_an_event_in_the_order_they_came() -> None:
    made = events(golden("batch"))
    names = [(event.type.name, event.contact) for event in made]
    assert names == [
        ("message.received", "16505551234"),
        ("message.received", "16505555678"),
        ("message.status", "16505551234"),
        ("message.status", "16505551234"),
        ("message.received", "16505551234"),
        ("unknown", None),
    ]
    assert len({event.id for event in made}) == 6


def test_a_fact_has_the_same_id_in_whatever_batch_it_comes_again() -> None:
    together = events(golden("batch"))
    content = golden("batch")
    for number, message in enumerate(content["entry"][0]["changes"][0]["value"]["messages"]):
        alone = golden("message.received.text")
        alone["entry"][0]["changes"][0]["value"]["messages"] = [dict(reversed(message.items()))]
        assert events(alone, later_s=60)[0].id == together[number].id


@pytest.mark.parametrize(
    ("name", "place", "other"),
    [
        ("message.received.text", "id", "wamid.other"),
        ("message.status.delivered", "id", "wamid.other"),
        ("message.status.delivered", "status", "read"),
        ("message.status.delivered", "recipient_id", "16505555678"),
        ("message.status.delivered", "recipient_participant_id", "16505555678"),
        ("call.offer", "id", "wacid.other"),
        ("call.offer", "event", "terminate"),
    ],
)
def test_what_makes_another_fact_makes_another_id(name: str, place: str, other: str) -> None:
    content = golden(name)
    before = events(content)[0].id
    (kind,) = (kind for kind in KINDS if kind in content["entry"][0]["changes"][0]["value"])
    content["entry"][0]["changes"][0]["value"][kind][0][place] = other
    assert events(content)[0].id != before


def test_the_same_message_at_two_numbers_of_a_business_is_two_events() -> None:
    content = golden("message.received.text")
    before = events(content)[0].id
    content["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = "106540352242923"
    assert events(content)[0].id != before


def test_one_odd_item_holds_up_none_of_the_others() -> None:
    content = golden("batch")
    content["entry"][0]["changes"][0]["value"]["messages"][0] = ["odd"]
    content["entry"][0]["changes"][1]["value"]["statuses"][0]["recipient_id"] = {"odd": 1}
    made = events(content)
    assert [event.type.name for event in made] == [
        *("unknown", "message.received", "unknown", "message.status", "message.received", "unknown"),
    ]
    for published in decode("whatsapp-cloud", json.dumps(content).encode()):
        validate(published)


def test_a_retry_of_what_the_vocabulary_has_no_word_for_is_the_same_event() -> None:
    assert events(golden("unknown.account"))[0].id == events(golden("unknown.account"), later_s=60)[0].id
    later = golden("unknown.account")
    later["entry"][0]["time"] += 1
    assert events(later)[0].id != events(golden("unknown.account"))[0].id


def test_what_is_around_the_items_goes_with_the_first_alone() -> None:
    content = golden("message.received.text")
    value = content["entry"][0]["changes"][0]["value"]
    value["contacts"][0]["profile"]["name"] = "x" * 20_000
    value["messages"] = [value["messages"][0] | {"id": f"wamid.{number}"} for number in range(100)]
    published = decode("whatsapp-cloud", json.dumps(content).encode())
    assert "x" * 20_000 in str(published[0])
    assert len(str(published)) < 200_000


def test_a_contact_is_named_though_its_number_is_written_in_another_way() -> None:
    """Brazil's ninth digit: the sender has it, the contact has not."""
    content = golden("message.received.text")
    value = content["entry"][0]["changes"][0]["value"]
    value["contacts"][0]["wa_id"], value["messages"][0]["from"] = "551187654321", "5511987654321"
    (event,) = events(content)
    assert event.data.contact.display_name == "Ana Lúcia"  # type: ignore[attr-defined]
    assert event.data.contact.phone_number == "+5511987654321"  # type: ignore[attr-defined]


def greet(query: str, **more: str) -> Reply | None:
    source = load(VARIABLES | more).source("wa")
    greeting = PROVIDERS["whatsapp-cloud"].configured(source.own).handshakes()["GET"]
    return greeting(Request("GET", b"/webhooks/wa", query.encode(), ()))


QUERY = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
TOKENS = {"BRIDGE_SOURCE_WA_VERIFY_TOKEN": "meatyhamhock,another"}


def test_a_subscription_gets_its_challenge_back_for_the_token() -> None:
    for token in ("meatyhamhock", "another"):
        assert greet(QUERY + token, **TOKENS) == Reply(200, b"1158201444")


@pytest.mark.parametrize("token", ["", "meatyhamhoc", "meatyhamhock,another", "MEATYHAMHOCK", "%FF%00", "\xfc"])
def test_a_wrong_token_is_refused(token: str) -> None:
    reply = greet(QUERY + token, **TOKENS)
    assert reply is not None
    assert (reply.status, b"1158201444" in reply.body) == (403, False)


def test_without_a_token_every_subscription_is_refused() -> None:
    for token in ("", "x"):
        reply = greet(QUERY + token)
        assert reply is not None
        assert reply.status == 403


@pytest.mark.parametrize("query", ["", "hub.mode=unsubscribe", "hub.verify_token=meatyhamhock&hub.challenge=1", "&=&%"])
def test_who_opens_the_url_asks_nothing(query: str) -> None:
    assert greet(query, **TOKENS) is None


def test_a_token_is_in_no_repr_and_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("meatyhamhock\n")
    file = {"BRIDGE_SOURCE_WA_VERIFY_TOKEN_FILE": str(tmp_path / "token")}
    assert greet(QUERY + "meatyhamhock", **file) == Reply(200, b"1158201444")
    assert "meatyhamhock" not in repr(load(VARIABLES | file))


def test_an_empty_verify_token_is_a_problem_by_name() -> None:
    with pytest.raises(ConfigError, match="BRIDGE_SOURCE_WA_VERIFY_TOKEN"):
        load(VARIABLES | {"BRIDGE_SOURCE_WA_VERIFY_TOKEN": " "})
