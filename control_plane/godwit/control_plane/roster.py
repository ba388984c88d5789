"""The configured providers, while the control plane runs: people add and remove some without a restart."""

import threading
from collections.abc import Callable, Iterator, Mapping

from godwit.domain.ids import ProviderName
from godwit.providers.protocol import Provider


class Roster(Mapping[ProviderName, Provider]):
    """Providers by name. Readers see a whole roster at any time; `on_add` hears of each that is added."""

    def __init__(self, providers: Mapping[ProviderName, Provider]) -> None:
        self._lock = threading.Lock()
        self._providers = dict(providers)
        self.on_add: Callable[[Provider], None] = lambda _provider: None

    def __getitem__(self, name: ProviderName) -> Provider:
        return self._providers[name]

    def __iter__(self) -> Iterator[ProviderName]:
        return iter(dict(self._providers))

    def __len__(self) -> int:
        return len(self._providers)

    def add(self, provider: Provider) -> None:
        """Add or replace one."""
        with self._lock:
            self._providers = {**self._providers, provider.name: provider}
        self.on_add(provider)

    def remove(self, name: ProviderName) -> None:
        """Take one out; its watch ends by itself."""
        with self._lock:
            self._providers = {known: provider for known, provider in self._providers.items() if known != name}
