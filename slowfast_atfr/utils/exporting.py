"""Whether torch.export is tracing: a clip's number of maps is a symbol then, and nothing may reach the host."""

import torch

# since torch 2.7; in older ones networks run as ever, and the exporter says which it needs
is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
