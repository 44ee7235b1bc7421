"""Not a kind: what studies of facts in language models share: which facts, which of them a model knows."""
