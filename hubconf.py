"""Entry points of torch.hub, such as torch.hub.load(FOLDER, "create_model", "Kinetics/X3D_S_ATFR", source="local")."""

from slowfast_atfr import SGS, Predictor, create_model, insert_sgs, load_cfg

__all__ = ["SGS", "Predictor", "create_model", "insert_sgs", "load_cfg"]
dependencies = ["torch", "numpy", "fvcore", "yacs", "iopath", "yaml", "simplejson", "av", "cv2", "tqdm"]
