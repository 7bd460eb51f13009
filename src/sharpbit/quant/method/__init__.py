"""Quantization methods, one file a paper: each defines `METHOD`."""
