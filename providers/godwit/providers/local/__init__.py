"""This machine as a provider."""

from godwit.providers.kinds import Kind

KIND = Kind("this machine", "godwit.providers.local.provider:from_setup", once=True)
