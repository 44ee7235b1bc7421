"""Data sets of paired images: the pair is the cluster, and each image one world of it."""
