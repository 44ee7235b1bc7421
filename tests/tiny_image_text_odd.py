"""Minuscule image-text models of the families that need a line of their own in the adapter."""

from __future__ import annotations

import torch
from tiny_image_text import TEXT, VISION, VOCABULARY, Made, tokenizer
from tiny_image_text_real import Q_FORMER
from tiny_image_text_stubs import Given, Stub, _is_image, _reader


def paligemma2() -> Made:
    import transformers as hf

    read = tokenizer("<image>", *(f"<loc{i:04d}>" for i in range(3)))
    text = {**TEXT, "num_key_value_heads": 1, "sliding_window": 8, "query_pre_attn_scalar": 8}
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False, num_image_tokens=16),
        text_config=hf.Gemma2Config(**text),
        projection_dim=32,
        hidden_size=32,
        image_token_index=read.convert_tokens_to_ids("<image>"),
    )
    net = hf.PaliGemmaForConditionalGeneration(config)
    pixels = hf.SiglipImageProcessor(size={"height": 32, "width": 32})
    pixels.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(pixels, read)
    if len(read) > VOCABULARY:
        net.resize_token_embeddings(len(read))
    return net, processor


def phi4_multimodal() -> Made:
    import transformers as hf

    read, image = _reader()
    heads = {"num_hidden_layers": 3, "num_attention_heads": 4}
    audio = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_blocks": 1,
        "num_attention_heads": 4,
        "ext_pw_out_channel": 32,
        "depthwise_separable_out_channel": 32,
        "nemo_conv_channels": 32,
        "audio_token_id": VOCABULARY - 1,
    }
    config = hf.Phi4MultimodalConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_key_value_heads=2,
        max_position_embeddings=256,
        original_max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        vision_config={**VISION, "crop_size": 32, "image_token_id": image, "feature_layer": -2},
        audio_config=audio,
        **heads,
    )

    def more(given: Given) -> Given:
        # 16 patches, pooled to 2 x 2: one crop and the whole, each with line ends, and one between
        pixels = given.pop("pixel_values")
        return {
            **given,
            "pixel_values": torch.stack([pixels, pixels], 1),
            "image_sizes": torch.tensor([[32, 32]]),
            "image_attention_mask": torch.ones(1, 2, 4, 4),
        }

    return hf.Phi4MultimodalForCausalLM(config), Stub(read, image, 13, more)


def molmo2() -> Made:
    import transformers as hf

    read, image = _reader()
    heads = {"num_attention_heads": 4, "head_dim": 8}
    config = hf.Molmo2Config(
        vision_config={
            **{key: size for key, size in VISION.items() if key != "image_size"},
            **heads,
            "num_key_value_heads": 4,
            "image_size": [32, 32],
            "num_position_embeddings": 16,
        },
        adapter_config={
            **heads,
            "vision_feature_layer": [-1, -2],
            "hidden_size": 32,
            "num_key_value_heads": 4,
            "intermediate_size": 64,
            "text_hidden_size": 32,
        },
        text_config={
            **heads,
            "hidden_size": 32,
            "num_key_value_heads": 2,
            "vocab_size": VOCABULARY,
            "additional_vocab_size": 8,
            "num_hidden_layers": 3,
            "intermediate_size": 64,
            "max_position_embeddings": 256,
        },
        image_patch_id=image,
        image_start_token_id=VOCABULARY - 1,
        image_end_token_id=VOCABULARY - 2,
        low_res_image_start_token_id=VOCABULARY - 3,
        frame_start_token_id=VOCABULARY - 4,
        frame_end_token_id=VOCABULARY - 5,
    )
    config.image_token_id = image

    def more(given: Given) -> Given:
        pixels = given.pop("pixel_values")[0]
        patches = pixels.unfold(1, 8, 8).unfold(2, 8, 8).permute(1, 2, 3, 4, 0)
        pooled = torch.arange(16).view(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
        return {
            **given,
            "pixel_values": patches.reshape(1, 16, 192),
            "image_token_pooling": pooled,
            "image_grids": torch.tensor([[2, 2, 0, 0]]),
            "image_num_crops": torch.tensor([1]),
            "token_type_ids": _is_image(given, image),
        }

    return hf.Molmo2ForConditionalGeneration(config), Stub(read, image, 4, more)


def gemma4() -> Made:
    import transformers as hf

    read, image = _reader()
    text = {
        **TEXT,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    }
    vision = {
        **{key: size for key, size in VISION.items() if key != "image_size"},
        "num_key_value_heads": 4,
        "head_dim": 8,
        "patch_size": 4,
        "pooling_kernel_size": 2,
        "position_embedding_size": 64,
    }
    config = hf.Gemma4Config(
        text_config=text,
        vision_config=vision,
        audio_config=None,
        image_token_id=image,
        boi_token_id=VOCABULARY - 1,
        eoi_token_id=VOCABULARY - 2,
        video_token_id=VOCABULARY - 3,
        audio_token_id=VOCABULARY - 4,
    )

    def more(given: Given) -> Given:
        # 8 x 8 patches of 4 pixels, pooled 2 x 2 into 16 tokens
        patches = given["pixel_values"][0].unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 3, 4, 0)
        row, column = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        return {
            **given,
            "pixel_values": patches.reshape(1, 64, 48),
            "image_position_ids": torch.stack([column, row], -1).reshape(1, 64, 2),
            "mm_token_type_ids": _is_image(given, image),
        }

    return hf.Gemma4ForConditionalGeneration(config), Stub(read, image, 16, more)


def instructblip() -> Made:
    import transformers as hf

    read, image = _reader()
    config = hf.InstructBlipConfig(
        vision_config=VISION,
        qformer_config={**Q_FORMER, "max_position_embeddings": 128},
        text_config=hf.LlamaConfig(**TEXT),
        num_query_tokens=4,
        image_token_index=image,
    )

    def more(given: Given) -> Given:
        words = given["input_ids"][:, 4:]
        mask = torch.ones_like(words)
        return {**given, "qformer_input_ids": words, "qformer_attention_mask": mask}

    return hf.InstructBlipForConditionalGeneration(config), Stub(read, image, 4, more)


def blip2_t5() -> Made:
    import transformers as hf

    read, image = _reader()
    text = hf.T5Config(
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        vocab_size=VOCABULARY,
        decoder_start_token_id=0,
        pad_token_id=0,
    )
    config = hf.Blip2Config(
        vision_config=VISION,
        qformer_config=Q_FORMER,
        text_config=text,
        num_query_tokens=4,
        image_token_index=image,
    )
    return hf.Blip2ForConditionalGeneration(config), Stub(read, image, 4)


ODD = {
    made.__name__: made
    for made in (paligemma2, phi4_multimodal, molmo2, gemma4, instructblip, blip2_t5)
}
