from __future__ import annotations

import numpy as np

from vlbias.studies.mitigation.figures import maps


def norms(change: float, tokens: int = 5) -> dict[str, np.ndarray]:
    before = np.full(tokens, 2.0)
    return {"before": before, "after": before + 1, "change": np.full(tokens, change)}


def test_a_setting_stands_beside_its_placebo_in_one_scale() -> None:
    figure = maps(
        {
            "one @ 1": [norms(1.0), norms(0.5)],
            "alone @ 1": [norms(1.5)],
            "still @ 1": [norms(0.0), norms(1.0)],
        }
    )
    assert figure is not None
    drawn = [(a.get_title(), a.images[0]) for a in figure.axes if a.images and a.get_title()]
    assert [title for title, _ in drawn] == [
        "before", "after", "change / before", "the same, placebo",
        "before", "after", "change / before",
    ]  # fmt: skip
    levels = [float(image.get_array().mean()) for _, image in drawn]
    assert levels == [2.0, 3.0, 0.5, 0.25, 2.0, 3.0, 0.75]
    assert drawn[2][1].get_clim() == drawn[3][1].get_clim() == (0.0, 0.5)
    assert drawn[0][1].get_clim() == drawn[1][1].get_clim() == (2.0, 3.0)


def test_tokens_that_form_no_square_are_not_drawn() -> None:
    assert maps({"one @ 1": [norms(1.0, tokens=15)]}) is None
    assert maps({}) is None
