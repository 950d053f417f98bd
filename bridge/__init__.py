"""webhook-bridge: webhooks in, durable CloudEvents out, one topic per event type."""
