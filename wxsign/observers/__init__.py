"""They watch what the broker does, and know the core; the core knows none of them."""
