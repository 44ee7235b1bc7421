from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import resolve
from vlbias.errors import BadStudy, UnknownName
from vlbias.models.toy import Toy

LETTERS = "abcdefghijklmnopqrstuvwxyz"
names = st.builds(
    str.__add__, st.sampled_from(LETTERS), st.text(f"{LETTERS}_0123456789", max_size=12)
)
numbers = st.integers(0, 10_000)
places = st.integers(-10_000, 10_000) | st.builds(
    str.__add__, st.sampled_from(LETTERS), st.text(f"{LETTERS}_", max_size=8)
)
positions = st.lists(places, min_size=1, max_size=4).map(tuple)
units = st.lists(numbers, min_size=1, max_size=4).map(tuple)
inner = st.builds(
    Site,
    names,
    names,
    st.none() | numbers,
    st.none() | units,
    st.none() | positions,
)


@given(st.builds(Site, names) | inner)
def test_parse_reads_back_what_str_writes(site: Site) -> None:
    assert Site.parse(str(site)) == site


@given(inner)
def test_sites_are_hashable_and_sort_by_their_text(site: Site) -> None:
    assert {site: 1}[Site.parse(str(site))] == 1


@pytest.mark.parametrize(
    "text",
    ["", "Image", "image_encoder/", "image_encoder/attn.", "image_encoder/attn.-1", "/attn.0",
     "image_encoder/head.1[]", "image_encoder/head.1[a]", "image_encoder/head.1[0", "a b",
     "image_encoder/head.1[-1]", "image_encoder/attn.0@", "image_encoder/attn.0@X",
     "vision_model.encoder.layers.0.mlp", "image_encoder/attn.0 ", "image_encoder/attn.0\n"],
)  # fmt: skip
def test_texts_of_another_form_are_refused_with_their_value(text: str) -> None:
    with pytest.raises(BadStudy) as caught:
        Site.parse(text)
    assert caught.value.field == "mediators"
    assert caught.value.given == text


@pytest.mark.parametrize("text", ["image_encoder[0]", "image_encoder@1", "image_encoder[0]@1"])
def test_a_whole_stage_has_no_parts(text: str) -> None:
    with pytest.raises(BadStudy, match="port"):
        Site.parse(text)
    with pytest.raises(BadStudy, match="port"):
        Site("image_encoder", layer=0)


def test_a_mediator_is_named_after_its_sites() -> None:
    mediator = Mediator.of(["a/attn.0", Site("b")])
    assert mediator.name == "a/attn.0+b"
    assert Mediator.of(["a"], "mine").name == "mine"
    with pytest.raises(BadStudy):
        Mediator.of([])


def test_wildcards_stand_for_layers_and_units() -> None:
    named = [mediator.name for mediator in resolve(Toy(width=3), ["image_encoder/neuron[*]"])]
    assert named == [f"image_encoder/neuron[{unit}]" for unit in range(3)]
    both = resolve(Toy(), ["image_encoder", "image_encoder", "image_encoder+text_encoder"])
    assert [mediator.name for mediator in both] == ["image_encoder", "image_encoder+text_encoder"]


@pytest.mark.parametrize(
    ("text", "error", "given"),
    [
        ("image_encode", UnknownName, "image_encode"),
        ("image_encoder/neurons", UnknownName, "neurons"),
        ("image_encoder/neuron.0", BadStudy, "image_encoder/neuron.0"),
        ("image_encoder/neuron[6]", BadStudy, "image_encoder/neuron[6]"),
        ("image_encoder/neuron[0]+text_encoder/neuron[9]", BadStudy, "text_encoder/neuron[9]"),
    ],
)
def test_names_that_the_model_lacks(text: str, error: type[Exception], given: str) -> None:
    with pytest.raises(error) as caught:
        resolve(Toy(), [text])
    assert caught.value.given == given  # type: ignore[attr-defined]
    if error is UnknownName:
        assert caught.value.suggestions  # type: ignore[attr-defined]
