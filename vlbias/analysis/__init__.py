"""Statistics: frames and arrays in, frames out; never torch."""
