"""What a compressed model reaches and takes, beside the one that it comes from, as a table."""

from collections.abc import Mapping

from rich.table import Table

from ris.predictors.bootstrap import mean_rate_of, ratio
from ris.predictors.compress.methods import size_of
from ris.predictors.model import Model
from ris.predictors.publish import SPLITS, predicted_rates
from ris.predictors.weights import recipes_of
from studies.comparison import TITLES, shown

__all__ = ["compression_table"]


def compression_table(models: Mapping[str, Model], systems: int) -> Table:
    """Return the table for a terminal.

    Parameters
    ----------
    models : mapping of str to FloatModel or IntegerModel
        By name; the first one is what the others are held against.
    systems : int
        Fixed systems of each split.
    """
    first = next(iter(models.values()))
    task = recipes_of(first)[-1].make_task()
    table = Table(
        title=f"{task.name} task, surfaces of {task.side} x {task.side}, {systems} systems",
        caption="sum rate in bit/s/Hz and percentages of mean rates, with 95 % intervals (paired bootstrap)",
    )
    table.add_column("model", no_wrap=True)
    for split in SPLITS:
        table.add_column(f"rate, {TITLES[split]}", justify="right")
        table.add_column("% of float", justify="right")
    for text in ("packed, kB", "coded, kB", "file, kB", "bit operations"):
        table.add_column(text, justify="right")
    rates = {
        split: [predicted_rates(model, task, split, systems) for model in models.values()] for split in SPLITS
    }
    for row, (name, model) in enumerate(models.items()):
        cells = []
        for split in SPLITS:
            cells.append(shown(mean_rate_of(rates[split][row]), 1, 3))
            cells.append(shown(ratio(rates[split][row], rates[split][0]), 100, 2) if row else "")
        size = size_of(model, task.users)
        kilobytes = [f"{one / 1000:.1f}" for one in (size.packed, size.coded, size.file)]
        table.add_row(name, *cells, *kilobytes, f"{size.bit_operations:.2e}")
    return table
