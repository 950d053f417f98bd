"""A trace is passed on where it is one by W3C Trace Context, section 3.2, and ignored where it is not."""

import pytest

from bridge.ingest.traceparent import valid_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize("text", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-ff", f"cc-{TRACE}-{SPAN}-00"])
def test_a_valid_one_is_passed_on_as_it_came(text: str) -> None:
    assert valid_traceparent(text.encode()) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_any_other_is_ignored(text: str) -> None:
    assert valid_traceparent(text.encode()) is None
    assert valid_traceparent(None) is None
