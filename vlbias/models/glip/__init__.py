"""GLIP of Li et al. (CVPR 2022), the model of the reference paper: an implementation that runs on a CPU."""
