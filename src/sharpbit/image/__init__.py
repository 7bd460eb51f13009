"""Pictures: reading, writing, colour, metadata and MATLAB-compatible bicubic resizing (numpy and Pillow only)."""
