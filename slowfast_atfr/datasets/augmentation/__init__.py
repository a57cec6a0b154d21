"""What is done to training clips beyond crop and flip: RandAugment, colour jitter, erasing, mixup."""
