"""`python -m sharpbit`, the same as the command: for `torchrun -m sharpbit train RECIPE`."""

from sharpbit.app.cli import main

if __name__ == "__main__":
    main()
