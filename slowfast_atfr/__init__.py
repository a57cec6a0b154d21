"""3D CNNs with adaptive temporal feature resolution (Fayyaz et al., CVPR 2021), as a PySlowFast-style extension."""

__version__ = "0.1.0"
