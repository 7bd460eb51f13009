"""Video, from decoding to the finished file: every stream kept, every frame right, nothing computed twice."""
