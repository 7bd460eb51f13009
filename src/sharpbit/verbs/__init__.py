"""What one can do to an image or a model, one module a verb: the functions behind the command line."""
