"""A fit on disk: written all or not at all, read back as it was or refused."""
