"""What columns of the tables of editing mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS = {
    "label": "way of editing, as the study calls it",
    "protocol": "whether edits stay (sequence), or each is undone by another edit (roll-back)",
    "edits": "edits made so far; a count",
    "number": "of the edit in its sequence",
    "site": "MLP that was changed",
    "sites": "MLPs that were changed",
    "cost": "norm of the change over that of the weight",
    "back_cost": "the same of the edit that undoes it",
    "cost_median": "median cost of an edit",
    "cost_largest": "cost of the most costly edit",
    "loss": "loss at the end of the search for a value",
    "seconds": "time that edits took; seconds",
    "flash": "whether an edit costs more than ten times the median of those before",
    "flashes": "such edits; a count",
    "predicted_shift": "shift of the map's output at other facts that theory predicts, over its norm",
    "measured_shift": "the same as measured",
    "edit_success": "share of edits whose prompt gives the target right after the edit (ES); 0 to 1",
    "generalisation": "share of paraphrases that give the target right after the edit (GS); 0 to 1",
    "locality": "share of neighbours answered before that still are right after the edit (LS); 0 to 1",
    "edited_right": "share of edited facts that are as they should be: the target, or after roll-back the true "
    "answer (ERS); 0 to 1",
    "unedited_right": "share of facts never edited that are still answered (ORS); 0 to 1",
    "score": "harmonic mean of the five shares (S); 0 to 1",
    "utility": "share of prompts of general use answered before that still are; 0 to 1",
    "drift": "norm of all changes together over that of the weight, where it is largest",
    "first_only": "unedited facts that the first keeps and the second lost; a count",
    "second_only": "unedited facts that the second keeps and the first lost; a count",
    "first": "first method",
    "second": "second method",
}
