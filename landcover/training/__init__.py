"""Training: loading patches, the loop, augmentation, several processes, calibration."""
