"""Following the kernel log: records as the kernel writes them, bursts, and going on after a restart."""

from pathlib import Path

from godwit.agents.checks.kernel.forms import KernelSign
from godwit.agents.checks.kernel.parsing import read
from godwit.agents.checks.kernel.records import AppendedFile, Record, parse
from godwit.agents.checks.kernel.watch import BURST_GAP_S, Bursts, KernelWatch
from godwit.domain.health import Grade
from hypothesis import given
from hypothesis import strategies as st

XID = "NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus."


class Given:
    """A source that has these records, all of them again for each reader, as /dev/kmsg does."""

    def __init__(self, *records: Record) -> None:
        self._records = list(records)

    def read(self, timeout_s: float) -> list[Record]:
        assert timeout_s == 0.0
        records, self._records = self._records, []
        return records


def sign() -> KernelSign:
    found = read(XID)
    assert found is not None
    return found


def test_a_record_of_the_kernel_is_read_with_its_escapes_and_without_its_fields() -> None:
    raw = (
        b"4,1043,7000000,-;NVRM: The NVIDIA GPU 0000:0f:00.0\\x0aNVRM: caf\\xc3\\xa9\n SUBSYSTEM=pci\n DEVICE=+pci:0\n"
    )
    assert parse(raw, 10.0) == Record(1043, "NVRM: The NVIDIA GPU 0000:0f:00.0\nNVRM: café", 3.0)
    assert parse(b"no record", 0.0) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_records(raw: bytes) -> None:
    parse(raw, 0.0)
    parse(b"6,1,2,-;" + raw, 0.0)


def test_a_burst_is_told_once_and_again_as_its_count_grows() -> None:
    bursts = Bursts()
    told = [one.evidence["count"] for _ in range(250) for one in bursts.take(sign(), 5.0)]
    assert told == [1, 10, 100]
    assert len(bursts.take(sign(), 5.0 + BURST_GAP_S)) == 0
    assert len(bursts.take(sign(), 6.0 + 2 * BURST_GAP_S)) == 1, "after a pause it is another one"


def test_three_troubles_of_network_cards_in_an_hour_are_one_that_stays() -> None:
    bursts, codes = Bursts(), []
    line = "mlx5_core 0000:3b:00.0: Port module event: module 0, Cable unplugged"
    for minute in (0, 10, 20, 30):
        found = read(line)
        assert found is not None
        codes += [one.code for one in bursts.take(found, minute * 60.0)]
    assert codes.count("network-card:repeated") == 1


def test_a_link_is_back_once_each_port_that_was_lost_is() -> None:
    bursts, told = Bursts(), list[Grade]()
    for port, word in (("1", "up"), ("1", "down"), ("0", "down"), ("0", "up"), ("1", "up"), ("1", "down"), ("1", "up")):
        found = read(f"mlx5_core 0000:3b:00.{port} ens1f{port}np{port}: Link {word}")
        assert found is not None
        told += [one.rule.grade for one in bursts.take(found, 5.0)]
    lost, back = Grade.DEGRADED, Grade.HEALTHY
    assert told == [lost, lost, back, lost, back], "what was never lost is not told to be back"


def test_after_a_restart_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    told: list[str] = []
    records = [Record(7, XID), Record(8, "nothing"), Record(9, XID.replace("91", "92"))]
    KernelWatch(Given(*records[:2]), tmp_path / "k", "boot-1", lambda one: told.append(one.pci)).step(0.0)
    KernelWatch(Given(*records), tmp_path / "k", "boot-1", lambda one: told.append(one.pci)).step(0.0)
    assert told == ["0000:91:00", "0000:92:00"]


def test_after_a_reboot_positions_begin_anew(tmp_path: Path) -> None:
    told: list[str] = []
    KernelWatch(Given(Record(900, XID)), tmp_path / "k", "boot-1", lambda one: told.append(one.code)).step(0.0)
    KernelWatch(Given(Record(3, XID)), tmp_path / "k", "boot-2", lambda one: told.append(one.code)).step(0.0)
    assert told == ["xid:79", "xid:79"]


def test_at_the_first_start_only_what_is_recent_counts(tmp_path: Path) -> None:
    told: list[str] = []
    source = Given(Record(1, XID, age_s=90_000.0), Record(2, XID.replace("91", "92"), age_s=60.0))
    KernelWatch(source, tmp_path / "k", "boot-1", lambda one: told.append(one.pci)).step(0.0)
    assert told == ["0000:92:00"]


def test_a_file_is_followed_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    source = AppendedFile(path)
    assert source.read(0.0) == []
    path.write_text(f"4,0,12,-;{XID}\nhalf")
    assert [record.text for record in source.read(0.0)] == [XID]
    with path.open("a") as file:
        file.write(" a line\n")
    assert [record.text for record in source.read(0.0)] == ["half a line"]
    path.write_text("anew\n")
    assert [record.text for record in source.read(0.0)] == ["anew"]
