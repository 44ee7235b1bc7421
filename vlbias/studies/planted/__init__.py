"""Models whose bias is known: the benchmark of methods, and the demo."""
