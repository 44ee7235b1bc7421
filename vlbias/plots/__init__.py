"""The figures of the pages, one function each: a tidy frame and an optional axis in, the axis out.

The page is drawn with these functions. Frames are those of a report (`vlbias.report.csv_files.read_table`) or
of calls such as `vlbias.bias`; every function names the columns that it reads.
"""

from vlbias.plots.before_and_after import before_and_after
from vlbias.plots.effect_maps import heads, layers
from vlbias.plots.intervals import gaps, intervals, operating_points, worlds
from vlbias.plots.layer_picture import layer_effects, layer_picture
from vlbias.plots.model_picture import model_picture, stage_effects
from vlbias.plots.pareto import pareto
from vlbias.plots.ranking import ranking

__all__ = [
    "before_and_after",
    "gaps",
    "heads",
    "intervals",
    "layer_effects",
    "layer_picture",
    "layers",
    "model_picture",
    "operating_points",
    "pareto",
    "ranking",
    "stage_effects",
    "worlds",
]
