"""From image files to image files: tiles, sizes, checks of results, folders (numpy, and an engine; never torch)."""
