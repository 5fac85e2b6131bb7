"""Where large dense matrices are worked with: this machine, or a card beside it."""
