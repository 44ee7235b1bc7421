"""Photos in worlds: the disparity B, its effects, and where in a model it arises."""
