"""Lines of the kernel log, as public bug reports show them, and what they mean."""

import pytest
from godwit.agents.checks import pci
from godwit.agents.checks.kernel.forms import KernelSign
from godwit.agents.checks.kernel.parsing import FORMS, Parser, read
from godwit.domain.health import Grade, Remedy
from hypothesis import given
from hypothesis import strategies as st


def sign(line: str) -> KernelSign:
    found = read(line)
    assert found is not None, line
    return found


XIDS = [
    ("NVRM: Xid (PCI:0000:91:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", 79, "91:00"),
    ("NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus.", 79, "02:00"),
    ("NVRM: Xid (PCI:0000:0f:00): 94, pid=2503421, name=python3, Ch 00000008", 94, "0f:00"),
    ("NVRM: Xid (PCI:0000:0f:00): 64, pid='<unknown>', name=<unknown>, Row Remapper Error: (0x00000002eebc4100) - "
     "All reserved rows for bank are remapped", 64, "0f:00"),
    ("NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.",
     63, "10:1c"),
    ("NVRM: Xid (PCI:0000:db:00): 31, pid=2079991, name=pt_main_thread, Ch 00000007, intr 00000000. MMU Fault: ENGINE "
     "GRAPHICS GPCCLIENT_T1_6 faulted @ 0x7f5a_e7504000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
     31, "db:00"),
    ("NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.", 79, "18:00"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "number", "bus"), XIDS)
def test_an_xid_is_known_by_its_number_and_the_bus_of_its_gpu(line: str, number: int, bus: str) -> None:
    found = sign(line)
    assert (found.code, found.evidence["xid"]) == (f"xid:{number}", number)
    assert pci.address(found.pci) == pci.address(bus)
    assert found.rule.remedy is Remedy.NONE, "the control plane has the tables"


def test_an_xid_names_the_process_where_the_driver_knows_it() -> None:
    assert sign(XIDS[5][0]).evidence["name"] == "pt_main_thread"
    assert sign(XIDS[5][0]).evidence["pid"] == "2079991"
    assert "pid" not in sign(XIDS[0][0]).evidence


def test_what_programs_raise_is_less_bad() -> None:
    line = (
        "NVRM: Xid (PCI:0000:3b:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on "
        "(GPC 1, TPC 3, SM 0): Out Of Range Address"
    )
    assert sign(line).rule.grade is Grade.DEGRADED
    assert sign(line).evidence["part"] == "GPC 1 TPC 3"
    assert sign(XIDS[0][0]).rule.grade is Grade.UNHEALTHY


def test_an_nvlink_line_brings_its_registers() -> None:
    old = sign(
        "NVRM: Xid (PCI:0000:4c:00): 74, pid='<unknown>', name=<unknown>, NVLink: fatal error detected on link "
        "14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"
    )
    assert (old.evidence["link"], old.evidence["registers"]) == ("14", "0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0")
    new = sign(
        "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 "
        "0x00000000 0x00000000 0x00000000 0x00000000)"
    )
    assert (new.code, new.evidence["unit"], new.evidence["severity"]) == ("xid:149", "NETIR_LINK_EVT", "Fatal")
    assert str(new.evidence["registers"]).startswith("0x004505c6")


def test_the_gpu_says_what_it_needs() -> None:
    line = "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
    assert sign(line).evidence["recovery"] == "GPU Reset Required"


def test_a_switch_says_how_bad_it_is() -> None:
    fatal = sign("nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up")
    assert (fatal.code, fatal.rule.grade, fatal.evidence["link"]) == ("sxid:20034", Grade.UNHEALTHY, "30")
    other = sign(
        "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)"
    )
    assert (other.code, other.rule.grade) == ("sxid:12028", Grade.DEGRADED)


OTHERS = [
    ("pcieport 0000:00:02.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, id=0010(Rec. ID)",
     "pcie-bus:fatal"),
    ("pcieport 0000:00:02.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)",
     "pcie-bus:non-fatal"),
    ("pcieport 0000:00:02.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
     "pcie-bus:corrected"),
    ("nvidia 0000:41:00.0: AER: can't recover (no error_detected callback)", "pcie-bus:fatal"),
    ("mlx5_core 0000:3b:00.0: ENABLE_HCA(0x104) timeout. Will cause a leak of a command resource", "network-card:dead"),
    ("mlx5_core 0000:3b:00.0: poll_health:740:(pid 0): device's health compromised - reached miss count",
     "network-card:dead"),
    ("mlx5_core 0000:3b:00.0: Port module event[error]: module 0, Cable error, High Temperature",
     "network-card:trouble"),
    ("mlx5_core 0000:3b:00.0 ens1f0np0: Link down", "network-card:link-down"),
    ("mlx5_core 0000:3b:00.0: 63.008 Gb/s available PCIe bandwidth, limited by 16.0 GT/s PCIe x4 link at 0000:3a:00.0",
     "pcie-bus:narrow"),
    ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,task_memcg=/a,task=python,pid=4242,uid=0",
     "memory:oom"),
    ("Out of memory: Killed process 4242 (python) total-vm:1kB, anon-rss:1kB", "memory:oom"),
    ("INFO: task nvidia-smi:3412 blocked for more than 120 seconds.", "kernel:stuck-driver"),
    ("INFO: task jbd2/sda1-8:412 blocked for more than 120 seconds.", "kernel:stuck-task"),
    ("watchdog: BUG: soft lockup - CPU#17 stuck for 22s! [python:123]", "kernel:stuck"),
    ("nvme nvme1: I/O 24 QID 3 timeout, reset controller", "disk:timeout"),
    ("nvme nvme1: Disabling device after reset failure: -19", "disk:failed"),
    ("Buffer I/O error on dev sda1, logical block 0, lost async page write", "disk:errors"),
    ("EXT4-fs (sda1): Remounting filesystem read-only", "filesystem:broken"),
    ("python[991]: segfault at 10 ip 00007f sp 00007f error 4 in libnccl.so.2.19.3[7f+1000]", "program:nccl-segfault"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code"), OTHERS)
def test_lines_of_the_machine_around_the_gpus_are_known(line: str, code: str) -> None:
    assert sign(line).code == code


@pytest.mark.parametrize(
    "line",
    [
        "",
        "usb 1-1: new high-speed USB device number 2",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15",
        "mlx5_core 0000:3b:00.0: mlx5_cmd_out_err:803:(pid 1): ACCESS_REG(0x805) op_mod(0x1) failed, status bad",
        "Buffer I/O error on dev sr0, logical block 0, async page read",
    ],
)
def test_what_means_nothing_is_passed_over(line: str) -> None:
    assert read(line) is None


def test_a_message_over_several_lines_is_one() -> None:
    lines = [
        "NVRM: The NVIDIA GPU 0000:0f:00.0",
        "NVRM: (PCI ID: 10de:2330) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
    ]
    parser = Parser()
    found = [sign for line in lines for sign in parser.feed(line)]
    assert [(one.code, pci.address(one.pci)) for one in found] == [("xid:79", (0, 0x0F, 0))]
    assert [one.code for one in Parser().feed("\n".join(lines))] == ["xid:79"]


def test_addresses_of_one_gpu_are_equal_however_they_are_written() -> None:
    forms = ["00000000:91:00.0", "0000:91:00.0", "0000:91:00", "0000:91:00:", "91:00"]
    assert {pci.address(text) for text in forms} == {(0, 0x91, 0)}
    assert pci.address("nonsense") is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    parser = Parser()
    for form in FORMS:
        parser.feed(form.holds + text)
    parser.feed(text)
