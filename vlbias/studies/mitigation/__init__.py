"""Mitigations, each against its placebo and a moved threshold."""
