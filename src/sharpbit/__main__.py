"""The start of the command, as `sharpbit` and as `python -m sharpbit`: `torchrun -m sharpbit train RECIPE`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are loaded ends the program without a word

from sharpbit.app.cli import main

if __name__ == "__main__":
    main()
