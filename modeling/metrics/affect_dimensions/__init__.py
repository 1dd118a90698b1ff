"""Agreement of predicted and true valence and arousal."""
