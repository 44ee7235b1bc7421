"""The families of generative image-text models: what cannot be found from a network itself, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAMILIES", "REFUSED", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """One model type of `AutoModelForImageTextToText`.

    Args:
        about: What it is called, and how its image enters the language model.
        example: A published checkpoint.
        size: Its parameters in millions: four bytes each in float32, two in bfloat16.
        lm: Dotted path of the language model, where `get_decoder` does not give it.
        image: Dotted path of the image encoder, where `get_encoder` does not give it.
        base: Dotted path of what is called, where it is not "model".
        end: Dotted path of the stage "lm", where it is not the language model.
        between: Children of the base between image and language model; found if None.
        roots: Further stages that read the text: name to dotted path; one without a dot is below
            the language model.
        fed: Stage between to the root that it reads beside the image.
        names: Output of the processor to what the network calls it.
        offset: Output of the processor that holds indices into the patches of all images of a batch.
        sets_image: Whether the processor sets the image's tokens into a text that has none.
        answer_type: What `token_type_ids` says of an answer's tokens.
    """

    about: str
    example: str
    size: int
    lm: str = ""
    image: str = ""
    base: str | None = None
    end: str = ""
    between: tuple[str, ...] | None = None
    roots: Mapping[str, str] = field(default_factory=dict)
    fed: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    offset: str = ""
    sets_image: bool = False
    answer_type: int = 0


_SCATTER = "image features take the place of image tokens"
FAMILIES: Mapping[str, Family] = {
    "aya_vision": Family(f"Aya Vision; {_SCATTER}", "CohereLabs/aya-vision-8b", 8631),
    "blip-2": Family(
        "BLIP-2; a Q-Former's features take the place of image tokens",
        "Salesforce/blip2-opt-2.7b",
        3745,
        sets_image=True,
    ),
    "deepseek_vl": Family(
        f"DeepSeek-VL; {_SCATTER}", "deepseek-community/deepseek-vl-1.3b-chat", 1977
    ),
    "florence2": Family(
        "Florence-2; an encoder reads image features and text, answers are scored in the decoder",
        "florence-community/Florence-2-base-ft",
        232,
        sets_image=True,
    ),
    "gemma3": Family(
        "Gemma 3; image tokens attend both ways among themselves", "google/gemma-3-4b-it", 4300
    ),
    "gemma4": Family(
        "Gemma 4; every block also reads an embedding of the text of its own",
        "google/gemma-4-E2B-it",
        5100,
        roots={"text_per_layer": "embed_tokens_per_layer"},
    ),
    "glm4v": Family(
        f"GLM-4V; {_SCATTER}; positions in three axes", "zai-org/GLM-4.1V-9B-Thinking", 10290
    ),
    "idefics2": Family(
        "Idefics2; a perceiver's latents take the place of image tokens",
        "HuggingFaceM4/idefics2-8b",
        8403,
    ),
    "idefics3": Family(
        f"Idefics3; {_SCATTER}, tile by tile", "HuggingFaceM4/Idefics3-8B-Llama3", 8462
    ),
    "instructblip": Family(
        "InstructBLIP; the Q-Former reads the text, too",
        "Salesforce/instructblip-vicuna-7b",
        7914,
        roots={"text_qformer": "qformer.embeddings"},
        fed={"qformer": "text_qformer"},
        sets_image=True,
    ),
    "internvl": Family(f"InternVL; {_SCATTER}, tile by tile", "OpenGVLab/InternVL3-1B-hf", 938),
    "janus": Family(f"Janus; {_SCATTER}", "deepseek-community/Janus-Pro-1B", 2089),
    "kosmos-2": Family(
        "Kosmos-2; latents take the place of image tokens",
        "microsoft/kosmos-2-patch14-224",
        1665,
        lm="text_model.model",
        base="",
        sets_image=True,
    ),
    "llava": Family(f"LLaVA 1.5; {_SCATTER}", "llava-hf/llava-1.5-7b-hf", 7063),
    "llava_next": Family(
        f"LLaVA-NeXT; {_SCATTER}, tile by tile", "llava-hf/llava-v1.6-mistral-7b-hf", 7567
    ),
    "llava_onevision": Family(
        f"LLaVA-OneVision; {_SCATTER}, tile by tile",
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        894,
    ),
    "mllama": Family(
        "Llama 3.2 Vision; every few blocks, words attend to the image",
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        10670,
    ),
    "molmo2": Family(
        "Molmo 2; pooled patches are added to image tokens",
        "allenai/Molmo2-4B",
        4900,
        offset="image_token_pooling",
    ),
    "paligemma": Family(
        "PaliGemma 1 and 2; image and prompt attend both ways",
        "google/paligemma2-3b-mix-224",
        3032,
        answer_type=1,
    ),
    "phi4_multimodal": Family(
        "Phi-4 multimodal; the image is embedded inside the language model",
        "microsoft/Phi-4-multimodal-instruct",
        5574,
        lm="model",
        image="model.embed_tokens_extend.image_embed.img_processor",
        base="model",
        end="model.norm",
        between=(),
        names={"pixel_values": "image_pixel_values"},
    ),
    "qwen2_vl": Family(
        f"Qwen2-VL; {_SCATTER}; positions in three axes", "Qwen/Qwen2-VL-2B-Instruct", 2209
    ),
    "qwen2_5_vl": Family(
        f"Qwen2.5-VL; {_SCATTER}; positions in three axes", "Qwen/Qwen2.5-VL-3B-Instruct", 3755
    ),
    "qwen3_vl": Family(
        "Qwen3-VL; image features are also added behind the first blocks",
        "Qwen/Qwen3-VL-2B-Instruct",
        2128,
    ),
    "qwen3_5": Family(
        "Qwen3.5; three of four blocks keep a state in place of attention", "Qwen/Qwen3.5-2B", 2270
    ),
    "smolvlm": Family(
        f"SmolVLM; {_SCATTER}, tile by tile", "HuggingFaceTB/SmolVLM2-256M-Video-Instruct", 256
    ),
}
"""Model type of `config.json` to its family."""

REFUSED: Mapping[str, str] = {
    "gemma3n": "its blocks work on four copies of the stream, laid before the rows of a batch",
    "mistral3": "Pixtral lays the patches of all images of a batch behind one another on its second axis, so "
    "that the values of one image cannot be picked out",
    "pixtral": "it lays the patches of all images of a batch behind one another on its second axis, so that "
    "the values of one image cannot be picked out",
    "chameleon": "its image becomes words of a code book: a step that no value passes through",
    "emu3": "its image becomes words of a code book: a step that no value passes through",
    "fuyu": "it has no image encoder: patches are embedded as words are",
}
"""Model type of those that cannot be taken, with the reason."""
