"""What one node of a gang must have, in whole numbers; and what kinds of nodes there are."""

from dataclasses import dataclass

from godwit.domain.jobs import Data, Resources
from godwit.domain.offers import Offer
from godwit.domain.resources import WHOLE_GPU_MILLI, Infra, is_accepted

WHOLE = WHOLE_GPU_MILLI
"""Thousandths of a GPU that make a whole one. Integers, so that equal scores are equal and plans reproducible."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What nodes of one offer have in common: what can be refused once for all of them."""

    model: str | None = None
    gpus: int = 0
    gpu_memory_gib: float = 0.0
    cpu_milli: int = 0
    memory_mib: int = 0
    provider: str = ""
    region: str = ""
    zone: str | None = None
    spot: bool = False
    price_usd_per_hour: float = 0.0
    saves_processes: bool = True
    saves_gpu_processes: bool = True

    @classmethod
    def of(cls, offer: Offer) -> "NodeKind":
        """The kind of nodes that this offer sells."""
        return cls(
            offer.gpu_model,
            offer.gpu_count,
            offer.gpu_memory_gib,
            offer.cpus * 1000,
            int(offer.memory_gib * 1024),
            offer.provider,
            offer.region,
            offer.zone,
            offer.spot,
            offer.price_usd_per_hour,
            not offer.no_process_saves,
            not offer.no_gpu_process_saves,
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What one node of a gang must have free.

    `gpus` devices with `gpu_milli` thousandths of each; less than a whole GPU only on one device. `models` are families
    or full names, empty accepts any. `spot` is "auto", "never" or "only". `infra` empty means anywhere. `data` is what
    it reads: of nodes that would do, those next to it come first. `process_saves`: the node must be able to save the
    program from outside. `tenant`: it may be on a node only with those of the same (`tenancy`).
    """

    gpus: int = 0
    gpu_milli: int = WHOLE
    cpu_milli: int = 0
    memory_mib: int = 0
    models: tuple[str, ...] = ()
    gpu_memory_gib_min: float = 0.0
    infra: tuple[Infra, ...] = ()
    spot: str = "auto"
    data: tuple[Data, ...] = ()
    process_saves: bool = False
    tenant: str = ""

    @classmethod
    def of(cls, resources: Resources) -> "Ask":
        """The ask of each node of a job. A job without GPUs takes at least one CPU."""
        gpus = resources.gpus
        cpus = resources.cpus if gpus.count else max(1, resources.cpus)
        return cls(
            gpus.count,
            gpus.milli,
            cpus * 1000,
            int(resources.memory_gib * 1024),
            gpus.models,
            gpus.memory_gib_min,
            resources.infra,
            str(resources.spot),
            resources.data,
            resources.process_saves,
        )

    @property
    def total_milli(self) -> int:
        """Thousandths of GPUs that it takes of a node in all."""
        return self.gpus * self.gpu_milli

    def suits(self, kind: NodeKind) -> bool:
        """Whether an empty node of this kind would do; `placement.offer_refusal` says why not."""
        return (
            kind.gpus >= self.gpus
            and kind.cpu_milli >= self.cpu_milli
            and kind.memory_mib >= self.memory_mib
            and (not self.gpus or self._accepts(kind))
            and (self.spot == "auto" or kind.spot == (self.spot == "only"))
            and (not self.infra or any(i.covers(kind.provider, kind.region, kind.zone) for i in self.infra))
            and (not self.process_saves or (kind.saves_gpu_processes if self.gpus else kind.saves_processes))
        )

    def _accepts(self, kind: NodeKind) -> bool:
        if kind.model is None or kind.gpu_memory_gib < self.gpu_memory_gib_min:
            return False
        return is_accepted(kind.model, self.models)
