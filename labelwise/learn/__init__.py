"""Labels -> calibrated beliefs."""
