"""Generative models of images and texts (LLaVA, Qwen-VL, SmolVLM, Gemma …) by one adapter."""
