"""A kind of study: facts that a language model is to forget by training of chosen blocks."""
