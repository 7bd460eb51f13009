"""One file a command, named as it is: its options, and the call of what does it."""
