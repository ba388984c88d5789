"""Programs that cannot save themselves: run in a room of their own, saved and restored as processes by CRIU."""
