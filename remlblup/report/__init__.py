"""A fit in print: the summary, and a folder with its text, page, plots and tables."""
