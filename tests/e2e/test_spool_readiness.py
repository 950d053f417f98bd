"""What readiness says of a spool that takes nothing, beside a broker that takes all."""

from pathlib import Path

from tests.conftest import NatsSpace
from tests.e2e.in_process import message, post, serving, settings_of


async def test_a_spool_that_takes_nothing_is_a_warning_while_the_broker_takes_all(
    nats_space: NatsSpace, tmp_path: Path
) -> None:
    """Not ready would make an outage of it: events are published as ever."""
    async with serving(settings_of(nats_space, tmp_path, BRIDGE_SPOOL="on")) as bridge:
        assert bridge.spooling is not None
        bridge.spooling.spool._min_free_bytes = 1 << 60  # more than any disk has
        state = bridge.readiness()
        assert (state.ready, state.reasons) == (True, ())
        assert any("events would not go to the spool" in warning for warning in state.warnings)
        assert (await post(bridge, "shop", message())).status_code == 200
