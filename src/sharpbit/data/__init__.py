"""Images for training: pairs on the device, random crops, augmentation."""
