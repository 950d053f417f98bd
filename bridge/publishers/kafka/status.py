"""What the Kafka publisher knows of its topics, beside what every publisher knows of its broker. No I/O."""

from bridge.publishers.kafka.settings import KafkaSettings
from bridge.publishers.kafka.topics import Inspection
from bridge.publishers.kafka.weakness import weaknesses
from bridge.publishers.status import Status
from bridge.telemetry import broker_facts

__all__ = ["KafkaStatus"]


class KafkaStatus(Status):
    """The state now."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._inspection: Inspection | None = None
        super().__init__(require_durable=settings.require_durable, unseen="the topics have not been looked at yet")

    def explains(self, topic: str) -> bool:
        """Whether the last look found why this topic takes nothing."""
        return self._inspection is not None and topic in self._inspection.troubled

    def inspected(self, inspection: Inspection) -> None:
        """The topics were looked at."""
        self._inspection = inspection
        if inspection.created:
            broker_facts.topics_created(inspection.created)
        self.looked(inspection.reasons, weaknesses(self._settings, inspection), inspection.plans)

    def _details(self) -> dict[str, str | int | bool]:
        details: dict[str, str | int | bool] = {"topics": len(self._settings.topics)}
        if self._inspection is None:
            return details
        states = [state for state in self._inspection.topics if state.partitions]
        configs = [state.config for state in states if state.config is not None]
        if states:
            details["replication"] = min(state.replication for state in states)
        if configs:
            details["min_insync_replicas"] = min(config.min_insync for config in configs)
            details["max_record_bytes"] = min(config.max_message_bytes for config in configs)
        return details
