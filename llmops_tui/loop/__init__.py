"""From use back to training: what feedback says, whether to train anew, and how a retrained model gets into use."""
