"""Which of two models: what the larger one adds, and the distribution that its gain has without it."""
