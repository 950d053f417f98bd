"""What keeps events on disk while the broker does not take them."""
