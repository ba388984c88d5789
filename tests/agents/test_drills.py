"""What a cloud can be told to break, and what an agent can show, are the same."""

from godwit.agents.accelerators import faultlist
from godwit.domain.drills import OF_THE_CLOUD, OF_THE_NODE, OF_THE_WORK, TOLD, Drill

MENDS = {Drill.MEND}
PROGRAMS = {Drill.XID_13, Drill.XID_31, Drill.XID_43, Drill.XID_45}


def test_every_drill_that_is_left_to_an_agent_is_a_fault_that_it_knows() -> None:
    left = set(Drill) - OF_THE_CLOUD - MENDS
    assert [kind for kind in left if faultlist.named(kind) is None] == []


def test_every_fault_can_be_drilled_where_it_belongs() -> None:
    assert set(faultlist.ON_NODE) == OF_THE_NODE - OF_THE_CLOUD - MENDS
    assert set(faultlist.ON_GPU) == set(Drill) - OF_THE_NODE - OF_THE_WORK - PROGRAMS
    assert set(faultlist.ON_WORK) == OF_THE_WORK


def test_every_drill_is_told_in_words() -> None:
    assert set(TOLD) == set(Drill)
