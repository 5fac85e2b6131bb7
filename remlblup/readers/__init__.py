"""Files into data frames, pedigrees and relationship matrices."""
