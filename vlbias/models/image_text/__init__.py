"""Generative models of images and texts: LLaVA, Qwen-VL, SmolVLM, Gemma, InternVL and others, by one adapter."""
