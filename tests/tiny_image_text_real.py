"""More minuscule image-text models, each with the processor of its own family."""

from __future__ import annotations

from typing import Any

from tiny_image_text import TEXT, VISION, VOCABULARY, Made, chat, tokenizer

PINPOINTS = [[32, 64], [64, 32], [64, 64]]
SQUARE = {"height": 32, "width": 32}


def llava_next() -> Made:
    import transformers as hf

    read = tokenizer("<image>")
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=hf.LlamaConfig(**TEXT),
        image_token_id=read.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )
    pixels = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 32}, crop_size=SQUARE, image_grid_pinpoints=PINPOINTS
    )
    processor = hf.LlavaNextProcessor(
        pixels,
        read,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>"),
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Made:
    import transformers as hf

    read = tokenizer("<image>", "<video>", bos=False)
    image, video = (read.convert_tokens_to_ids(mark) for mark in ("<image>", "<video>"))
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=hf.Qwen2Config(**TEXT),
        image_token_id=image,
        video_token_id=video,
        image_grid_pinpoints=PINPOINTS,
    )
    pixels = hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=PINPOINTS)
    processor = hf.LlavaOnevisionProcessor(
        pixels,
        read,
        hf.LlavaOnevisionVideoProcessor(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat("<image>"),
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
GRID: dict[str, Any] = {
    "depth": 4,
    "hidden_size": 32,
    "num_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
}


def _qwen(kind: str, vision: dict[str, Any], rope: dict[str, Any]) -> Made:
    import transformers as hf

    read = tokenizer(*_MARKS, bos=False)
    start, end, image, video = map(read.convert_tokens_to_ids, _MARKS)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], **rope}
    config = getattr(hf, f"{kind}Config")(
        vision_config=vision,
        text_config={**TEXT, "rope_parameters": rope},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    size = {"shortest_edge": 32 * 32, "longest_edge": 48 * 48}
    pixels = hf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, size=size)
    videos = getattr(hf, f"{'Qwen3VL' if kind == 'Qwen3VL' else 'Qwen2VL'}VideoProcessor")()
    template = chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = getattr(hf, f"{kind}Processor")(pixels, read, videos, chat_template=template)
    return getattr(hf, f"{kind}ForConditionalGeneration")(config), processor


def qwen2_5_vl() -> Made:
    return _qwen("Qwen2_5_VL", {**GRID, "window_size": 32, "fullatt_block_indexes": [1, 3]}, {})


def qwen3_vl() -> Made:
    deep = {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2]}
    return _qwen("Qwen3VL", {**GRID, **deep}, {"mrope_interleaved": True})


def idefics3() -> Made:
    import transformers as hf

    places = [f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)]
    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    read = tokenizer(*marks, *places)
    config = hf.Idefics3Config(
        vision_config=hf.Idefics3VisionConfig(**VISION),
        text_config=hf.LlamaConfig(**TEXT),
        scale_factor=2,
        image_token_id=read.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    pixels = hf.Idefics3ImageProcessor(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    processor = hf.Idefics3Processor(pixels, read, image_seq_len=4, chat_template=chat("<image>"))
    return hf.Idefics3ForConditionalGeneration(config), processor


def gemma3() -> Made:
    import transformers as hf

    marks = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")
    read = tokenizer(image_token=marks[0], boi_token=marks[1], eoi_token=marks[2])
    image, start, end = map(read.convert_tokens_to_ids, marks)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    text = hf.Gemma3TextConfig(**TEXT, sliding_window=8, query_pre_attn_scalar=8, layer_types=kinds)
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=text,
        mm_tokens_per_image=4,
        image_token_index=image,
        boi_token_index=start,
        eoi_token_index=end,
    )
    pixels = hf.Gemma3ImageProcessor(size=SQUARE)
    processor = hf.Gemma3Processor(pixels, read, image_seq_length=4, chat_template=chat(marks[1]))
    return hf.Gemma3ForConditionalGeneration(config), processor


def internvl() -> Made:
    import transformers as hf

    read = tokenizer(
        bos=False,
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    shape = {**VISION, "image_size": [32, 32], "patch_size": [8, 8]}
    config = hf.InternVLConfig(
        vision_config=hf.InternVLVisionConfig(**shape),
        text_config=hf.Qwen2Config(**TEXT),
        image_token_id=read.convert_tokens_to_ids("<IMG_CONTEXT>"),
        downsample_ratio=0.5,
    )
    pixels = hf.GotOcr2ImageProcessor(
        size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = hf.InternVLProcessor(
        pixels,
        read,
        hf.InternVLVideoProcessor(),
        image_seq_length=4,
        chat_template=chat("<IMG_CONTEXT>"),
    )
    return hf.InternVLForConditionalGeneration(config), processor


Q_FORMER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "encoder_hidden_size": 32,
    "cross_attention_frequency": 1,
    "vocab_size": VOCABULARY,
}


def blip2() -> Made:
    import transformers as hf

    read = tokenizer("<image>")
    text = hf.OPTConfig(
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = hf.Blip2Config(
        vision_config=VISION,
        qformer_config=Q_FORMER,
        text_config=text,
        num_query_tokens=4,
        image_token_index=read.convert_tokens_to_ids("<image>"),
    )
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=SQUARE), read, num_query_tokens=4)
    return hf.Blip2ForConditionalGeneration(config), processor


def florence2() -> Made:
    import transformers as hf

    read = tokenizer("<image>", image_token="<image>")
    pixels = hf.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    pixels.image_seq_length = 17
    halves = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in
              (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))}  # fmt: skip
    text = hf.BartConfig(
        d_model=32,
        vocab_size=VOCABULARY,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        **halves,
    )
    vision = {
        "depths": [1, 1, 1],
        "embed_dim": [16, 16, 32],
        "num_heads": [2, 2, 4],
        "num_groups": [2, 2, 4],
        "patch_size": [7, 3, 3],
        "patch_stride": [4, 2, 2],
        "patch_padding": [3, 1, 1],
        "patch_prenorm": [False, True, True],
        "window_size": 4,
        "projection_dim": 32,
        "max_position_embeddings": 16,
    }
    config = hf.Florence2Config(
        vision_config=vision,
        text_config=text,
        image_token_id=read.convert_tokens_to_ids("<image>"),
    )
    processor = hf.Florence2Processor(pixels, read, num_additional_image_tokens=1)
    return hf.Florence2ForConditionalGeneration(config), processor


REAL = {
    made.__name__: made
    for made in (
        *(llava_next, llava_onevision, qwen2_5_vl, qwen3_vl, idefics3, gemma3, internvl),
        *(blip2, florence2),
    )
}
