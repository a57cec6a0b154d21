"""From a video file, or a folder of pictures, to the RGB frames at given indices."""
