"""Data sets as they are downloaded, made ready to train on: lists, smaller videos or pictures, a check of all."""
