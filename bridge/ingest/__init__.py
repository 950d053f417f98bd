"""From an HTTP request to durable records: the entrance, the order of steps, the outcomes."""
