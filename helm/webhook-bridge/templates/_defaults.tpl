{{- define "webhook-bridge.defaults" -}}
{
  "BRIDGE_DEDUP_MAX_IDS": 500000,
  "BRIDGE_DEDUP_WINDOW_S": 4500,
  "BRIDGE_HEADER_TIMEOUT_MS": 5000,
  "BRIDGE_KAFKA_LINGER_MS": 0,
  "BRIDGE_KAFKA_PARTITIONS": 0,
  "BRIDGE_KAFKA_REPLICATION": 0,
  "BRIDGE_KAFKA_RETENTION_S": 604800,
  "BRIDGE_MAX_HEADER_BYTES": 16384,
  "BRIDGE_MAX_IN_FLIGHT": 1024,
  "BRIDGE_NATS_REPLICAS": 1,
  "BRIDGE_NATS_RETENTION_S": 604800,
  "BRIDGE_SHUTDOWN_TIMEOUT_MS": 10000,
  "BRIDGE_SPOOL_DRAIN_RATE": 2000,
  "BRIDGE_SPOOL_MAX_BYTES": 1073741824,
  "BRIDGE_SPOOL_MIN_FREE_BYTES": 67108864,
  "deadlines_ms": {
    "chatlevel": 3000,
    "cloudevents-http": 3000,
    "generic": 3000,
    "github": 8000,
    "other": 3000,
    "shopify": 4000,
    "slack": 2500,
    "standard-webhooks": 8000,
    "stripe": 5000,
    "svix": 8000,
    "telegram": 3000,
    "twilio": 4000,
    "whatsapp-cloud": 4000
  }
}
{{- end }}
