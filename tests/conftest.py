"""Settings of every test.

Properties are tried on the same examples each time, so that a change is judged by what it changed. `make explore` tries
them on new ones.
"""

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("same")
