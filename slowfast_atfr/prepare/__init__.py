"""Make downloaded data sets ready for training: lists, smaller videos or pictures, a check of every file."""
