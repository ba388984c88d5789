"""This machine, behind the same protocol as a cloud: one offer at no price."""
