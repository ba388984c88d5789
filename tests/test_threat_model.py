"""What the threat model names exists: a wall that no test shows any more must not stay on paper."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids="-".join)
def test_a_test_that_the_threat_model_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_every_boundary_says_what_is_not_guarded() -> None:
    boundaries = re.split(r"^### ", PAGE.partition("## Boundaries")[2].partition("## What we stand on")[0], flags=re.M)[
        1:
    ]
    assert [part.splitlines()[0] for part in boundaries if "**Not guarded" not in part] == []


def test_every_link_leads_to_a_page() -> None:
    links = re.findall(r"\]\((?!http)([\w.-]+\.md)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
