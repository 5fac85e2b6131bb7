"""The search for the maximum of the restricted likelihood."""
