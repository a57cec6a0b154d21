"""python -m slowfast_atfr COMMAND ...: the same as slowfast-atfr, such as for torchrun -m."""

from slowfast_atfr.command import main

if __name__ == "__main__":
    raise SystemExit(main())
