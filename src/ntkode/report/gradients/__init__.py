"""Reports on the accuracy of gradients and its effect on training."""
