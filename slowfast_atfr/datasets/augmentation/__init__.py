"""Augmentation of training clips beyond crop and flip: RandAugment, colour jitter, erasing, mixup."""
