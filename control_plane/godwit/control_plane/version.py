"""Which version of godwit runs here."""

from importlib.metadata import version

VERSION = version("godwit")
