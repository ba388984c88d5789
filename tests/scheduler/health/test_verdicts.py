"""What one finding calls for, with lines of public bug reports and NVIDIA's catalogue."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.health import Finding, Grade, Remedy
from godwit.domain.ids import JobId
from godwit.scheduler.health import decode, findings, ladder, signs, xids
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import Rule, Verdict
from godwit.scheduler.health.view import HealthView

from tests.scheduler.fleets import NOW, node, world
from tests.scheduler.health.care import finding

NONE, RESTART, DRAIN, RESET, REBOOT = (
    Remedy.NONE, Remedy.RESTART_JOB, Remedy.DRAIN_AND_RESET, Remedy.RESET_GPU, Remedy.REBOOT,
)  # fmt: skip
SUPPORT = Remedy.CONTACT_SUPPORT


def verdict(one: Finding, *others: Finding, now: float = NOW) -> Verdict:
    """What a finding calls for, among others."""
    nodes = [node("n0"), node("n1"), node("n2")]
    return findings.verdict_of(one, Casebook(world(nodes=nodes, health=HealthView(findings=(*others, one))), now))


def line(number: int, text: str = "", name: str = "1", **fields: Any) -> Finding:
    """An Xid, as the driver told it."""
    return finding(name, "n0", f"xid:{number}", evidence={"line": text}, reason=text or f"Xid {number}", **fields)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (79, REBOOT), (110, REBOOT), (48, RESET), (95, RESET), (119, RESET), (120, RESET), (140, RESET), (143, RESET),
        (62, RESET), (64, RESET), (136, RESET), (63, NONE), (92, NONE), (14, NONE), (13, RESTART), (31, RESTART),
        (43, NONE), (45, NONE), (68, RESTART), (69, RESTART), (1, NONE), (999, NONE),
    ],
)  # fmt: skip
def test_the_table_answers_an_xid_that_comes_alone(number: int, remedy: Remedy) -> None:
    assert verdict(line(number)).remedy is remedy


@pytest.mark.parametrize("number", [159, 163, 165, 167, 169, 173])
def test_where_no_action_is_known_a_person_is_asked_and_nothing_is_done(number: int) -> None:
    told = verdict(line(number))
    assert (told.remedy, told.asks, told.takes_out) == (NONE, True, False)


@pytest.mark.parametrize("number", sorted(int(code[4:]) for code in xids.APPLICATION))
def test_faults_of_programs_take_nothing_out(number: int) -> None:
    assert not verdict(line(number)).takes_out


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)", RESET),
        ("GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", REBOOT),
        ("GPU recovery action changed from 0x1 (GPU Reset Required) to 0x4 (Drain and Reset)", DRAIN),
        ("GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", NONE),
    ],
)
def test_the_word_of_the_gpu_itself_goes_before_the_table(text: str, remedy: Remedy) -> None:
    told = verdict(line(154, text))
    assert (told.remedy, told.rule) == (remedy, Rule.RECOVERY)
    assert verdict(line(79), line(154, text, "2")).remedy is remedy


def test_the_recovery_flag_of_nvml_is_read_as_number_or_word() -> None:
    for value, remedy in (("1", RESET), (2, REBOOT), ("drain and reset", DRAIN), (6, REBOOT)):
        flag = finding("1", "n0", "recovery", check="recovery", evidence={"recovery_action": value})
        assert verdict(flag).remedy is remedy


@pytest.mark.parametrize(
    ("registers", "remedy"),
    [
        ("0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0", RESET),
        ("0x30, 0x0, 0x4, 0x0, 0x0, 0x0, 0x0", RESET),
        ("0x1, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0", NONE),
        ("0x2, 0x0, 0x0, 0x10000, 0x0, 0x0, 0x0", NONE),
        ("0x2, 0x0, 0x0, 0x40000, 0x0, 0x0, 0x0", RESET),
        ("0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0", NONE),
        ("0x0, 0x0, 0x0, 0x0, 0x80000, 0x0, 0x0", RESET),
    ],
)
def test_the_registers_of_an_nvlink_error_decide(registers: str, remedy: Remedy) -> None:
    text = f"NVLink: fatal error detected on link 14({registers})"
    assert (verdict(line(74, text)).remedy, verdict(line(74, text)).rule) == (remedy, Rule.DECODE)


def test_an_nvlink_error_without_registers_follows_the_table() -> None:
    assert (verdict(line(74)).remedy, verdict(line(74)).rule) == (RESET, Rule.TABLE)


@pytest.mark.parametrize(
    ("number", "text", "remedy"),
    [
        (149, "NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x0 0x0 0x0 0x0 0x0)", RESET),
        (149, "NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x02600000 0x00000000 0x0 0x0 0x0 0x0 0x0)", NONE),
        (149, "NETIR_BER_EVENT Nonfatal XC0 i0 Link 08 (0x00000000 0x00000001 0x0 0x0 0x0 0x0 0x0)", NONE),
        (144, "SAW_MVB Fatal XC0 i0 Link -1 (0x00000001 0x00000010 0x0 0x0 0x0 0x0 0x0)", RESET),
        (144, "SAW_MVB Nonfatal XC0 i0 Link -1 (0x00000001 0x00000004 0x0 0x0 0x0 0x0 0x0)", NONE),
        (145, "RLW_REMAP Nonfatal XC0 i0 Link 3 (0x00000004 0x00000040 0x0 0x0 0x0 0x0 0x0)", RESET),
        (145, "RLW_RXPIPE Fatal XC0 i0 Link 3 (0x00000406 0x00000001 0x0 0x0 0x0 0x0 0x0)", RESET),
        (145, "RLW_RXPIPE Fatal XC0 i0 Link 3 (0x00000006 0x00000001 0x0 0x0 0x0 0x0 0x0)", NONE),
        (146, "TLW_RX Fatal XC0 i0 Link 3 (0x0000000a 0x00000004 0x0 0x0 0x0 0x0 0x0)", RESET),
        (150, "MSE Fatal XC0 i0 Link -1 (0x0 0x0 0x0 0x0 0x0 0x0 0x0)", RESET),
        (149, "something new Fatal", RESET),
        (149, "something new Nonfatal", NONE),
    ],
)
def test_nvlink_5_is_decoded_by_unit_and_status_or_believed_by_its_word(number: int, text: str, remedy: Remedy) -> None:
    assert verdict(line(number, text)).remedy is remedy


def test_a_cleanup_follows_whatever_else_came() -> None:
    assert verdict(line(45), line(79, name="2")).rule is Rule.COMBINATION
    assert not verdict(line(45), line(79, name="2")).takes_out


def test_an_uncorrected_error_whose_row_is_remapped_waits_until_work_has_ended() -> None:
    for remap in (63, 64):
        assert verdict(line(48), line(remap, name="2")).remedy is DRAIN
    assert verdict(line(48), line(63, name="2", at=NOW - 600)).remedy is RESET
    elsewhere = finding("2", "n0", "xid:63", 5)
    assert verdict(line(48), elsewhere).remedy is RESET


def test_contained_and_uncontained_errors_follow_what_they_came_with() -> None:
    assert verdict(line(95), line(48, name="2"), line(63, name="3")).remedy is DRAIN
    assert verdict(line(95)).remedy is RESET
    assert verdict(line(94)).remedy is DRAIN


def test_switch_errors_are_believed_by_the_table_and_else_by_their_word() -> None:
    def switch(number: int, word: str) -> Remedy:
        told = finding("1", "n0", f"sxid:{number}", None, evidence={"severity": word})
        return verdict(told).remedy

    assert switch(20034, "Fatal") is REBOOT
    assert switch(11012, "Non-fatal") is NONE
    assert switch(12028, "Non-fatal") is REBOOT
    assert (switch(99999, "Fatal"), switch(99999, "Non-fatal")) == (REBOOT, NONE)


def test_other_checks_are_believed_and_what_is_merely_degraded_is_tested_later() -> None:
    broken = finding("1", "n0", "nvlink:down", check="nvlink", suggested=RESET)
    assert verdict(broken).remedy is RESET
    slow = replace(broken, grade=Grade.DEGRADED, suggested=REBOOT)
    assert (verdict(slow).rule, verdict(slow).tests) == (Rule.SUGGESTED_LATER, True)
    assert not verdict(replace(broken, suggested=NONE)).takes_out
    assert verdict(finding("1", "n0", "matmul:wrong", check="matmul")).tests


def thirteen(name: str, job: str | None, part: str = "GPC 1, TPC 3", on: str = "n0", at: float = NOW) -> Finding:
    """An exception on a part of the first GPU, in a job."""
    text = f"Graphics SM Warp Exception on ({part}, SM 0): Out Of Range Address"
    return replace(finding(name, on, "xid:13", reason=text), job_id=None if job is None else JobId(job), at=at)


def test_an_exception_on_the_same_part_in_different_jobs_makes_the_gpu_suspect() -> None:
    told = verdict(thirteen("2", "b"), thirteen("1", "a", at=NOW - 3_600))
    assert (told.rule, told.tests, told.remedy) == (Rule.REPEATS, True, NONE)


@pytest.mark.parametrize(
    "before",
    [
        thirteen("1", "b", at=NOW - 3_600),
        thirteen("1", "a", part="GPC 2, TPC 3", at=NOW - 3_600),
        thirteen("1", "a", at=NOW - 90_000),
        thirteen("1", "a", on="n1", at=NOW - 60),
    ],
    ids=["the same job", "another part", "days ago", "another node"],
)
def test_an_exception_is_the_programs_while_nothing_points_at_the_gpu(before: Finding) -> None:
    assert not verdict(thirteen("2", "b"), before).takes_out


def test_a_program_that_meets_its_exception_on_two_nodes_brings_it_along() -> None:
    others = (thirteen("1", "a", at=NOW - 3_600), thirteen("3", "b", on="n1", at=NOW - 60))
    told = verdict(thirteen("2", "b"), *others)
    assert (told.rule, told.takes_out) == (Rule.PROGRAM, False)


def test_the_same_fault_in_burst_after_burst_goes_to_the_vendor() -> None:
    def nth(number: int, gap_s: float) -> Finding:
        return line(92, name=str(number), at=NOW - gap_s * number)

    assert verdict(nth(0, 600), *(nth(number, 600) for number in range(1, 5))).remedy is SUPPORT
    assert verdict(nth(0, 600), *(nth(number, 600) for number in range(1, 4))).remedy is NONE
    assert verdict(nth(0, 60), *(nth(number, 60) for number in range(1, 9))).remedy is NONE


def test_the_example_line_of_the_catalogue_has_reason_4() -> None:
    meaning = decode.nvlink5(149, "NETIR_LINK_EVT", (0x004505C6, 0))
    assert meaning is not None
    assert "0x4: cable or signal" in meaning.meaning


def test_every_number_of_the_table_leads_somewhere() -> None:
    known = xids.answers()
    assert len(known) == 266
    for code, answer in known.items():
        told = verdict(finding("1", "n0", code, None if code.startswith("sxid") else 0))
        assert told.takes_out <= answer.evicts or code in xids.CONTAINED, code


def test_rungs_only_rise() -> None:
    tried: list[Remedy] = [DRAIN]
    while (rung := ladder.above(tried)) is not None:
        assert rung.strength > max(one.strength for one in tried)
        tried.append(rung)
    assert tried == [DRAIN, REBOOT, Remedy.REPLACE_NODE]


def test_what_a_check_took_out_of_a_line_is_enough() -> None:
    parsed = finding("1", "n0", "xid:13", evidence={"part": "GPC 1 TPC 3"}, reason="")
    assert signs.part(parsed) == signs.part(thirteen("2", None)) == "GPC 1 TPC 3"
