"""Every key that this package reads, with its default. Names, meanings and defaults are PySlowFast's unless noted."""

from fvcore.common.config import CfgNode


def get_cfg() -> CfgNode:
    """Return a fresh, unfrozen node with all defaults."""
    cfg = CfgNode()
    _training(cfg)
    _solver(cfg)
    _norms(cfg)
    _multigrid(cfg)
    _network(cfg)
    _sgs(cfg)
    _temporal_attention(cfg)
    _data(cfg)
    _augmentation(cfg)
    _run(cfg)
    return cfg


def _training(cfg: CfgNode) -> None:
    cfg.TRAIN = CfgNode()
    cfg.TRAIN.ENABLE = True
    cfg.TRAIN.DATASET = "kinetics"
    cfg.TRAIN.BATCH_SIZE = 64  # clips of one machine; each of its processes takes an equal share
    cfg.TRAIN.EVAL_PERIOD = 10  # epochs between evaluations; the last epoch is always evaluated
    cfg.TRAIN.CHECKPOINT_PERIOD = 10  # epochs between checkpoints; the last epoch is always saved
    cfg.TRAIN.CHECKPOINT_ITERATIONS = 0  # iterations between checkpoints within an epoch; 0: none
    cfg.TRAIN.AUTO_RESUME = True  # resume from the newest checkpoint in OUTPUT_DIR, if there is one
    cfg.TRAIN.CHECKPOINT_FILE_PATH = ""  # initial weights, for a run that does not resume
    cfg.TRAIN.CHECKPOINT_TYPE = "pytorch"  # pytorch, caffe2; the real format is detected
    cfg.TRAIN.CHECKPOINT_INFLATE = False  # repeat 2D kernels along time; the run starts at epoch 0
    cfg.TRAIN.CHECKPOINT_EPOCH_RESET = False  # take the weights of CHECKPOINT_FILE_PATH, start at epoch 0
    cfg.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN = []  # strings to remove from the names of its weights
    cfg.TRAIN.MIXED_PRECISION = False
    cfg.TRAIN.AMP_DTYPE = "float16"  # float16, bfloat16: of MIXED_PRECISION
    cfg.TRAIN.KILL_LOSS_EXPLOSION_FACTOR = 0.0  # end the run at a loss of this times the mean of the last 5; 0: never

    cfg.TEST = CfgNode()
    cfg.TEST.ENABLE = True
    cfg.TEST.DATASET = "kinetics"
    cfg.TEST.BATCH_SIZE = 8  # views (clips x crops), not videos, of one machine
    cfg.TEST.CHECKPOINT_FILE_PATH = ""  # or the OUTPUT_DIR of a run; empty: the newest checkpoint in OUTPUT_DIR
    cfg.TEST.CHECKPOINT_TYPE = "pytorch"  # pytorch, caffe2
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 10  # clips of a video, evenly along time
    cfg.TEST.NUM_SPATIAL_CROPS = 3  # 1 is the centre crop, 3 are left, centre, right (or top, centre, bottom)
    cfg.TEST.FOLD_NORMS = False  # fold batch norm into convolutions: same scores up to rounding, faster
    cfg.TEST.SAVE_RESULTS_PATH = ""  # file in OUTPUT_DIR with each video's scores and cost: .pth, .json, .csv, .pkl


def _solver(cfg: CfgNode) -> None:
    cfg.SOLVER = CfgNode()
    cfg.SOLVER.BASE_LR = 0.1
    cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS = False  # multiply all learning rates by the number of machines
    cfg.SOLVER.LR_POLICY = "cosine"
    cfg.SOLVER.COSINE_END_LR = 0.0
    cfg.SOLVER.COSINE_AFTER_WARMUP = False
    cfg.SOLVER.GAMMA = 0.1  # factor between the learning rates of multigrid's long cycles
    cfg.SOLVER.STEPS = []  # first epoch of each step of steps_with_relative_lrs, from 0
    cfg.SOLVER.LRS = []  # factors of BASE_LR, one per step
    cfg.SOLVER.MAX_EPOCH = 300
    cfg.SOLVER.MOMENTUM = 0.9
    cfg.SOLVER.DAMPENING = 0.0
    cfg.SOLVER.NESTEROV = True
    cfg.SOLVER.WEIGHT_DECAY = 1e-4
    cfg.SOLVER.ZERO_WD_1D_PARAM = False  # no weight decay on biases and other vectors
    cfg.SOLVER.WARMUP_EPOCHS = 0.0
    cfg.SOLVER.WARMUP_START_LR = 0.01
    cfg.SOLVER.OPTIMIZING_METHOD = "sgd"
    cfg.SOLVER.GRAD_ACCUM_STEPS = 1  # iterations per optimizer step
    cfg.SOLVER.CLIP_GRAD_VAL = 0.0  # largest absolute value in a gradient; 0: any
    cfg.SOLVER.CLIP_GRAD_L2NORM = 0.0  # largest norm of all gradients together, without CLIP_GRAD_VAL; 0: any
    cfg.SOLVER.EMA_DECAY = 0.0  # of the averaged weights, which are validated and tested; 0: no average


def _norms(cfg: CfgNode) -> None:
    cfg.BN = CfgNode()
    cfg.BN.USE_PRECISE_STATS = False
    cfg.BN.NUM_BATCHES_PRECISE = 200
    cfg.BN.WEIGHT_DECAY = 0.0
    cfg.BN.MOMENTUM = 0.1
    cfg.BN.EPSILON = 1e-5
    cfg.BN.NORM_TYPE = "batchnorm"  # batchnorm, sync_batchnorm, sub_batchnorm
    cfg.BN.NUM_SYNC_DEVICES = 1  # processes that share statistics under sync_batchnorm
    cfg.BN.NUM_SPLITS = 1  # parts of a process's clips with separate statistics under sub_batchnorm


def _multigrid(cfg: CfgNode) -> None:
    """Multigrid training (Wu et al., CVPR 2020)."""
    cfg.MULTIGRID = CfgNode()
    cfg.MULTIGRID.LONG_CYCLE = False  # change frames, crop and batch between phases
    cfg.MULTIGRID.LONG_CYCLE_FACTORS = [[0.25, 0.5**0.5], [0.5, 0.5**0.5], [0.5, 1], [1, 1]]  # of (frames, crop)
    cfg.MULTIGRID.SHORT_CYCLE = False  # alternate between three crops and batches from iteration to iteration
    cfg.MULTIGRID.SHORT_CYCLE_FACTORS = [0.5, 0.5**0.5]  # of DATA.TRAIN_CROP_SIZE, for the first two crops
    cfg.MULTIGRID.EPOCH_FACTOR = 1.5  # of SOLVER.MAX_EPOCH
    cfg.MULTIGRID.BN_BASE_SIZE = 8  # clips per batch norm statistic, in every phase
    cfg.MULTIGRID.EVAL_FREQ = 3  # approximate evaluations and checkpoints per phase
    cfg.MULTIGRID.DEFAULT_S = 0  # DATA.TRAIN_CROP_SIZE of the whole run; the schedule sets this and the next
    cfg.MULTIGRID.LONG_CYCLE_SAMPLING_RATE = 0  # clips draw a rate from DATA.SAMPLING_RATE to this


def _network(cfg: CfgNode) -> None:
    cfg.MODEL = CfgNode()
    cfg.MODEL.ARCH = "slowfast"  # slowfast, slow, c2d, i3d, x3d, 3dresnet (the paper's supplement, Table A.1), ...
    cfg.MODEL.MODEL_NAME = "SlowFast"  # key of MODEL_REGISTRY
    cfg.MODEL.NUM_CLASSES = 400
    cfg.MODEL.LOSS_FUNC = "cross_entropy"
    cfg.MODEL.DROPOUT_RATE = 0.5
    cfg.MODEL.FC_INIT_STD = 0.01
    cfg.MODEL.HEAD_ACT = "softmax"
    cfg.MODEL.ACT_CHECKPOINT = False  # recompute the stages of the next key in the backward pass
    cfg.MODEL.ACT_CHECKPOINT_STAGES = ["res2", "res3", "res4", "res5"]  # ours
    cfg.MODEL.REPLICATE_PAD_STAGES = []  # ours: stages that pad time by replication, not zeros
    cfg.MODEL.COMPILE = False  # ours: torch.compile for the stages before the first SGS

    cfg.RESNET = CfgNode()
    cfg.RESNET.TRANS_FUNC = "bottleneck_transform"  # bottleneck_transform, basic_transform, x3d_transform
    cfg.RESNET.NUM_GROUPS = 1
    cfg.RESNET.WIDTH_PER_GROUP = 64
    cfg.RESNET.INPLACE_RELU = True
    cfg.RESNET.STRIDE_1X1 = False
    cfg.RESNET.ZERO_INIT_FINAL_BN = False
    cfg.RESNET.DEPTH = 50  # 18, 50, 101; X3D's depth is X3D.DEPTH_FACTOR
    cfg.RESNET.NUM_BLOCK_TEMP_KERNEL = [
        [3],
        [4],
        [6],
        [3],
    ]  # per stage and pathway: blocks with a temporal kernel
    cfg.RESNET.SPATIAL_STRIDES = [[1], [2], [2], [2]]
    cfg.RESNET.SPATIAL_DILATIONS = [[1], [1], [1], [1]]

    cfg.NONLOCAL = CfgNode()  # lists have an entry per stage, res2 to res5, with one per pathway
    cfg.NONLOCAL.LOCATION = [[[]], [[]], [[]], [[]]]  # indices of residual blocks with a non-local block after them
    cfg.NONLOCAL.GROUP = [[1], [1], [1], [1]]  # parts of a clip along time that attend to themselves only
    cfg.NONLOCAL.INSTANTIATION = "dot_product"  # dot_product, softmax
    cfg.NONLOCAL.POOL = [[[1, 2, 2], [1, 2, 2]] for _ in range(4)]  # (T, H, W) max pool of keys and values

    cfg.X3D = CfgNode()
    cfg.X3D.WIDTH_FACTOR = 1.0  # of the channels of every stage
    cfg.X3D.DEPTH_FACTOR = 1.0  # of the blocks of every stage: 1, 2, 5, 3, rounded up
    cfg.X3D.BOTTLENECK_FACTOR = 1.0  # inner channels of a block / output channels
    cfg.X3D.DIM_C5 = 2048  # channels before the classifier
    cfg.X3D.DIM_C1 = 12  # channels of the stem, before WIDTH_FACTOR
    cfg.X3D.SCALE_RES2 = False  # double the channels from stem to res2, as between later stages
    cfg.X3D.BN_LIN5 = False  # batch norm before the classifier
    cfg.X3D.CHANNELWISE_3x3x3 = True  # else the convolutions inside blocks have RESNET.NUM_GROUPS groups

    cfg.SLOWFAST = CfgNode()
    cfg.SLOWFAST.BETA_INV = 8
    cfg.SLOWFAST.ALPHA = 8
    cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO = 2
    cfg.SLOWFAST.FUSION_KERNEL_SZ = 5


def _sgs(cfg: CfgNode) -> None:
    """Similarity Guided Sampling: ours. Lists per pathway are (slow, fast); a single entry serves all."""
    cfg.SGS = CfgNode()
    cfg.SGS.ENABLE = False
    cfg.SGS.STAGES = ["res2"]  # stages followed by SGS: conv1, res2, res3, res4
    cfg.SGS.PATHWAYS = [0, 1]  # pathways with SGS; those that the network lacks are ignored
    cfg.SGS.NUM_BINS = [-1]  # per pathway; -1: as many as frames in the block
    cfg.SGS.TEST_NUM_BINS = []  # per pathway, outside training; empty: as in training
    cfg.SGS.BLOCK_SIZE = [0]  # per pathway; frames that are sampled together; 0: the whole clip
    cfg.SGS.EMBED_DIM = 8
    cfg.SGS.SIMILARITY = "magnitude"  # key of SIMILARITY_REGISTRY
    cfg.SGS.COORDINATES = "all"  # all, angular, radial: those that the similarity spherical uses
    cfg.SGS.KERNEL = "linear"  # key of KERNEL_REGISTRY
    cfg.SGS.ORDER = "bin"  # bin, time
    cfg.SGS.GRAD_SCALE = 1.0  # factor of a kernel's straight-through gradient
    cfg.SGS.LR_FACTOR = 1.0  # learning rate of SGS's weights / that of the network
    cfg.SGS.BATCHING = "packed"  # packed; padded: to the longest clip of the batch, as in the paper's release
    cfg.SGS.PACK_MULTIPLE = 1  # rounds the temporal buffers of packed clips up to a multiple
    cfg.SGS.GROUPING = "bins"  # bins of SIMILARITY, as in the paper; segments: neighbours whose merging loses least
    cfg.SGS.TARGET_MAPS = []  # per pathway; mean segments of a block, more where more happens; empty: NUM_BINS
    cfg.SGS.TEST_TARGET_MAPS = []  # per pathway, outside training; empty is as in training
    cfg.SGS.SIZE_PENALTY = 0.0  # segments: favours equal lengths; infinitely large: uniform pooling
    cfg.SGS.FEATURES = "mean"  # segments: mean of each map; grid: means over 4 x 4 cells
    cfg.SGS.SEGMENT_LOSS = "variance"  # within segments, of features; motion: the squared time in which each moves
    cfg.SGS.SEGMENT_MAP = "mean"  # what a segment becomes: mean, middle frame, or overlap: a mean that shares frames
    cfg.SGS.ALIGN_PATHWAYS = False  # segments: cut slow and fast pathway at the same times
    cfg.SGS.WEIGHTED_HEAD = False  # weigh maps by their number of frames when the head averages over time
    cfg.SGS.FUSION_PAD = "center"  # center, end: zero padding of the shorter pathway for lateral fusion


def _temporal_attention(cfg: CfgNode) -> None:
    """The attention baseline of the SGS supplement's Table A.6: ours."""
    cfg.TEMPORAL_ATTENTION = CfgNode()
    cfg.TEMPORAL_ATTENTION.ENABLE = False
    cfg.TEMPORAL_ATTENTION.STAGES = ["res2"]  # stages followed by attention, before SGS: conv1, res2, res3, res4
    cfg.TEMPORAL_ATTENTION.KIND = "gate"  # gate: multiplies a map's channels; residual: adds to them
    cfg.TEMPORAL_ATTENTION.NUM_DESCRIPTORS = 0  # a clip's maps are gathered into these; 0: a quarter of the channels


def _data(cfg: CfgNode) -> None:
    cfg.DATA = CfgNode()
    cfg.DATA.PATH_TO_DATA_DIR = ""  # folder of the lists
    cfg.DATA.PATH_PREFIX = ""  # base folder of the paths in the lists
    cfg.DATA.SPLIT = 1  # which of the official splits of ucf101 and hmdb51: 1, 2, 3; ours
    cfg.DATA.PATH_LABEL_SEPARATOR = " "
    cfg.DATA.DECODING_BACKEND = "pyav"  # pyav, torchcodec; torchvision, PySlowFast's default, is read as pyav
    cfg.DATA.NUM_FRAMES = 8
    cfg.DATA.SAMPLING_RATE = 8
    cfg.DATA.TARGET_FPS = 30
    cfg.DATA.MEAN = [0.45, 0.45, 0.45]
    cfg.DATA.STD = [0.225, 0.225, 0.225]
    cfg.DATA.INPUT_CHANNEL_NUM = [3, 3]
    cfg.DATA.REVERSE_INPUT_CHANNEL = False  # only warns: frames are always RGB
    cfg.DATA.BGR_INPUT = False  # ours: the network takes B, G, R, as if trained on such frames
    cfg.DATA.TRAIN_JITTER_SCALES = [256, 320]
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE = []  # [least, most] area of a crop / of the frame; []: no such crop
    cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = []  # [least, most] width over height of such a crop
    cfg.DATA.TRAIN_CROP_SIZE = 224
    cfg.DATA.TEST_CROP_SIZE = 256
    cfg.DATA.INV_UNIFORM_SAMPLE = False
    cfg.DATA.RANDOM_FLIP = True  # mirror half of the training clips; in ssv2 not those with left or right in the label
    cfg.DATA.USE_OFFSET_SAMPLING = False
    cfg.DATA.ENSEMBLE_METHOD = "sum"  # sum, max: over the views of a video

    cfg.DATA_LOADER = CfgNode()
    cfg.DATA_LOADER.NUM_WORKERS = 8
    cfg.DATA_LOADER.PIN_MEMORY = True


def _augmentation(cfg: CfgNode) -> None:
    cfg.AUG = CfgNode()
    cfg.AUG.ENABLE = False  # all of this section
    cfg.AUG.NUM_SAMPLE = 1  # training clips per decoded clip, each augmented anew: a batch grows by this factor
    cfg.AUG.COLOR_JITTER = 0.4  # largest change of brightness, contrast, saturation; read where AA_TYPE is empty
    cfg.AUG.AA_TYPE = "rand-m9-mstd0.5-inc1"  # RandAugment; "" is none
    cfg.AUG.INTERPOLATION = "bicubic"  # bilinear, bicubic, random (of the two): where RandAugment moves pixels
    cfg.AUG.RE_PROB = 0.25  # of erasing rectangles of a clip
    cfg.AUG.RE_MODE = "pixel"  # pixel: noise; rand: a random colour for each frame; const: the mean colour
    cfg.AUG.RE_COUNT = 1  # most rectangles
    cfg.AUG.RE_SPLIT = False

    cfg.MIXUP = CfgNode()
    cfg.MIXUP.ENABLE = False
    cfg.MIXUP.ALPHA = 0.8  # of the beta distribution of mixup's shares; 0 is no mixup
    cfg.MIXUP.CUTMIX_ALPHA = 1.0  # of that of cutmix's areas; 0 is no cutmix
    cfg.MIXUP.PROB = 1.0  # of mixing a batch
    cfg.MIXUP.SWITCH_PROB = 0.5  # of cutmix, where both are on
    cfg.MIXUP.LABEL_SMOOTH_VALUE = 0.1  # share of a label that is spread over all classes


def _run(cfg: CfgNode) -> None:
    cfg.NUM_GPUS = 1  # of this machine; 0 runs on the CPU
    cfg.NUM_SHARDS = 1  # machines
    cfg.SHARD_ID = 0
    cfg.DIST_BACKEND = "nccl"  # runs on the CPU use gloo
    cfg.ALLOW_TF32 = True  # float32 convolutions and matrix products in TF32 on GPUs, SGS's own never; ours
    cfg.DIST_TIMEOUT = 10.0  # minutes before a process that does not answer counts as lost; ours
    cfg.TENSORBOARD = CfgNode()
    cfg.TENSORBOARD.ENABLE = False  # curves of losses, errors, rates and costs; histograms of active bins
    cfg.TENSORBOARD.LOG_DIR = ""  # folder below OUTPUT_DIR; empty: runs-DATASET
    cfg.OUTPUT_DIR = "./tmp"
    cfg.RNG_SEED = 1
    cfg.LOG_PERIOD = 10
    cfg.LOG_MODEL_INFO = True
