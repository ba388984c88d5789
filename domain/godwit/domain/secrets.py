"""A secret of a project: a name, and versions that only grow; its values are never part of the vocabulary."""

from dataclasses import dataclass

CHARACTERS_MIN = 6
"""Of a value. Shorter ones stand in any text by chance, so that nodes cannot cover them in what they let out."""


@dataclass(frozen=True)
class SecretRef:
    """What a job asks for: a secret of its project by name, in one `version`, or in the newest one (None).

    Written `hf-token` or `hf-token@3`.
    """

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse(text: str) -> SecretRef:
    """Read `name` or `name@version`; the text has that form already."""
    name, at, version = text.partition("@")
    return SecretRef(name, int(version) if at else None)
