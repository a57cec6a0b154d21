"""Whether torch.export is tracing: the number of maps is then symbolic, and no value may be read on the host."""

import torch

# torch 2.7 and later; the exporter refuses older ones
is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
