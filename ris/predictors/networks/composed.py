"""Networks that are made of several graphs."""

from torch import nn

from ris.predictors.module import Network

__all__ = ["Composed"]


class Composed(nn.Module):
    """Called with maps and their batch, it returns phasors; its children of class `Network` are its parts."""

    @property
    def parts(self) -> dict[str, Network]:
        """Parts by name, in the order in which they were made."""
        return {name: part for name, part in self.named_children() if isinstance(part, Network)}
