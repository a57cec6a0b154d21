"""RGB frames at given indices of a video file or a folder of pictures."""
