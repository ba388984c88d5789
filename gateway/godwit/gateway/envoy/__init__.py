"""The same routes and limits as configuration for Envoy: pure, from a table to the bootstrap of a static Envoy."""
