#!/usr/bin/env python3
"""Export a trained network as an ONNX file or a torch.export program: export.py --cfg FILE --checkpoint FILE."""

from slowfast_atfr.engine.inference.export_cli import main

if __name__ == "__main__":
    raise SystemExit(main())
