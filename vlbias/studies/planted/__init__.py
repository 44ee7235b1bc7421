"""Models whose bias is known, and what each method says of them; the demo on one of them."""
