"""Whether heads of a language model abstract, induce and retrieve symbols (Yang et al. 2025)."""
