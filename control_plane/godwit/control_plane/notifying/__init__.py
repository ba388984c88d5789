"""Telling people and programs outside what happened: which events, to whom, over what, and how often."""
