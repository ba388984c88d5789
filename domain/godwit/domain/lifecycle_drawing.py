"""Draws the lifecycle tables, so that the documentation cannot say anything else than the code.

`python -m godwit.domain.lifecycle_drawing > docs/lifecycles.md` writes the page; a test compares them.
"""

import sys

from godwit.domain import lifecycle

_HEAD = """\
# Lifecycles

Drawn from `domain/godwit/domain/lifecycle.py` by `python -m godwit.domain.lifecycle_drawing`; do not edit by hand.
Every change of a state goes through `advance()`, which knows these edges only and appends an event.
"""


def markdown() -> str:
    """The whole page: for each kind of thing a diagram (Mermaid), its edges with their reasons, and its deadlines."""
    return "\n".join([_HEAD, *(_section(kind.__name__, table) for kind, table in lifecycle.TABLES.items())])


def _section(name: str, table: lifecycle.Table) -> str:
    first = next(iter(table))
    arrows = [f"    [*] --> {first}"]
    edges = []
    for state, targets in table.items():
        arrows += [f"    {state} --> {to}" for to in targets] or [f"    {state} --> [*]"]
        edges += [f"| {state} | {to} | {reason} |" for to, reason in targets.items()]
    waits = []
    for state in table:
        deadline = lifecycle.DEADLINES.get(state)
        if deadline is not None:
            after = "none" if deadline.after_s is None else f"{deadline.after_s:g} s"
            waits.append(f"| {state} | {after} | {deadline.then} |")
    diagram = "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"])
    edge_table = "\n".join(["| from | to | because |", "| --- | --- | --- |", *edges])
    wait_table = "\n".join(["| state | deadline | then |", "| --- | --- | --- |", *waits])
    return f"## {name}\n\n{diagram}\n\n{edge_table}\n\n{wait_table}\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
