"""The network's models by name, folder or URI; its libraries take seconds to import, so the first call does it."""

from __future__ import annotations

from tlg.annotators.protocol import LoadedModel


class NetworkLoader:
    """See `tlg.annotators.protocol.ModelLoader`."""

    def load(self, name: str, device: str | None = None) -> LoadedModel:
        import torch

        from tlg.annotators.network import NetworkModel
        from tlg.hub import zoo

        return NetworkModel(zoo.load(name, device or ("cuda" if torch.cuda.is_available() else "cpu")))

    def digest_of(self, name: str) -> str:
        from tlg.hub import zoo

        return zoo.digest_of(name)
