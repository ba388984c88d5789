"""HTTP: parse, call one service, return."""
