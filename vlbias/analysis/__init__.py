"""Statistics: arrays and frames in, frames out; never torch."""
